"""Loaded models of torch: their longest input, and copies for saving. Importing this module does not import torch."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_POSITIONS = ("position_embeddings", "embed_positions", "wpe")  # module names of learned position embeddings


def max_positions(model: torch.nn.Module) -> int:
    """The longest input in tokens by a model's learned position embeddings; `sys.maxsize` if it has none."""
    import torch

    fewest = sys.maxsize
    for name, module in model.named_modules():
        if name.endswith(_POSITIONS) and isinstance(module, torch.nn.Embedding):
            # RoBERTa's positions start after the padding token, BART's and OPT's at an offset.
            first = getattr(module, "offset", 0) if module.padding_idx is None else module.padding_idx + 1
            fewest = min(fewest, module.num_embeddings - first)
    return fewest


def copies_for_saving(modules: Sequence[torch.nn.Module]) -> list[Any]:
    """Copies of modules that share only the weights' memory, with tokenizers in their initial state.

    Saving, and wrapping modules in a new model, modify and move them; this leaves those in use untouched.
    """
    import torch

    shared: dict[int, Any] = {}  # by identity, so that tied weights stay tied
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            values: torch.Tensor = tensor.detach()
            is_weight = isinstance(tensor, torch.nn.Parameter)
            shared[id(tensor)] = torch.nn.Parameter(values, tensor.requires_grad) if is_weight else values
    copies = copy.deepcopy(list(modules), shared)
    for module in copies:
        for part in module.modules():
            if (tokenizer := getattr(part, "tokenizer", None)) is not None:
                forget_last_call(tokenizer)
    return copies


def forget_last_call(tokenizer: Any) -> None:
    """Reset truncation and padding, which a tokenizer keeps from its last call and would save with itself."""
    if getattr(tokenizer, "is_fast", False):
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
