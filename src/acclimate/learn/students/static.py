"""The static student: queries as the mean of one vector per token, in the space of the base's document vectors.

Documents keep the index's vectors. A token starts as the mean of its own vectors in the corpus (from the index),
weighted by inverse document frequency, as SIF (Arora et al. 2017) and model2vec weight by rarity: the untrained
student. Before any teacher, a warm-up trains it to find the document that a span of tokens was taken from, without an
LLM. No transformer runs, neither to start nor to train.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Router
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy, embedding_bag, normalize

from acclimate.base import models
from acclimate.base.errors import SettingError
from acclimate.base.gpu import fused_optimizer, on_device, pinned, prefetch_thread
from acclimate.base.modules import copies_for_saving
from acclimate.base.prefetch import prefetch
from acclimate.learn.students.index_vectors import IndexVectors
from acclimate.learn.students.occurrences import count_occurrences
from acclimate.learn.students.similarities import Comparison, Similarities, comparison
from acclimate.learn.students.training_data import TrainingData
from acclimate.records import NWay
from acclimate.search.static import token_ids

if TYPE_CHECKING:
    from acclimate.search.encoder import Encoder
# The warm-up, on documents alone.
_TIMES = 5  # rough number of spans per document
_FEWEST_STEPS, _MOST_STEPS = 20, 500
_BATCH, _CANDIDATES = 128, 8192  # spans per step, and documents each is compared with
_STRETCH = (4, 24)  # minimum and maximum tokens of a span
_MOST_TOKENS = 256  # read of a document
_RATE = 2e-3
_TEMPERATURE = 0.05


class Bags(NamedTuple):
    """Tokens of several texts, concatenated."""

    tokens: torch.Tensor
    starts: torch.Tensor  # (n_texts,) start of each text

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> Bags:
        """Concatenate the tokens of texts."""
        starts = torch.tensor([0, *np.cumsum([len(text) for text in texts])[:-1].tolist()])
        tokens = torch.tensor([token for text in texts for token in text], dtype=torch.long)
        return cls(pinned(tokens), pinned(starts))


class Texts(NamedTuple):
    """A batch as static students read it."""

    queries: Bags
    comparison: Comparison
    others: torch.Tensor | None  # see `index_vectors.Compared`


class StaticTable(torch.nn.Module):
    """Trained weights: a vector per token. `tokenizer` is a plain one."""

    def __init__(self, table: torch.Tensor, tokenizer: Any) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(table)
        self.tokenizer = tokenizer

    def forward(self, texts: Bags) -> torch.Tensor:
        """(n_texts, dim) normalized means of the tokens' vectors; zeros for a text without tokens."""
        tokens, starts = on_device(texts.tokens), on_device(texts.starts)
        return normalize(embedding_bag(tokens, self.table, starts, mode="mean"), dim=-1)


class StaticLearner:
    """The static student's trained weights, with the encoder of its documents."""

    def __init__(self, encoder: Encoder, table: StaticTable) -> None:
        self.body, self.model = encoder, table.to(models.device())


class Static:
    """Dense retrieval with static queries: documents keep the index's vectors."""

    kind: ClassVar[str] = "static"
    keeps_index: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, data: TrainingData, negatives: str) -> None:
        self.encoder = StaticLearner(encoder, start(encoder, data))
        self.data, self.negatives = data, negatives
        self._index = IndexVectors(data)

    def read(self, batch: Sequence[NWay]) -> Texts:
        """Tokens of queries."""
        queries = Bags.of(token_ids(self.encoder.model.tokenizer, self.data.query_texts(batch)))
        compared = self._index.of(batch)
        return Texts(queries, comparison(batch, compared.places, self.data, self.negatives), compared.others)

    def similarities(self, read: Texts) -> list[Similarities]:
        """Cosines with the documents of the corpus."""
        cosines = self.encoder.model(read.queries) @ self._index.vectors(read.others).T
        return read.comparison.similarities(cosines[None])

    def penalty(self) -> float:
        """None."""
        return 0.0

    def warm_up(self) -> None:
        """Train on documents alone, before any teacher."""
        _inverse_cloze(self.encoder.model, self.data)


