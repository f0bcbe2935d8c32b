"""The architectures that `packed.py` computes: by what their layers differ, as data.

All are stacks of attention and a gated MLP with rotary positions. What is not computed exactly as transformers does is
not among them, and goes to `generic.py`. Names are those of transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from acclimate.llm.decoders.configuration import text_config

WHOLE, WINDOWED = "full_attention", "sliding_attention"  # kinds of layers, by what their tokens see


@dataclass(frozen=True)
class Activation:
    """A function of an MLP's gates, and what oneDNN calls it."""

    function: Callable[[Tensor], Tensor]
    onednn: str
    algorithm: str = ""


SILU = Activation(F.silu, "swish")
_GELU_TANH = Activation(partial(F.gelu, approximate="tanh"), "gelu", "tanh")
_ACTIVATIONS = {"silu": SILU, "gelu_pytorch_tanh": _GELU_TANH}


@dataclass(frozen=True)
class Architecture:
    """What layers are made of. Biases are where the weights have them."""

    # Of a layer's norms: before attention, after it, before the MLP, after it.
    norms: tuple[str, str | None, str, str | None] = ("input_layernorm", None, "post_attention_layernorm", None)
    norms_heads: bool = False  # queries and keys, each head by itself
    norms_from_one: bool = False  # a norm's weights are what it adds to 1, in float32
    windows: Literal["never", "everywhere", "by layer"] = "never"  # where tokens see no further than a window
    rotates_by_kind: bool = False  # the two kinds of layers have different angles
    activation_setting: str = "hidden_act"

    def activation(self, config: Any) -> Activation:
        """Of the MLP's gates."""
        return _ACTIVATIONS[getattr(config, self.activation_setting)]

    def kinds(self, config: Any) -> list[str]:
        """Of each layer: WHOLE or WINDOWED, or another that is not written out."""
        if self.windows == "by layer":
            return list(config.layer_types)
        is_windowed = self.windows == "everywhere" and config.sliding_window is not None
        return [WINDOWED if is_windowed else WHOLE] * config.num_hidden_layers

    def rotations(self, config: Any) -> set[str]:
        """By which rules angles follow from positions."""
        settings = config.rope_parameters
        each = [settings[kind] for kind in {*self.kinds(config)}] if self.rotates_by_kind else [settings]
        return {rotation.get("rope_type", "default") for rotation in each}

    def norm_weight(self, weight: Tensor) -> Tensor:
        """What a norm multiplies by."""
        return 1.0 + weight.float() if self.norms_from_one else weight


_LLAMA = Architecture()
_QWEN2 = replace(_LLAMA, windows="by layer")
_GEMMA3_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
_ARCHITECTURES = {  # by `model_type`
    "llama": _LLAMA,
    "mistral": replace(_LLAMA, windows="everywhere"),
    "qwen2": _QWEN2,
    "qwen3": replace(_QWEN2, norms_heads=True),
    "gemma3_text": Architecture(
        norms=_GEMMA3_NORMS,
        norms_heads=True,
        norms_from_one=True,
        windows="by layer",
        rotates_by_kind=True,
        activation_setting="hidden_activation",
    ),
}
_WITH_IMAGES = frozenset({"gemma3"})  # whose text is read by one of these
_ROTATIONS = frozenset({"default", "linear", "llama3", "yarn"})  # where no angle depends on the prompt's length
_NOT_COMPUTED = ("mlp_bias", "use_bidirectional_attention", "attn_logit_softcapping", "final_logit_softcapping")


def architecture_of(config: Any) -> Architecture | None:
    """The architecture of a model of that configuration, where its every part is computed, else None."""
    text = text_config(config)
    architecture = _ARCHITECTURES.get(text.model_type)
    is_computed = (
        architecture is not None
        and (text is config or config.model_type in _WITH_IMAGES)
        and getattr(text, architecture.activation_setting) in _ACTIVATIONS
        and {*architecture.kinds(text)} <= {WHOLE, WINDOWED}
        and architecture.rotations(text) <= _ROTATIONS
        and not any(getattr(text, setting, None) for setting in _NOT_COMPUTED)
    )
    return architecture if is_computed else None
