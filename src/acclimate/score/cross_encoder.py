"""A cross-encoder as a scorer: query and document read together, one logit.

Pairs are scored in float32 logits before any activation. The document is cut, never the query.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder

from acclimate import models
from acclimate.files import fingerprint, folder_fingerprint
from acclimate.records import Doc, Query
from acclimate.score.pairs import rate, texts_of


def load(name: str, *, max_tokens: int) -> CrossEncoder:
    """A cross-encoder with one logit and no activation, from a reranker or from any encoder's weights.

    Pair tokens are cut to `max_tokens` in all, special ones included.
    """
    at = models.resolve(name)
    return CrossEncoder(
        at.path_or_id,
        revision=at.revision,
        num_labels=1,
        max_length=max_tokens,
        activation_fn=torch.nn.Identity(),
        device=models.device(),
        model_kwargs={"use_safetensors": True},
    )


class CrossEncoderReader:
    """Reads pairs with a cross-encoder; implements `score.pairs.Reader`."""

    def __init__(self, model: CrossEncoder, *, max_tokens: int) -> None:
        self.model = model
        self.max_tokens = max_tokens

    def tokens(self, texts: Sequence[tuple[str, str]]) -> Mapping[str, Sequence[Sequence[int]]]:
        return self.model.tokenizer(
            [query for query, _ in texts],
            [document for _, document in texts],
            truncation="only_second",
            max_length=self.max_tokens,
        )

    def logits(self, rows: Mapping[str, Sequence[Sequence[int]]]) -> torch.Tensor:
        batch = self.model.tokenizer.pad(dict(rows), return_tensors="pt").to(self.model.device)
        return self.model(dict(batch))["scores"].float().view(-1)


class CrossEncoderScorer:
    """Scores pairs with a cross-encoder: a folder that `train` wrote, or any other, or a Hugging Face id.

    It is loaded when it is first asked.
    """

    def __init__(self, name: Path | str, corpus: Mapping[str, Doc], *, max_tokens: int) -> None:
        self.name = str(name)
        self.corpus = corpus
        self.max_tokens = max_tokens

    @cached_property
    def model(self) -> CrossEncoder:
        return load(self.name, max_tokens=self.max_tokens).eval()

    @cached_property
    def _reader(self) -> CrossEncoderReader:
        fast = self.model if models.dtype() == torch.float32 else _faster(self.model)
        return CrossEncoderReader(fast, max_tokens=self.max_tokens)

    @property
    def fingerprint(self) -> str:
        folder = Path(self.name)
        weights = folder_fingerprint(folder) if folder.is_dir() else models.weights_fingerprint(self.name)
        return fingerprint("cross-encoder", weights, self.max_tokens, str(models.dtype()))

    def score(
        self,
        pairs: Sequence[tuple[Query, str]],
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[float]:
        """One logit per (query, doc_id), in order."""
        return rate(self._reader, texts_of(pairs, self.corpus), progress)


def _faster(model: CrossEncoder) -> CrossEncoder:
    """A copy in half precision but for the last layer: logits rounded to eight bits would tie the best documents."""
    fast = copy.deepcopy(model).to(models.dtype())
    head = [module for module in fast.modules() if isinstance(module, torch.nn.Linear)][-1].float()
    head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return fast
