"""Reranker losses of sentence-transformers, and the dataset columns that each needs.

Columns are identified by position, not by name.

    listwise     softmax cross-entropy of the positive (ListNet with label 0 for negatives)
    lambda       LambdaLoss, NDCG-Loss2++
    ranknet      each pair of positive and negative
    margin-mse   margins of teacher scores, or 1 without them (arXiv 2010.02666)
    bce          binary cross-entropy of each pair, positives weighted up; with equal weights, UDAPDR's loss
    token        cross-entropy of the answer over the whole vocabulary, as in monoT5's training: all answer tokens of an
                 encoder-decoder, the first one of a decoder; language models only
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from sentence_transformers.cross_encoder import losses

from acclimate.learn.rerankers.texts import Texts
from acclimate.records import NWay

_NEVER = -1e4  # a logit of probability 0


class RerankerLoss(NamedTuple):
    """A loss, and the dataset that it takes."""

    make: Callable[[Any, list[NWay], int], Any]  # (model, examples, pairs at once) -> loss
    dataset: Callable[[Sequence[NWay], Texts], Dataset]
    is_pointwise: bool = False  # a row is a pair, not a query
    of_scores: bool = True  # computed from scores alone


def lists(labels: tuple[float, float]) -> Callable[[Sequence[NWay], Texts], Dataset]:
    """A dataset with columns query, docs, labels: one row per query, with these labels for positive and negatives."""
    positive, negative = labels

    def dataset(examples: Sequence[NWay], texts: Texts) -> Dataset:
        return Dataset.from_dict(
            {
                "query": [texts.query(example) for example in examples],
                "docs": [texts.documents(example) for example in examples],
                "labels": [[positive] + [negative] * (len(example.doc_ids) - 1) for example in examples],
            }
        )

    return dataset


def pairs(examples: Sequence[NWay], texts: Texts) -> Dataset:
    """A dataset with columns query, document, label: one row per document, 1.0 for positives."""
    rows = [
        (texts.query(example), text, float(place == 0))
        for example in examples
        for place, text in enumerate(texts.documents(example))
    ]
    return Dataset.from_dict(
        {name: [row[column] for row in rows] for column, name in enumerate(("query", "document", "label"))}
    )


def margins(examples: Sequence[NWay], texts: Texts) -> Dataset:
    """A dataset with columns query, positive, negatives, label (list of scores). Shorter examples repeat negatives."""
    width = max(len(example.doc_ids) for example in examples)

    def filled(values: Sequence[Any]) -> list[Any]:
        return [values[0], *islice(cycle(values[1:]), width - 1)]

    docs = [filled(texts.documents(example)) for example in examples]
    scores = [filled(example.scores or (1.0, *[0.0] * (len(example.doc_ids) - 1))) for example in examples]
    columns = {f"document_{column}": [row[column] for row in docs] for column in range(width)}
    return Dataset.from_dict({"query": [texts.query(example) for example in examples], **columns, "label": scores})


class TokenLoss(torch.nn.Module):
    """Cross-entropy of the answer, true or false, over the whole vocabulary."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, inputs: list[list[str]], labels: torch.Tensor, prompt: str | None = None, task: str | None = None
    ) -> torch.Tensor:
        features = self.model.preprocess(list(zip(*inputs, strict=True)))
        return self.model(features | {"is_true": labels > 0.5})["loss"]


def _weighed(model: Any, examples: list[NWay], _: int) -> Any:
    """Binary cross-entropy in which positives have the same total weight as negatives."""
    ratio = sum(len(example.doc_ids) for example in examples) / len(examples) - 1
    return losses.BinaryCrossEntropyLoss(model, pos_weight=torch.tensor(ratio, device=model.device))


LOSSES: dict[str, RerankerLoss] = {
    "listwise": RerankerLoss(
        lambda model, _, size: losses.ListNetLoss(model, mini_batch_size=size), lists((0.0, _NEVER))
    ),
    "lambda": RerankerLoss(lambda model, _, size: losses.LambdaLoss(model, mini_batch_size=size), lists((1.0, 0.0))),
    "ranknet": RerankerLoss(lambda model, _, size: losses.RankNetLoss(model, mini_batch_size=size), lists((1.0, 0.0))),
    "margin-mse": RerankerLoss(lambda model, *_: losses.MarginMSELoss(model), margins),
    "bce": RerankerLoss(_weighed, pairs, is_pointwise=True),
    "token": RerankerLoss(lambda model, *_: TokenLoss(model), pairs, is_pointwise=True, of_scores=False),
}
