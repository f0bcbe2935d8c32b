"""The static student: queries as the mean of one vector per token, in the space of the base's document vectors.

Document vectors stay those of the index. A token starts as the mean of its own vectors in the corpus, which the index
holds and which are what the base's pooling averages, weighted by inverse document frequency (as SIF, Arora et al.
2017, and model2vec weigh by how rare a token is). That is the untouched start. Before any teacher it learns to find
the document that a stretch of tokens was taken from, which takes no LLM. No transformer runs, neither to start nor to
learn.
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
from acclimate.base.prefetch import prefetch
from acclimate.learn.students.index_vectors import IndexVectors
from acclimate.learn.students.lesson import Lesson
from acclimate.learn.students.occurrences import count_occurrences
from acclimate.learn.students.similarities import Comparison, Similarities, comparison
from acclimate.records import NWay
from acclimate.search.static import StaticQuery

if TYPE_CHECKING:
    from acclimate.search.encoder import Encoder
# The warm-up, on documents alone.
_TIMES = 5  # that a document is asked for, about
_FEWEST_STEPS, _MOST_STEPS = 20, 500
_BATCH, _CANDIDATES = 128, 8192  # stretches of documents per step, and documents that each is compared with
_STRETCH = (4, 24)  # tokens
_MOST_TOKENS = 256  # of a document
_RATE = 2e-3
_TEMPERATURE = 0.05


class Bags(NamedTuple):
    """The tokens of texts, one text after the other."""

    tokens: torch.Tensor
    starts: torch.Tensor  # (n_texts,) of each text

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> Bags:
        """The tokens of texts, given text by text."""
        starts = torch.tensor([0, *np.cumsum([len(text) for text in texts])[:-1].tolist()])
        tokens = torch.tensor([token for text in texts for token in text], dtype=torch.long)
        return cls(pinned(tokens), pinned(starts))


class Texts(NamedTuple):
    """What static students read of a batch."""

    queries: Bags
    comparison: Comparison
    others: torch.Tensor | None  # see `index_vectors.Compared`


class StaticTable(torch.nn.Module):
    """What the static student learns: a vector per token. `tokenizer` makes ids of texts as plain libraries do."""

    def __init__(self, table: torch.Tensor, tokenizer: Any) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(table)
        self.tokenizer = tokenizer

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """(n_texts, dim) of unit length; zeros for a text without tokens."""
        return self.mean(Bags.of(_token_ids(self.tokenizer, texts)))

    def mean(self, texts: Bags) -> torch.Tensor:
        """`forward` for texts that are tokens already."""
        tokens, starts = on_device(texts.tokens), on_device(texts.starts)
        return normalize(embedding_bag(tokens, self.table, starts, mode="mean"), dim=-1)

    def query(self) -> StaticQuery:
        """The query side as arrays."""
        return StaticQuery(self.tokenizer, self.table.detach().float().cpu().numpy())


class StaticLearner:
    """The static student's weights and the encoder of its documents, as training takes them."""

    def __init__(self, encoder: Encoder, table: StaticTable) -> None:
        self.body, self.model = encoder, table.to(models.device())


class Static:
    """Dense retrieval with static queries: documents keep the vectors of the index."""

    kind: ClassVar[str] = "static"
    keeps_index: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, lesson: Lesson, negatives: str) -> None:
        self.encoder = StaticLearner(encoder, start(encoder, lesson))
        self.lesson, self.negatives = lesson, negatives
        self._index = IndexVectors(lesson)

    def read(self, batch: Sequence[NWay]) -> Texts:
        """The tokens of queries."""
        queries = Bags.of(_token_ids(self.encoder.model.tokenizer, self.lesson.query_texts(batch)))
        compared = self._index.of(batch)
        return Texts(queries, comparison(batch, compared.places, self.lesson, self.negatives), compared.others)

    def similarities(self, read: Texts) -> list[Similarities]:
        """Cosines with the documents of the corpus."""
        cosines = self.encoder.model.mean(read.queries) @ self._index.vectors(read.others).T
        return read.comparison.similarities(cosines[None])

    def penalty(self) -> float:
        """None."""
        return 0.0

    def warm_up(self) -> None:
        """Learn from the documents alone, before any teacher."""
        _inverse_cloze(self.encoder.model, self.lesson)


