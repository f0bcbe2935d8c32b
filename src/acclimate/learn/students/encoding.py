"""Texts become vectors with gradients, in as little memory as a group of them takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from acclimate.base import models
from acclimate.base.memory import batches
from acclimate.search.encoder import Encoder, Task


class EncodedTexts(NamedTuple):
    """Texts as an encoder that learns sees them."""

    pooled: torch.Tensor  # (n_texts, dim)
    tokens: torch.Tensor  # (n_texts, longest, token_dim)
    keep: torch.Tensor  # (n_texts, longest) which tokens count


def in_float32() -> AbstractContextManager[Any]:
    """Where similarities are computed, whatever encoders compute in: half precision would tie near neighbors."""
    return torch.autocast(models.device(), enabled=False) if models.fast_bf16() else nullcontext()


def encode_with_gradients(
    encoder: Encoder, texts: Sequence[str], task: Task, *, with_tokens: bool = True
) -> EncodedTexts:
    """The texts' vectors; without those of their tokens, which take many times as much room, where nothing reads them.

    Texts are encoded in groups of like length. Of several groups only the vectors are kept, and each is encoded again
    when gradients flow back (gradient caching, Gao et al. 2021): memory grows with one group, not with the batch.
    """
    tokenized = encoder.tokenize(texts, task)
    groups = list(batches([len(text.ids) for text in tokenized], max_tokens=encoder.tokens_at_once))
    longest = max(len(text.ids) for text in tokenized)
    parts: list[EncodedTexts] = []
    for rows in groups:
        features = encoder.features([tokenized[row] for row in rows], task)
        pooled, tokens = (
            checkpoint(encoder.forward, features, use_reentrant=False) if len(groups) > 1 else encoder.forward(features)
        )
        if not with_tokens:
            parts.append(EncodedTexts(pooled, pooled[:, :0], pooled[:, :0]))
            continue
        short = longest - tokens.shape[1]
        parts.append(EncodedTexts(pooled, pad(tokens, (0, 0, 0, short)), pad(features["keep"], (0, short))))
    as_given = torch.tensor([row for rows in groups for row in rows], device=parts[0].pooled.device).argsort()
    return EncodedTexts(*(torch.cat(part)[as_given] for part in zip(*parts, strict=True)))
