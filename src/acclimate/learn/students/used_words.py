"""Train a query encoder's embeddings of only those words that its queries have.

A query encoder reads a few thousand words, and may have 30,000 (BERT) to 250,000 (multilingual models, most of whose
weights these are). Other words have no gradient: leaving them out saves the memory and the time that AdamW, the norm of
the gradient and checkpoints take for them. They keep their embeddings, which AdamW would only shrink.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

from acclimate.learn.students.student import Learner
from acclimate.search.encoder import Encoder


@contextmanager
def only_words_of(learner: Learner, queries: Sequence[str]) -> Iterator[None]:
    """Context in which an encoder can read these queries only, and has no other word embeddings.

    Learners that are no encoders, and embeddings that a model computes in its own way or shares, stay as they are.
    """
    if not isinstance(learner, Encoder) or (words := _words(learner.transformer)) is None:
        yield
        return
    model: Any = learner.transformer
    ids = {int(word) for query in learner.tokenize(queries, "query") for word in query.ids}
    used = _UsedWords(words, sorted(ids | {learner.model.tokenizer.pad_token_id or 0}))
    model.set_input_embeddings(used)
    try:
        yield
    finally:
        with torch.no_grad():
            words.weight[used.ids] = used.weight
        model.set_input_embeddings(words)


def _words(model: Any) -> torch.nn.Embedding | None:
    """A model's table of words, if it is a plain one that nothing else uses."""
    with suppress(RuntimeError):  # "not implemented", by models of characters
        words = model.get_input_embeddings()
        users = [part for part in model.modules() if any(weight is words.weight for weight in part.parameters(False))]
        if type(words) is torch.nn.Embedding and users == [words]:
            return words
    return None


class _UsedWords(torch.nn.Embedding):
    """Some rows of a table of embeddings, found by the ids of the whole; other ids raise IndexError."""

    ids: torch.Tensor  # (n_used,) of the rows
    row: torch.Tensor  # (n_words,) row of each id; out of range for an id without one

    def __init__(self, words: torch.nn.Embedding, ids: Sequence[int]) -> None:
        device, padding = words.weight.device, words.padding_idx
        super().__init__(
            len(ids),
            words.embedding_dim,
            padding_idx=ids.index(padding) if padding in ids else None,
            _weight=words.weight.detach()[ids].clone(),
        )
        row = torch.full((words.num_embeddings,), len(ids))
        row[list(ids)] = torch.arange(len(ids))
        self.register_buffer("ids", torch.tensor(ids, device=device), persistent=False)
        self.register_buffer("row", row.to(device), persistent=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Embeddings of these ids of the whole table."""
        return super().forward(self.row[input])
