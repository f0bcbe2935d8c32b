"""A cross-encoder as a scorer: query and document read together, one logit.

Pairs are scored in float32 logits before any activation, grouped by length under a token budget. The document is cut,
never the query.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder

from acclimate import models
from acclimate.files import fingerprint, folder_fingerprint
from acclimate.records import Doc, Query
from acclimate.retrieve.encoder import batches


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


class CrossEncoderScorer:
    """Scores pairs with a cross-encoder: a folder that `train` wrote, or any other, or a Hugging Face id."""

    def __init__(self, name: Path | str, corpus: Mapping[str, Doc], *, max_tokens: int) -> None:
        self.name = str(name)
        self.corpus = corpus
        self.max_tokens = max_tokens
        self.model = load(self.name, max_tokens=max_tokens).eval()
        self._fast = self.model if models.dtype() == torch.float32 else _faster(self.model)

    @property
    def fingerprint(self) -> str:
        folder = Path(self.name)
        weights = folder_fingerprint(folder) if folder.is_dir() else models.weights_fingerprint(self.name)
        return fingerprint("cross-encoder", weights, self.max_tokens, str(models.dtype()))

    @torch.inference_mode()
    def score(
        self,
        pairs: Sequence[tuple[Query, str]],
        *,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[float]:
        """One logit per (query, doc_id), in order."""
        tokenizer = self.model.tokenizer
        tokens = tokenizer(
            [query.text for query, _ in pairs],
            [self.corpus[doc_id].default_text() for _, doc_id in pairs],
            truncation="only_second",
            max_length=self.max_tokens,
        ) if pairs else {"input_ids": []}  # fmt: skip
        scores = [0.0] * len(pairs)
        done = 0
        for rows in batches([len(ids) for ids in tokens["input_ids"]]):
            batch = tokenizer.pad(
                {name: [values[row] for row in rows] for name, values in tokens.items()}, return_tensors="pt"
            ).to(self.model.device)
            logits = self._fast(dict(batch))["scores"].float().view(-1).tolist()
            for row, logit in zip(rows, logits, strict=True):
                scores[row] = logit
            done += len(rows)
            progress(done, len(pairs))
        return scores


def _faster(model: CrossEncoder) -> CrossEncoder:
    """A copy in half precision but for the last layer: logits rounded to eight bits would tie the best documents."""
    fast = copy.deepcopy(model).to(models.dtype())
    head = [module for module in fast.modules() if isinstance(module, torch.nn.Linear)][-1].float()
    head.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return fast
