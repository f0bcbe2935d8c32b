"""Encode without gradients, as fast as the machine can.

BERT-like models go through `bert`, others through their library, in half precision if that is fast. Modules after the
transformer (pooling, projections, masks) are always the library's, in float32 after `bert`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.base.modules import Transformer
from torch.nn.functional import normalize

from acclimate.base import models
from acclimate.search.bert import ROWS_AT_ONCE, Bert, Block, of_one_length

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

Features = dict[str, Any]
Finish = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]
Read = tuple[Any, ...]  # arrays: the pooled vector (dim,), and what was made of the text's token vectors
_LAST_STATES = {"method": "forward", "method_output_name": "last_hidden_state"}


class Inference:
    """Encodes with a model whose weights do not change."""

    def __init__(self, model: SentenceTransformer | MultiVectorEncoder) -> None:
        self._bert = Bert(_transformer(model).model, models.dtype()) if _is_bert(model) else None
        self._model = model
        if self._bert is None and models.dtype() != torch.float32:
            self._model = copy.deepcopy(model).to(models.dtype())

    @property
    def is_batch_invariant(self) -> bool:
        """True if results are batch-invariant, i.e. bit-identical for every batch."""
        return self._bert is not None and self._bert.is_batch_invariant

    def groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """Positions of texts that are padded to one length."""
        return [[*range(len(lengths))]] if self._bert is None else of_one_length(lengths)

    def forward(self, groups: Sequence[Features]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(pooled (n_texts, dim), tokens (n_texts, longest, token_dim)) of each group, normalized.

        Features as for the model's `forward`; `is_whole` if there is no padding and all tokens attend.
        """
        if self._bert is None:
            yield from (forward(self._model, group) for group in groups)
            return
        for some in _together(groups):
            blocks = [
                Block(group["input_ids"], attend=None if group["is_whole"] else group["attention_mask"])
                for group in some
            ]
            for group, states in zip(some, self._bert.states(blocks), strict=True):
                yield self._behind(group, states.float())

    def _behind(self, group: Features, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The modules after the transformer; text by text on a CPU, since larger products may round differently."""
        at_once = 1 if states.device.type == "cpu" else len(states)
        parts = [
            _vectors(
                self._model, {**_texts(group, start, at_once), "token_embeddings": states[start : start + at_once]}
            )
            for start in range(0, len(states), at_once)
        ]
        pooled, tokens = zip(*parts, strict=True)
        return torch.cat(pooled), torch.cat(tokens)


def forward(model: SentenceTransformer | MultiVectorEncoder, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
    """(pooled, tokens), both normalized in float32: half precision would tie near neighbors."""
    return _normalized(model({name: value for name, value in features.items() if name not in _OURS}), features)


def by_text(
    order: Sequence[int], counts: Sequence[int], pooled: torch.Tensor, parts: Sequence[torch.Tensor]
) -> list[Read]:
    """Arrays of each text: its pooled vector, and its rows of each part, copied from the device at once.

    order: the position of each text; counts: its tokens.
    """
    split = zip(*(part.cpu().split(list(counts)) for part in parts), strict=True)
    texts = {
        place: (vector.numpy(), *(rows.numpy() for rows in of_text))
        for place, vector, of_text in zip(order, pooled.cpu(), split, strict=True)
    }
    return [texts[place] for place in range(len(order))]


_OURS = ("keep", "is_whole")


def _vectors(model: SentenceTransformer | MultiVectorEncoder, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
    """(pooled, tokens) from the transformer's output."""
    out = {name: value for name, value in features.items() if name not in _OURS}
    for module in list(model)[1:]:
        out = module(out)
    return _normalized(out, features)


def _normalized(out: Any, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = normalize(out["token_embeddings"].float(), dim=-1)
    pooled = out.get("sentence_embedding")
    if pooled is None:
        pooled = (tokens * features["keep"][..., None]).sum(dim=1)
    return normalize(pooled.float(), dim=-1), tokens


def _transformer(model: SentenceTransformer | MultiVectorEncoder) -> Any:
    return model[0]


def _is_bert(model: SentenceTransformer | MultiVectorEncoder) -> bool:
    """True if only the last hidden states are used, of a model that `bert` computes."""
    transformer = _transformer(model)
    return (
        type(transformer) is Transformer
        and transformer.modality_config.get("text") == _LAST_STATES
        and transformer.module_output_name == "token_embeddings"
        and not transformer.model.config.output_hidden_states
        and Bert.runs(transformer.model)
    )


def _texts(group: Features, start: int, count: int) -> Features:
    """A range of a group's texts."""
    return {
        name: value[start : start + count] if isinstance(value, torch.Tensor) else value
        for name, value in group.items()
    }


def _together(groups: Sequence[Features]) -> Iterator[list[Features]]:
    """Groups that a CPU multiplies at once; on a GPU all."""
    some: list[Features] = []
    n_tokens = 0
    for group in groups:
        size = group["input_ids"].numel()
        if some and n_tokens + size > ROWS_AT_ONCE and group["input_ids"].device.type == "cpu":
            yield some
            some, n_tokens = [], 0
        some.append(group)
        n_tokens += size
    if some:
        yield some
