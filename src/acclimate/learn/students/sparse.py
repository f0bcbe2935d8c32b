"""The sparse student: a SPLADE model made from any plain encoder, whose queries need no transformer.

Encoders for retrieval have no head for masked language modeling, so one is made from the corpus. The row of token v is
Fisher's linear discriminant of the token vectors at its occurrences, which are in the index: near positions where v
stands or words are used like it. Its bias sets how many documents get v: about twice those that hold it, and a few more
of every other. Queries start with inverse document frequencies. What learns is the head and the query's weights; the
transformer stays, so training reads the index's token vectors and runs no transformer.
"""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from transformers import AutoModelForMaskedLM

from acclimate.base import models
from acclimate.base.errors import SettingError
from acclimate.base.gpu import on_device, pinned
from acclimate.learn.students.lesson import Lesson, batch_documents
from acclimate.learn.students.occurrences import count_occurrences
from acclimate.learn.students.similarities import Comparison, Similarities, comparison
from acclimate.learn.students.token_vectors import document_of_token
from acclimate.records import NWay
from acclimate.search.sparse import SILENT, Head, SparseQuery, centered, query_tokens

if TYPE_CHECKING:
    from acclimate.search.encoder import Encoder

_SAMPLE = 512  # documents that biases are set on
_EXPANSION = 128  # tokens that a document gets beside its own, about
_MOST = 0.05  # share of the documents that get a token beside those that hold it
_HEIGHT = 4.0  # of a token's activation at its own occurrences, before the logarithm
_RIDGE = 0.05  # of the mean variance, added to each
_NARROWEST = 0.05  # distance between a token's threshold and its occurrences
_QUERY_STEP = 15.0  # the query's weights learn this much faster than the head
_SHIFT = 20.0  # GELU leaves numbers so far above zero as they are

# The head of each kind of model: (the transform's linear layer, its layer norm, the decoder).
_HEADS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder"),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    "mpnet": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"),
    "xlm-roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"),
}


class SparseWeights(torch.nn.Module):
    """What the sparse student learns: a row and a bias per token of the corpus, and the token's weight in queries."""

    tokens: torch.Tensor  # (n_live,) ascending
    idf: torch.Tensor  # (n_live,)

    def __init__(self, head: Head, idf: np.ndarray, n_vocabulary: int) -> None:
        super().__init__()
        self.n_vocabulary = n_vocabulary
        self.scale = head.weights.shape[1] ** -0.5  # the rows are kept as for vectors of unit length
        self.rows = torch.nn.Parameter(torch.from_numpy(head.weights / self.scale))
        self.bias = torch.nn.Parameter(torch.from_numpy(head.bias.copy()))
        self.change = torch.nn.Parameter(torch.zeros(len(head.tokens)))
        self.register_buffer("tokens", torch.from_numpy(head.tokens))
        self.register_buffer("idf", torch.from_numpy(idf))

    def query_weights(self) -> torch.Tensor:
        """(n_live,) weights of tokens in queries, above 0."""
        return self.idf * torch.exp(_QUERY_STEP * self.change)

    def activations(self, vectors: torch.Tensor, lengths: Sequence[int], places: torch.Tensor) -> torch.Tensor:
        """(n_docs, n_places) weights that documents have at these tokens.

        vectors: (sum of lengths, dim), centered, one document after the other; places: (n_places,) among `tokens`.
        """
        logits = vectors @ (self.rows[places] * self.scale).T
        document = document_of_token(lengths)[:, None]
        best = torch.full((len(lengths), len(places)), -torch.inf, device=logits.device, dtype=logits.dtype)
        best = best.scatter_reduce(0, document.expand(-1, len(places)), logits, "amax")
        return torch.log1p(torch.relu(best + self.bias[places]))

    def head(self) -> Head:
        """The document side as arrays."""
        rows, bias = (part.detach().float().cpu().numpy() for part in (self.rows * self.scale, self.bias))
        return Head(self.tokens.cpu().numpy(), rows, bias)

    def query(self, tokenizer: Any) -> SparseQuery:
        """The query side as arrays."""
        weights = np.zeros(self.n_vocabulary, np.float32)
        weights[self.tokens.cpu().numpy()] = self.query_weights().detach().float().cpu().numpy()
        return SparseQuery(tokenizer, weights)


