"""Encode texts with a sentence-transformers model: pooled vectors and token vectors from one forward pass.

Dense retrieval uses pooled vectors, late interaction token vectors, so a corpus is encoded once for both. A bi-encoder
pools its own way, and its token vectors are those it pools; a late-interaction model (ColBERT) has token vectors of its
own, and their mean is the pooled one. Prompts precede the text. Texts are sorted by length and batched by a token
budget.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.multi_vector_encoder.modules import BaseTokenPooling, MultiVectorMask
from torch.nn.utils.rnn import pad_sequence

from acclimate.base import models
from acclimate.base.digests import fingerprint, folder_fingerprint
from acclimate.base.errors import DataError, SettingError
from acclimate.base.gpu import on_device
from acclimate.base.loading import loading, naming
from acclimate.base.memory import TOKENS_AT_ONCE, Halving, batches, tokens_at_once
from acclimate.base.modules import max_positions
from acclimate.search.encoded import Encoded, Task, Tokens
from acclimate.search.inference import Finish, Inference, Read, by_text, forward

_DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # names that models use


class Encoder:
    """A sentence-transformers model, bi-encoder or late interaction, with pooled and token vectors.

    prompts: task -> text before the input; by default the model's own.
    """

    def __init__(
        self,
        model: SentenceTransformer | MultiVectorEncoder,
        *,
        name: str,
        weights: str,
        max_tokens: int = 256,
        prompts: Mapping[Task, str] | None = None,
    ) -> None:
        self.model = model.eval()
        self.name = name
        self.weights = weights
        positions = max_positions(model)
        if (model.max_seq_length or positions) > positions:
            model.max_seq_length = positions  # RoBERTa's tokenizers count the padding index, too
        self.max_tokens = min(max_tokens, positions, model.max_seq_length or max_tokens)
        self.tokens_at_once = TOKENS_AT_ONCE  # while gradients are computed
        self._halving = Halving()
        self.prompts: dict[Task, str] = {**own_prompts(model.prompts), **(prompts or {})}
        # Precomputed: the tokenizer is not thread-safe, and another thread may be using it.
        self._prompt_lengths = {task: self._prompt_length(prompt) for task, prompt in self.prompts.items() if prompt}

    @classmethod
    def load(cls, name: str, *, max_tokens: int = 256, prompts: Mapping[Task, str] | None = None) -> Encoder:
        """Load the encoder of a model name (see `models`), truncating at `max_tokens`, special tokens included.

        Raises SettingError for a model that is not supported: one with different query and document encoders, without a
        transformer, or with fewer vectors than tokens. Raises DataError for pickled weights, and for a model that
        cannot encode a text.
        """
        weights, folder = models.weights_fingerprint(name), models.folder(name)
        models.check_modules(folder)
        model = load_model(folder, name)
        if isinstance(model[0], Router):
            raise SettingError(
                f"{name} encodes queries and documents with different models (like query-side students); "
                "expected one model for both"
            )
        if not isinstance(model[0], Transformer) or any(isinstance(module, BaseTokenPooling) for module in model):
            parts = ", ".join(type(module).__name__ for module in model)
            raise SettingError(f"{name} is made of {parts}; expected a Transformer, with a vector for each token")
        with naming(folder):
            encoder = cls(model, name=name, weights=weights, max_tokens=max_tokens, prompts=prompts)
            dim = len(encoder.encode([""])[0].pooled)
        if dim != encoder.dim:
            raise DataError(
                f"it gives vectors of {dim} dimensions; expected {encoder.dim}, by its modules", path=folder
            )
        return encoder

    @classmethod
    def load_student(cls, folder: Path, *, max_tokens: int = 256) -> Encoder:
        """Load the query encoder of a dense or late-interaction student saved by `distill`."""
        model = load_model(folder)
        router: Any = model[0]
        if isinstance(router, Router):
            query: Any = router.sub_modules["query"]
            prompts = {name: prompt for name, prompt in model.prompts.items() if prompt}
            model = type(model)(modules=list(query), prompts=prompts, device=models.device())
        return cls(model, name=str(folder), weights=folder_fingerprint(folder), max_tokens=max_tokens)

    @property
    def fingerprint(self) -> str:
        prompts = [self.prompts] if any(self.prompts.values()) else []
        return fingerprint("encoder", self.weights, self.max_tokens, str(models.dtype()), *prompts)

    @property
    def is_late_interaction(self) -> bool:
        """True for a late-interaction model, which has no pooled vector of its own."""
        return isinstance(self.model, MultiVectorEncoder)

    @property
    def transformer(self) -> torch.nn.Module:
        """The transformers model in its first module."""
        module: Any = self.model[0]
        return module.model

    @cached_property
    def _inference(self) -> Inference:
        return Inference(self.model)

    @property
    def is_batch_invariant(self) -> bool:
        """True if results are batch-invariant, i.e. bit-identical for every batch."""
        return self._inference.is_batch_invariant

    @property
    def dim(self) -> int:
        """Dimension of pooled vectors."""
        dim = self.model.get_embedding_dimension()
        assert dim is not None
        return dim

    @property
    def token_dim(self) -> int:
        """Dimension of token vectors."""
        transformer: Any = self.model[0]
        return self.dim if self.is_late_interaction else transformer.get_embedding_dimension()

    def copy(self) -> Encoder:
        """A copy with its own weights, for training."""
        return Encoder(
            copy.deepcopy(self.model),
            name=self.name,
            weights=self.weights,
            max_tokens=self.max_tokens,
            prompts=self.prompts,
        )

    def tokenize(self, texts: Sequence[str], task: Task) -> list[Tokens]:
        """Each text's tokens, truncated to `max_tokens`."""
        if not texts:
            return []
        if self.is_late_interaction:
            return self._as_late_interaction(texts, task)
        tokenizer, prompt = self.model.tokenizer, self.prompts[task]
        special = set(tokenizer.all_special_ids)
        asked = [prompt + text for text in texts] if prompt else list(texts)
        blank = [next((t for t in (tokenizer.eos_token_id, tokenizer.pad_token_id) if t is not None), 0)]
        tokens: list[Tokens] = []
        for read in tokenizer(asked, truncation=True, max_length=self.max_tokens)["input_ids"]:
            ids = read or blank  # for tokenizers without special tokens
            tokens.append(_tokens(ids, [token not in special for token in ids], [True] * len(ids)))
        return tokens

    def _as_late_interaction(self, texts: Sequence[str], task: Task) -> list[Tokens]:
        """Tokens as in the model's library: queries may be padded with scored tokens, punctuation may be skipped."""
        module: Any = self.model[0]
        longest = (module.query_length if task == "query" else module.document_length) or self.max_tokens
        # Padded queries have a length of their own.
        is_filled = task == "query" and module.query_expansion
        cut = {} if is_filled else {"max_length": min(longest, self.max_tokens)}
        features = module.preprocess(list(texts), prompt=self.prompts[task] or None, task=task, **cut)
        attend = features["attention_mask"].bool()
        there = attend | features.get("query_expansion_positions", torch.zeros_like(attend)).bool()
        keep = there
        for mask in self.model:
            if isinstance(mask, MultiVectorMask):
                keep = mask(dict(features), task=task)["attention_mask"].bool()
        rows = zip(features["input_ids"], keep, attend, there, strict=True)
        return [_tokens(*(part[real].tolist() for part in parts)) for *parts, real in rows]

    def features(self, texts: Sequence[Tokens], task: Task) -> dict[str, Any]:
        """A padded batch on the model's device, with `keep`: True for tokens whose vectors count."""
        tokenizer = self.model.tokenizer

        def padded(parts: Sequence[Sequence[int]], value: int = 0) -> torch.Tensor:
            rows = [torch.as_tensor(part) for part in parts]
            together = pad_sequence(rows, batch_first=True, padding_value=value, padding_side=tokenizer.padding_side)
            return on_device(together)

        features: dict[str, Any] = {
            "input_ids": padded([text.ids for text in texts], tokenizer.pad_token_id or 0).long(),
            "attention_mask": padded([text.attend for text in texts]).long(),
            "keep": padded([text.keep for text in texts]),
        }
        n_attending = sum(int(np.count_nonzero(text.attend)) for text in texts)
        features["is_whole"] = n_attending == features["attention_mask"].numel()
        if self.prompts[task] and not self.is_late_interaction:
            features["prompt_length"] = self._prompt_lengths[task]  # for pooling that excludes the prompt
        return features

    def _prompt_length(self, prompt: str) -> int:
        ids, special = self.model.tokenizer(prompt)["input_ids"], set(self.model.tokenizer.all_special_ids)
        return len(ids) - (bool(ids) and ids[-1] in special)

    def forward(self, features: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """(pooled (batch, dim), tokens (batch, longest, token_dim)), normalized, with gradients if enabled."""
        return forward(self.model, features)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], task: Task = "query") -> list[Encoded]:
        """Vectors of each text, in order."""
        by_row: dict[int, Read] = {}
        tokens = self.tokenize(texts, task)
        for rows in batches([len(text.ids) for text in tokens], max_tokens=tokens_at_once()):
            by_row.update(zip(rows, self.read_batch([tokens[row] for row in rows], task), strict=True))
        return [Encoded(*by_row[row]) for row in range(len(tokens))]

    def read_batch(self, texts: Sequence[Tokens], task: Task, finish: Finish = lambda tokens: (tokens,)) -> list[Read]:
        """Encode one batch without gradients, in bfloat16 if this machine is fast at it.

        finish: converts all token vectors (n_tokens, token_dim), on the device, to tensors of n_tokens rows.
        """
        lengths = [len(text.ids) for text in texts]
        what = f"one text of {max(lengths, default=0)} tokens in {self.name}; lower index.max_tokens"
        return self._halving(lambda some: self._read(some, task, finish), texts, lengths=lengths, what=what)

    @torch.inference_mode()
    def _read(self, texts: Sequence[Tokens], task: Task, finish: Finish) -> list[Read]:
        """Each text's vectors; the token vectors of all texts are copied from the device at once, after `finish`."""
        groups = self._inference.groups([len(text.ids) for text in texts])
        read = [self.features([texts[row] for row in rows], task) for rows in groups]
        pooled: list[torch.Tensor] = []
        tokens: list[torch.Tensor] = []
        for features, (of_texts, of_tokens) in zip(read, self._inference.forward(read), strict=True):
            pooled.append(of_texts)
            tokens.append(of_tokens[features["keep"]])  # values at padding are undefined
        together, kept = torch.cat(pooled).float(), torch.cat(tokens).float()
        if not (together.isfinite().all() & kept.isfinite().all()):
            raise DataError(
                f"the vectors are not finite with {self.name}: its weights have such, or too large ones for "
                f"{models.dtype_name()}; use another model"
            )
        order = [row for rows in groups for row in rows]
        counts = [int(np.count_nonzero(texts[row].keep)) for row in order]
        return by_text(order, counts, together, finish(kept))

    def save(self, path: Path) -> None:
        """Save in a folder that plain `SentenceTransformer(path)` loads."""
        self.model.save(str(path), create_model_card=False)


def own_prompts(named: Mapping[str, str | None]) -> dict[Task, str]:
    """The prompts that a model names, by task; documents may be called passage or corpus."""
    return {
        "query": named.get("query") or "",
        "document": next((prompt for name in _DOCUMENT_PROMPTS if (prompt := named.get(name))), ""),
    }


def _tokens(ids: Sequence[int], keep: Sequence[bool], attend: Sequence[bool]) -> Tokens:
    """A text's tokens; if it has special tokens only, such as an empty query, these are kept, so it has a vector."""
    return Tokens(ids, keep if any(keep) else [True] * len(ids), attend)


def load_model(folder: Path, name: str = "") -> SentenceTransformer | MultiVectorEncoder:
    """Load the model in a folder in float32, whatever its file has, as training adds small steps to large weights.

    name: what messages call it, by default the folder.
    """
    make = MultiVectorEncoder if models.is_late_interaction(folder) else SentenceTransformer
    with loading(name or folder):
        return make(str(folder), device=models.device(), model_kwargs={"use_safetensors": True, "dtype": torch.float32})
