"""Encode texts with gradients, in the memory of one group of texts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch

from acclimate.base import models
from acclimate.base.gpu import on_device
from acclimate.base.memory import batches
from acclimate.learn.data_parallel import with_gradients
from acclimate.search.encoded import Task, Tokens
from acclimate.search.encoder import Encoder


class EncodedTexts(NamedTuple):
    """Vectors with gradients."""

    pooled: torch.Tensor  # (n_texts, dim)
    tokens: torch.Tensor  # (sum of lengths, token_dim) of the tokens that are scored, concatenated
    lengths: list[int]  # scored tokens per text


def in_float32() -> AbstractContextManager[Any]:
    """Context for computing similarities in float32, as half precision would tie near neighbors."""
    return torch.autocast(models.device(), enabled=False) if models.fast_bf16() else nullcontext()


def encode_with_gradients(
    encoder: Encoder, texts: Sequence[Tokens], task: Task, *, with_tokens: bool = True
) -> EncodedTexts:
    """Encode texts; without token vectors, which take many times the memory, unless asked for.

    Texts are encoded in groups of similar length. With several groups only vectors are kept, and each group is encoded
    again in the backward pass (gradient caching, Gao et al. 2021), so memory grows with a group, not with the batch.
    """
    groups = list(batches([len(text.ids) for text in texts], max_tokens=encoder.tokens_at_once))
    pads_left = encoder.model.tokenizer.padding_side == "left"
    forward = with_gradients(encoder.transformer, encoder.forward, recompute=len(groups) > 1)
    parts: list[tuple[torch.Tensor, torch.Tensor]] = []
    for rows in groups:
        pooled, tokens = forward(encoder.features([texts[row] for row in rows], task))
        if with_tokens:
            kept = _kept([texts[row] for row in rows], tokens.shape[1], pads_left=pads_left)
            parts.append((pooled, tokens.flatten(0, 1)[on_device(kept)]))
        else:
            parts.append((pooled, pooled[:0]))
    pooled, tokens = (torch.cat(part) for part in zip(*parts, strict=True))
    encoded = [row for rows in groups for row in rows]
    lengths = [sum(text.keep) if with_tokens else 0 for text in texts]
    as_given = torch.tensor(encoded).argsort()
    spans = torch.arange(sum(lengths)).split([lengths[row] for row in encoded])
    tokens = tokens[on_device(torch.cat([spans[place] for place in as_given.tolist()]))]
    return EncodedTexts(pooled[on_device(as_given)], tokens, lengths)


def _kept(texts: Sequence[Tokens], longest: int, *, pads_left: bool) -> torch.Tensor:
    """Positions of the scored tokens among those of all padded texts."""
    places: list[int] = []
    for number, text in enumerate(texts):
        first = number * longest + (longest - len(text.ids) if pads_left else 0)
        places.extend(first + place for place, is_kept in enumerate(text.keep) if is_kept)
    return torch.tensor(places)