class Texts(NamedTuple):
    """What sparse students read of a batch."""

    present: torch.Tensor  # (n_queries, n_places) 1 for tokens that a query has
    tokens: torch.Tensor  # (n_places,) those of all queries
    vectors: torch.Tensor  # (sum of lengths, dim) token vectors of the documents, centered
    lengths: list[int]  # tokens, by document
    comparison: Comparison


class SparseLearner:
    """The sparse student's weights and the encoder that they read, as training takes them."""

    def __init__(self, encoder: Encoder, weights: SparseWeights) -> None:
        self.body, self.model = encoder, weights.to(models.device())


class Sparse:
    """Learned sparse retrieval: the token vectors of documents are fixed."""

    kind: ClassVar[str] = "sparse"
    keeps_index: ClassVar[bool] = False

    def __init__(self, encoder: Encoder, lesson: Lesson, negatives: str, *, sparsity: float = 1e-3) -> None:
        self.encoder = SparseLearner(encoder, start(encoder, lesson))
        self.lesson, self.negatives, self.sparsity = lesson, negatives, sparsity
        self._place = {token: place for place, token in enumerate(self.encoder.model.tokens.tolist())}
        self._flops: torch.Tensor | float = 0.0

    def read(self, batch: Sequence[NWay]) -> Texts:
        """The tokens of queries, and the token vectors of documents."""
        tokenizer = self.encoder.body.model.tokenizer
        token_ids = [query_tokens(tokenizer, text) for text in self.lesson.query_texts(batch)]
        queries = [[self._place[token] for token in query if token in self._place] for query in token_ids]
        tokens = sorted({token for query in queries for token in query}) or [0]
        column = {token: number for number, token in enumerate(tokens)}
        present = torch.zeros(len(batch), len(tokens))
        for row, query in zip(present, queries, strict=True):
            row[[column[token] for token in query]] = 1.0
        place = batch_documents(batch)
        vectors, starts = self.lesson.vectors.gather([self.lesson.ids.row[doc_id] for doc_id in place])
        lengths = np.diff(starts, append=len(vectors)).tolist()
        return Texts(
            pinned(present),
            pinned(torch.tensor(tokens)),
            pinned(torch.from_numpy(centered(vectors))),
            lengths,
            comparison(batch, place, self.lesson, self.negatives),
        )

    def similarities(self, read: Texts) -> list[Similarities]:
        """Dot products with all documents of the batch."""
        weights, places = self.encoder.model, on_device(read.tokens)
        documents = weights.activations(on_device(read.vectors), read.lengths, places)
        self._flops = (documents.float().mean(dim=0) ** 2).sum()
        scores = (on_device(read.present) * weights.query_weights()[places]) @ documents.T
        return read.comparison.similarities(scores[None])

    def query_dims(self) -> float:
        """Active dimensions of the lesson's queries, on average."""
        side = self.encoder.model.query(self.encoder.body.model.tokenizer)
        return float(np.mean([len(side(text)[0]) for text in self.lesson.queries.values()]))

    def penalty(self) -> torch.Tensor | float:
        """FLOPS (Paria et al. 2020) of the last batch, over the tokens of its queries: what searching costs."""
        return self.sparsity * self._flops


class SparseQueryOnly(Sparse):
    """The same, with documents as they start: only the weights of queries learn, and the start's index stays valid."""

    keeps_index: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, lesson: Lesson, negatives: str, *, sparsity: float = 0.0) -> None:
        super().__init__(encoder, lesson, negatives, sparsity=0.0)
        for weights in (self.encoder.model.rows, self.encoder.model.bias):
            weights.requires_grad_(False)