def start(encoder: Encoder, lesson: Lesson) -> StaticTable:
    """The untouched static student. A token that the corpus does not have adds nothing to a query."""
    corpus = count_occurrences(encoder, lesson, lambda vectors: vectors)
    table = corpus.sums / np.maximum(corpus.counts, 1)[:, None] * corpus.idf()[:, None]
    lengths = np.linalg.norm(table, axis=1)
    # Steps of the optimizer have a size of their own: vectors of length 1 on average, whatever the frequencies are.
    table /= max(lengths.sum() / max(1, np.count_nonzero(lengths)), 1e-9)
    return StaticTable(torch.from_numpy(table.astype(np.float32)), _tokenizer(encoder)).to(models.device())


class Stretches(NamedTuple):
    """What the warm-up reads in one step."""

    texts: Bags
    documents: torch.Tensor  # (n, dim) that each is compared with; its own one's place is that of the stretch


def _inverse_cloze(table: StaticTable, lesson: Lesson) -> None:
    """Teach the table to find the document that a stretch of tokens was taken from (inverse cloze task, Lee et al.
    2019), by InfoNCE."""
    steps = min(_MOST_STEPS, max(_FEWEST_STEPS, _TIMES * len(lesson.ids) // _BATCH))
    optimizer = torch.optim.Adam([table.table], lr=_RATE, fused=fused_optimizer())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    doc_ids = sorted(lesson.ids.doc_ids)
    with prefetch_thread() as thread:
        for read in prefetch(thread, lambda step: _stretches(table.tokenizer, lesson, doc_ids, step), range(steps)):
            optimizer.zero_grad()
            scores = table.mean(read.texts) @ on_device(read.documents).T / _TEMPERATURE
            cross_entropy(scores, torch.arange(len(scores), device=scores.device)).backward()
            optimizer.step()
            schedule.step()


def _stretches(tokenizer: Tokenizer, lesson: Lesson, doc_ids: Sequence[str], step: int) -> Stretches:
    """Stretches of the first of the documents that are drawn for a step."""
    rng = random.Random(f"cloze:{step}")
    drawn = rng.sample(doc_ids, min(_CANDIDATES, len(doc_ids)))
    stretches: list[list[int]] = []
    for ids in _token_ids(tokenizer, lesson.document_texts(drawn[:_BATCH])):
        ids = ids[:_MOST_TOKENS]
        size = min(rng.randint(*_STRETCH), len(ids))
        start = rng.randint(0, len(ids) - size)
        stretches.append(ids[start : start + size])
    rows = [lesson.ids.row[doc_id] for doc_id in drawn]
    return Stretches(Bags.of(stretches), pinned(torch.from_numpy(lesson.vectors.pooled[rows])))


def save(learner: StaticLearner, path: Path) -> None:
    """A folder that plain `SentenceTransformer(path)` loads: `encode_query` and `encode` are static, `encode_document`
    is the base.
    """
    table = learner.model.table.detach().float().cpu()
    static: Any = StaticEmbedding(_tokenizer(learner.body), embedding_weights=table)
    documents = models.copies_for_saving(list(learner.body.model))
    router: Any = Router.for_query_document([static, Normalize()], documents, default_route="query")
    prompts = {"document": learner.body.prompts["document"]}
    model = SentenceTransformer(modules=[router], prompts=prompts, device=models.device())
    model.save_pretrained(str(path), create_model_card=False)


def _token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Each text's tokens, without special ones."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def _tokenizer(encoder: Encoder) -> Tokenizer:
    """The encoder's tokenizer by itself, which neither cuts nor pads. Raises SettingError where it is a slow one."""
    whole: Any = encoder.model.tokenizer
    if not whole.is_fast:
        raise SettingError("distill.student=static takes a base whose tokenizer is a fast one (tokenizer.json)")
    tokenizer = Tokenizer.from_str(whole.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