def start(encoder: Encoder, data: TrainingData) -> StaticTable:
    """The untrained static student. A token that is not in the corpus has a zero vector."""
    corpus = count_occurrences(encoder, data, lambda vectors: vectors)
    table = corpus.sums / np.maximum(corpus.counts, 1)[:, None] * corpus.idf()[:, None]
    lengths = np.linalg.norm(table, axis=1)
    # Adam's steps have a fixed size, so scale vectors to mean length 1, whatever the frequencies are.
    table /= max(lengths.sum() / max(1, np.count_nonzero(lengths)), 1e-9)
    return StaticTable(torch.from_numpy(table.astype(np.float32)), _tokenizer(encoder))


class Spans(NamedTuple):
    """One step of the warm-up."""

    texts: Bags
    documents: torch.Tensor  # (n, dim) vectors to compare with; a span's own document has the same position


def _inverse_cloze(table: StaticTable, data: TrainingData) -> None:
    """Train the table to find a span's document, by InfoNCE (inverse cloze task, Lee et al. 2019)."""
    steps = min(_MOST_STEPS, max(_FEWEST_STEPS, _TIMES * len(data.ids) // _BATCH))
    optimizer = torch.optim.Adam([table.table], lr=_RATE, fused=fused_optimizer())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    doc_ids = sorted(data.ids.doc_ids)
    with prefetch_thread() as thread:
        for read in prefetch(thread, lambda step: _spans(table.tokenizer, data, doc_ids, step), range(steps)):
            optimizer.zero_grad()
            scores = table(read.texts) @ on_device(read.documents).T / _TEMPERATURE
            cross_entropy(scores, torch.arange(len(scores), device=scores.device)).backward()
            optimizer.step()
            schedule.step()


def _spans(tokenizer: Tokenizer, data: TrainingData, doc_ids: Sequence[str], step: int) -> Spans:
    """Spans of documents drawn for a step."""
    rng = random.Random(f"cloze:{step}")
    drawn = rng.sample(doc_ids, min(_CANDIDATES, len(doc_ids)))
    stretches: list[list[int]] = []
    for ids in token_ids(tokenizer, data.document_texts(drawn[:_BATCH])):
        ids = ids[:_MOST_TOKENS]
        size = min(rng.randint(*_STRETCH), len(ids))
        start = rng.randint(0, len(ids) - size)
        stretches.append(ids[start : start + size])
    rows = [data.ids.row[doc_id] for doc_id in drawn]
    return Spans(Bags.of(stretches), pinned(torch.from_numpy(data.vectors.pooled[rows])))


def save(learner: StaticLearner, path: Path) -> None:
    """Save in a folder that plain `SentenceTransformer(path)` loads.

    `encode_query` and `encode` are static; `encode_document` is the base.
    """
    table = learner.model.table.detach().float().cpu()
    static: Any = StaticEmbedding(_tokenizer(learner.body), embedding_weights=table)
    documents = copies_for_saving(list(learner.body.model))
    router: Any = Router.for_query_document([static, Normalize()], documents, default_route="query")
    prompts = {"document": learner.body.prompts["document"]}
    model = SentenceTransformer(modules=[router], prompts=prompts, device=models.device())
    model.save_pretrained(str(path), create_model_card=False)


def _tokenizer(encoder: Encoder) -> Tokenizer:
    """The encoder's tokenizer without truncation and padding. Raises SettingError for a slow tokenizer."""
    whole: Any = encoder.model.tokenizer
    if not whole.is_fast:
        raise SettingError("distill.student=static needs a base with a fast tokenizer (tokenizer.json)")
    tokenizer = Tokenizer.from_str(whole.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