def start(encoder: Encoder, lesson: Lesson) -> SparseWeights:
    """The untouched sparse student. Raises SettingError for a base with no place for a head."""
    _layers(encoder)
    vectors, doc_ids = lesson.vectors, lesson.ids.doc_ids
    n_docs, dim = len(doc_ids), vectors.tokens.shape[1]
    occurrences = count_occurrences(encoder, lesson, centered)
    live = np.flatnonzero(occurrences.counts)
    n_tokens = occurrences.counts.sum()
    mean = occurrences.sums.sum(axis=0) / n_tokens
    covariance = occurrences.products / n_tokens - np.outer(mean, mean)
    ridge = _RIDGE * np.trace(covariance) / dim + 1e-6
    centers = occurrences.sums[live] / occurrences.counts[live, None]
    rows = np.linalg.solve(covariance + ridge * np.eye(dim), (centers - mean).T).T
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    at_home = (rows * centers).sum(axis=1)
    rows = rows.astype(np.float32)

    drawn = sorted(random.Random("sparse").sample(sorted(doc_ids), min(_SAMPLE, n_docs)))
    best = np.stack([(centered(vectors.gather([lesson.ids.row[doc_id]])[0]) @ rows.T).max(axis=0) for doc_id in drawn])
    more = min(_EXPANSION / len(live), _MOST)
    wanted = np.minimum(2 * occurrences.documents[live] / n_docs + more, 0.9)  # the share of documents that get a token
    ranks = np.minimum((wanted * len(drawn)).astype(int), len(drawn) - 1)
    threshold = -np.take_along_axis(np.sort(-best, axis=0), ranks[None], axis=0)[0]
    scale = _HEIGHT / np.maximum(at_home - threshold, _NARROWEST * dim**0.5)
    head = Head(live, (rows * scale[:, None]).astype(np.float32), (-threshold * scale).astype(np.float32))
    # Plain `SparseEncoder` loads as many weights of a query as the tokenizer has tokens: embeddings may be padded.
    return SparseWeights(head, occurrences.idf()[live], len(encoder.model.tokenizer.get_vocab()))


def save(learner: SparseLearner, path: Path) -> None:
    """A folder that plain `SparseEncoder(path)` loads: `encode_query` and `encode` without a transformer,
    `encode_document` with.
    """
    body: Any = learner.body.model[0]
    tokenizer = copy.deepcopy(learner.body.model.tokenizer)
    models.forget_last_call(tokenizer)
    dense, norm, decoder = _layers(learner.body)
    config = copy.deepcopy(body.model.config)
    config.tie_word_embeddings = False
    config.architectures = None
    whole: Any = AutoModelForMaskedLM.from_config(config).eval()
    getattr(whole, whole.base_model_prefix).load_state_dict(body.model.state_dict(), strict=False)
    if learner.model.n_vocabulary != config.vocab_size:
        whole.resize_token_embeddings(learner.model.n_vocabulary, mean_resizing=False)
    head, dim = learner.model.head(), config.hidden_size
    layers = {name: whole.get_submodule(name) for name in (dense, norm, decoder)}
    with torch.no_grad():
        layers[dense].weight.copy_(torch.eye(dim))
        layers[dense].bias.fill_(_SHIFT)  # so that the activation does nothing, and the layer norm takes it off again
        layers[norm].weight.fill_(1.0)
        layers[norm].bias.fill_(0.0)
        layers[decoder].weight.zero_()
        layers[decoder].weight[torch.from_numpy(head.tokens)] = torch.from_numpy(head.weights)
        bias = torch.full((len(layers[decoder].weight),), SILENT)
        bias[torch.from_numpy(head.tokens)] = torch.from_numpy(head.bias)
        # BERT's head has its bias twice, as one; with untied weights it is loaded as two, so it is saved as two.
        layers[decoder].bias = torch.nn.Parameter(bias)
        owner: Any = whole.get_submodule(decoder.rpartition(".")[0])
        if isinstance(getattr(owner, "bias", None), torch.nn.Parameter):
            owner.bias = torch.nn.Parameter(bias.clone())
    with tempfile.TemporaryDirectory() as folder:
        whole.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        transformer = Transformer(folder, transformer_task="fill-mask", max_seq_length=learner.body.max_tokens)
    special = [str(token) for token in tokenizer.all_special_tokens]
    mask: Any = MultiVectorMask(skiplist_words=special, skiplist_tasks=["query", "document"])
    weights = torch.from_numpy(learner.model.query(tokenizer).weights)
    router: Any = Router.for_query_document(
        [SparseStaticEmbedding(tokenizer, weights, frozen=False)],
        [transformer, mask, SpladePooling("max", embedding_dimension=len(weights))],
        default_route="query",
    )
    models.forget_last_call(transformer.tokenizer)
    prompts = {"document": learner.body.prompts["document"]}
    SparseEncoder(modules=[router], prompts=prompts, device="cpu").save_pretrained(str(path), create_model_card=False)


def _layers(encoder: Encoder) -> tuple[str, str, str]:
    transformer: Any = encoder.model[0]
    kind = str(transformer.model.config.model_type)
    if kind not in _HEADS:
        raise SettingError(
            f"distill.base is a {kind} model, which the sparse student cannot give a head; "
            f"expected one of {', '.join(_HEADS)}"
        )
    return _HEADS[kind]
