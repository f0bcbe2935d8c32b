"""A dense encoder as one graph: transformer, pooling, normalization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from acclimate.base.errors import DataError
from acclimate.base.modules import copies_for_saving
from acclimate.deploy.exports.model_sides import Side

_OPSET = 18
_EXAMPLE = ["a text of some words", "another"]  # for tracing; batch size and length are dynamic
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _PooledEncoder(torch.nn.Module):
    def __init__(self, modules: list[Any]) -> None:
        super().__init__()
        self.transformer, self.later_modules = modules[0].model, torch.nn.ModuleList(modules[1:])

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """((n, longest, dim) last states, (n, dim) vectors)."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        features: Any = {"token_embeddings": states, "attention_mask": attention_mask}
        for module in self.later_modules:
            features = module(features)
        return states, features["sentence_embedding"]


def write_graph(side: Side, path: Path) -> None:
    """Write the graph. Raises DataError for pooling that excludes the prompt, whose length a graph does not know."""
    if side.prompt and not getattr(side.modules[1], "include_prompt", True):
        raise DataError("its pooling excludes the prompt, which a graph cannot do; use the format hf", path=path)
    modules = copies_for_saving(side.modules)
    tokenizer: Any = modules[0].tokenizer
    batch = tokenizer(_EXAMPLE, padding=True, return_tensors="pt")
    names = [name for name in _INPUTS if name in batch]
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    encoder = _PooledEncoder(modules).cpu().eval()
    with torch.inference_mode():
        torch.onnx.export(
            encoder,
            (),
            path,
            kwargs={name: batch[name] for name in names},
            input_names=names,
            output_names=["last_hidden_state", "sentence_embedding"],
            dynamic_shapes=dict.fromkeys(names, axes),
            opset_version=_OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
