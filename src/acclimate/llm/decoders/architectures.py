"""The architectures that `packed.py` supports, described as data.

All are stacks of attention and a gated MLP with rotary positions. Whatever cannot be computed exactly as in
transformers is left to `generic.py`. Names are those of transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from acclimate.llm.decoders.configuration import text_config

WHOLE, WINDOWED = "full_attention", "sliding_attention"  # layer types


@dataclass(frozen=True)
class Activation:
    """An MLP's activation, and its name in oneDNN."""

    function: Callable[[Tensor], Tensor]
    onednn: str
    algorithm: str = ""


SILU = Activation(F.silu, "swish")
_GELU_TANH = Activation(partial(F.gelu, approximate="tanh"), "gelu", "tanh")
_ACTIVATIONS = {"silu": SILU, "gelu_pytorch_tanh": _GELU_TANH}


@dataclass(frozen=True)
class Architecture:
    """The structure of a model's layers. Biases are used if the weights have them."""

    # A layer's norms: before attention, after it, before the MLP, after it.
    norms: tuple[str, str | None, str, str | None] = ("input_layernorm", None, "post_attention_layernorm", None)
    norms_heads: bool = False  # queries and keys are normalized per head
    norms_from_one: bool = False  # norm weights are offsets from 1, in float32
    windows: Literal["never", "everywhere", "by layer"] = "never"  # sliding-window attention
    rotates_by_kind: bool = False  # the two layer types have different rotary angles
    activation_setting: str = "hidden_act"

    def activation(self, config: Any) -> Activation:
        """The MLP's activation."""
        return _ACTIVATIONS[getattr(config, self.activation_setting)]

    def kinds(self, config: Any) -> list[str]:
        """Each layer's type: WHOLE, WINDOWED, or an unsupported one."""
        if self.windows == "by layer":
            return list(config.layer_types)
        is_windowed = self.windows == "everywhere" and config.sliding_window is not None
        return [WINDOWED if is_windowed else WHOLE] * config.num_hidden_layers

    def rotations(self, config: Any) -> set[str]:
        """The rules for rotary angles."""
        settings = config.rope_parameters
        each = [settings[kind] for kind in {*self.kinds(config)}] if self.rotates_by_kind else [settings]
        return {rotation.get("rope_type", "default") for rotation in each}

    def norm_weight(self, weight: Tensor) -> Tensor:
        """A norm's multiplier."""
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
_WITH_IMAGES = frozenset({"gemma3"})  # multimodal models whose text part is one of these
# Rules whose angles do not depend on the prompt's length.
_ROTATIONS = frozenset({"default", "linear", "llama3", "yarn"})
_NOT_COMPUTED = ("mlp_bias", "use_bidirectional_attention", "attn_logit_softcapping", "final_logit_softcapping")


def architecture_of(config: Any) -> Architecture | None:
    """The architecture of a model with that configuration; None if not fully supported."""
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
