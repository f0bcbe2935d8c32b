"""One forward pass of a bi-encoder: the pooled vector of a text and the vector of each of its tokens.

Dense retrieval reads the first, late interaction the second, so a corpus is encoded once for both. Token vectors are
normalized and exclude special tokens. Texts are sorted by length and batched under a token budget.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from acclimate import models
from acclimate.files import fingerprint, folder_fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Encoded(NamedTuple):
    """One text as vectors of unit length."""

    pooled: NDArray[np.float32]  # (dim,)
    tokens: NDArray[np.float32]  # (n_tokens, dim), special tokens left out


class Encoder:
    """A sentence-transformers model that pools token vectors, read at both levels.

    `task` is "query" or "document": a model with two routes encodes each its own way, and prompts are applied.
    """

    def __init__(self, model: SentenceTransformer, *, name: str, weights: str, max_tokens: int = 256) -> None:
        self.model = model.eval()
        self.name = name
        self.max_tokens = max_tokens
        self.weights = weights
        self._fast: SentenceTransformer | None = None

    @classmethod
    def load(cls, name: str, *, max_tokens: int = 256) -> Encoder:
        """The encoder of a model name (see `models`), cut at `max_tokens` tokens, special ones included."""
        at = models.resolve(name)
        model = SentenceTransformer(
            at.path_or_id, revision=at.revision, device=models.device(), model_kwargs={"use_safetensors": True}
        )
        limit = model.max_seq_length
        return cls(
            model,
            name=name,
            weights=models.weights_fingerprint(name),
            max_tokens=max_tokens if limit is None else min(max_tokens, limit),
        )

    @classmethod
    def load_student(cls, folder: Path, *, max_tokens: int = 256) -> Encoder:
        """The query side of a student that `distill` saved, dense or late interaction, read at both levels."""
        side = folder / "query_0_Transformer"
        transformer = Transformer.load(str(side if side.is_dir() else folder))
        saved = sorted(folder.glob("query_*_Pooling")) or sorted(folder.glob("*_Pooling"))
        # Late interaction pools nothing.
        pooling = Pooling.load(str(saved[0])) if saved else Pooling(transformer.get_embedding_dimension(), "mean")
        modules = [transformer, pooling, Normalize()]
        model = SentenceTransformer(modules=modules, device=models.device())
        return cls(model, name=str(folder), weights=folder_fingerprint(folder), max_tokens=max_tokens)

    @property
    def fingerprint(self) -> str:
        return fingerprint("encoder", self.weights, self.max_tokens, str(models.dtype()))

    @property
    def dim(self) -> int:
        """The length of a pooled vector."""
        dim = self.model.get_embedding_dimension()
        assert dim is not None
        return dim

    def copy(self) -> Encoder:
        """The same encoder with weights of its own, to be trained."""
        return Encoder(copy.deepcopy(self.model), name=self.name, weights=self.weights, max_tokens=self.max_tokens)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's tokens, special ones included, cut to `max_tokens`."""
        if not texts:
            return []
        return self.model.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]

    def features(self, token_ids: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """A padded batch on the model's device, with `keep`: True where a token is neither padding nor special."""
        tokenizer = self.model.tokenizer
        batch = tokenizer.pad({"input_ids": [list(ids) for ids in token_ids]}, return_tensors="pt")
        special = torch.tensor(sorted(tokenizer.all_special_ids))
        keep = batch["attention_mask"].bool() & ~torch.isin(batch["input_ids"], special)
        # A text of special tokens alone (an empty query, say) keeps them: it must have at least one vector.
        keep |= batch["attention_mask"].bool() & ~keep.any(dim=1, keepdim=True)
        device = self.model.device
        return {**{name: value.to(device) for name, value in batch.items()}, "keep": keep.to(device)}

    def forward(self, features: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """(pooled (batch, dim), tokens (batch, longest, dim)), both of unit length, with gradients where enabled."""
        return forward(self.model, features)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Vectors of each text, in the order given."""
        found: dict[int, Encoded] = {}
        ids = self.token_ids(texts)
        for rows in batches([len(row) for row in ids]):
            for row, encoded in zip(rows, self.encode_batch([ids[row] for row in rows]), strict=True):
                found[row] = encoded
        return [found[row] for row in range(len(ids))]

    @torch.inference_mode()
    def encode_batch(self, token_ids: Sequence[Sequence[int]]) -> Iterator[Encoded]:
        """Vectors of one batch of tokenized texts, in bfloat16 where this machine is fast at it."""
        features = self.features(token_ids)
        pooled, tokens = forward(self._inference_model(), features)
        keep = features["keep"]
        for row in range(len(token_ids)):
            yield Encoded(pooled[row].float().cpu().numpy(), tokens[row][keep[row]].float().cpu().numpy())

    def _inference_model(self) -> SentenceTransformer:
        if models.dtype() == torch.float32:
            return self.model
        if self._fast is None:
            self._fast = copy.deepcopy(self.model).to(models.dtype())
        return self._fast

    def save(self, path: Path) -> None:
        """A folder that plain `SentenceTransformer(path)` loads."""
        self.model.save(str(path), create_model_card=False)


@dataclass(frozen=True)
class Cut:
    """An encoder whose pooled vectors keep their first `dim` components, at unit length."""

    encoder: Encoder
    dim: int

    @property
    def fingerprint(self) -> str:
        return fingerprint("cut", self.encoder.fingerprint, self.dim)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Vectors of each text, in the order given."""
        return [one._replace(pooled=cut(one.pooled, self.dim)) for one in self.encoder.encode(texts)]


def cut(vectors: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """(..., dim) the first components of vectors, at unit length."""
    vectors = vectors[..., :dim]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def forward(model: SentenceTransformer, features: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """(pooled, tokens), both normalized in float32: half precision there would tie near neighbors."""
    out = model({name: value for name, value in features.items() if name != "keep"})
    normalize = torch.nn.functional.normalize
    return normalize(out["sentence_embedding"].float(), dim=-1), normalize(out["token_embeddings"].float(), dim=-1)


def batches(lengths: Sequence[int], *, max_tokens: int = 8192, max_texts: int = 128) -> Iterator[list[int]]:
    """Positions grouped by length, longest first, each group at most `max_tokens` after padding; ties by position."""
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if group and (len(group) >= max_texts or (len(group) + 1) * lengths[group[0]] > max_tokens):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
