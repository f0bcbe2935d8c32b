"""The sparse student: a SPLADE model made from any plain encoder, with queries that need no transformer.

Retrieval encoders have no masked-language-modeling head, so one is made from the corpus. The row of token v is Fisher's
linear discriminant of the token vectors at its occurrences in the index: high at positions of v, and of words used like
it. Its bias sets how many documents get v: about twice those that contain it, and a few more. Query weights start as
inverse document frequencies. Trained are the head and the query weights; the transformer is fixed, so training reads
the index's token vectors and runs no transformer.
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
from acclimate.base.modules import forget_last_call
from acclimate.learn.students.occurrences import count_occurrences
from acclimate.learn.students.similarities import Comparison, Similarities, comparison
from acclimate.learn.students.token_vectors import document_of_token
from acclimate.learn.students.training_data import TrainingData, batch_documents
from acclimate.records import NWay
from acclimate.search.sparse import SILENT, Head, centered
from acclimate.search.sparse_query import SparseQuery, query_tokens

if TYPE_CHECKING:
    from acclimate.search.encoder import Encoder

_SAMPLE = 512  # documents that biases are set on
_EXPANSION = 128  # rough number of expansion tokens per document
_MOST = 0.05  # maximum share of documents that get a token without containing it
_HEIGHT = 4.0  # a token's activation at its own occurrences, before the logarithm
_RIDGE = 0.05  # ridge, relative to the mean variance
_NARROWEST = 0.05  # minimum distance between a token's threshold and its occurrences
_QUERY_STEP = 15.0  # learning rate of query weights relative to the head's
_SHIFT = 20.0  # GELU is the identity this far above zero

# The head of each model type: (the transform's linear layer, its layer norm, the decoder).
_HEADS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder"),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    "mpnet": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"),
    "xlm-roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"),
}


class SparseWeights(torch.nn.Module):
    """Trained weights: a row and a bias per token of the corpus, and the token's query weight."""

    tokens: torch.Tensor  # (n_live,) ascending
    idf: torch.Tensor  # (n_live,)

    def __init__(self, head: Head, idf: np.ndarray, n_vocabulary: int) -> None:
        super().__init__()
        self.n_vocabulary = n_vocabulary
        self.scale = head.weights.shape[1] ** -0.5  # rows are stored for vectors of unit length
        self.rows = torch.nn.Parameter(torch.from_numpy(head.weights / self.scale))
        self.bias = torch.nn.Parameter(torch.from_numpy(head.bias.copy()))
        self.change = torch.nn.Parameter(torch.zeros(len(head.tokens)))
        self.register_buffer("tokens", torch.from_numpy(head.tokens))
        self.register_buffer("idf", torch.from_numpy(idf))

    def query_weights(self) -> torch.Tensor:
        """(n_live,) query weights of tokens, above 0."""
        return self.idf * torch.exp(_QUERY_STEP * self.change)

    def activations(self, vectors: torch.Tensor, lengths: Sequence[int], places: torch.Tensor) -> torch.Tensor:
        """(n_docs, n_places) document weights of these tokens.

        vectors: (sum of lengths, dim), centered, concatenated; places: (n_places,) positions in `tokens`.
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
    """A batch as sparse students read it."""

    present: torch.Tensor  # (n_queries, n_places) 1 for tokens of a query
    tokens: torch.Tensor  # (n_places,) tokens of all queries
    vectors: torch.Tensor  # (sum of lengths, dim) token vectors of the documents, centered
    lengths: list[int]  # tokens per document
    comparison: Comparison


class SparseLearner:
    """The sparse student's trained weights, with its fixed encoder."""

    def __init__(self, encoder: Encoder, weights: SparseWeights) -> None:
        self.body, self.model = encoder, weights.to(models.device())


class Sparse:
    """Learned sparse retrieval with fixed document token vectors."""

    kind: ClassVar[str] = "sparse"
    keeps_index: ClassVar[bool] = False

    def __init__(self, encoder: Encoder, data: TrainingData, negatives: str, *, sparsity: float = 1e-3) -> None:
        self.encoder = SparseLearner(encoder, start(encoder, data))
        self.data, self.negatives, self.sparsity = data, negatives, sparsity
        self._place = {token: place for place, token in enumerate(self.encoder.model.tokens.tolist())}
        self._flops: torch.Tensor | float = 0.0

    def read(self, batch: Sequence[NWay]) -> Texts:
        """Tokens of queries, and token vectors of documents."""
        tokenizer = self.encoder.body.model.tokenizer
        token_ids = [query_tokens(tokenizer, text) for text in self.data.query_texts(batch)]
        queries = [[self._place[token] for token in query if token in self._place] for query in token_ids]
        tokens = sorted({token for query in queries for token in query}) or [0]
        column = {token: number for number, token in enumerate(tokens)}
        present = torch.zeros(len(batch), len(tokens))
        for row, query in zip(present, queries, strict=True):
            row[[column[token] for token in query]] = 1.0
        place = batch_documents(batch)
        vectors, starts = self.data.vectors.gather([self.data.ids.row[doc_id] for doc_id in place])
        lengths = np.diff(starts, append=len(vectors)).tolist()
        return Texts(
            pinned(present),
            pinned(torch.tensor(tokens)),
            pinned(torch.from_numpy(centered(vectors))),
            lengths,
            comparison(batch, place, self.data, self.negatives),
        )

    def similarities(self, read: Texts) -> list[Similarities]:
        """Dot products with all documents of the batch."""
        weights, places = self.encoder.model, on_device(read.tokens)
        documents = weights.activations(on_device(read.vectors), read.lengths, places)
        self._flops = (documents.float().mean(dim=0) ** 2).sum()
        scores = (on_device(read.present) * weights.query_weights()[places]) @ documents.T
        return read.comparison.similarities(scores[None])

    def query_dims(self) -> float:
        """Mean number of active dimensions of the queries."""
        side = self.encoder.model.query(self.encoder.body.model.tokenizer)
        return float(np.mean([len(side(text)[0]) for text in self.data.queries.values()]))

    def penalty(self) -> torch.Tensor | float:
        """FLOPS regularizer (Paria et al. 2020) of the last batch over its query tokens: the cost of searching."""
        return self.sparsity * self._flops


class SparseQueryOnly(Sparse):
    """Sparse retrieval with query weights trained only: documents, and the initial index, do not change."""

    keeps_index: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, data: TrainingData, negatives: str, **_: float) -> None:
        super().__init__(encoder, data, negatives, sparsity=0.0)  # documents cannot become sparser
        for weights in (self.encoder.model.rows, self.encoder.model.bias):
            weights.requires_grad_(False)


def start(encoder: Encoder, data: TrainingData) -> SparseWeights:
    """The untrained sparse student. Raises SettingError for a base without room for a head."""
    _layers(encoder)
    vectors, doc_ids = data.vectors, data.ids.doc_ids
    n_docs, dim = len(doc_ids), vectors.tokens.shape[1]
    occurrences = count_occurrences(encoder, data, centered)
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
    best = np.stack([(centered(vectors.gather([data.ids.row[doc_id]])[0]) @ rows.T).max(axis=0) for doc_id in drawn])
    more = min(_EXPANSION / len(live), _MOST)
    wanted = np.minimum(2 * occurrences.documents[live] / n_docs + more, 0.9)  # share of the documents that get a token
    ranks = np.minimum((wanted * len(drawn)).astype(int), len(drawn) - 1)
    threshold = -np.take_along_axis(np.sort(-best, axis=0), ranks[None], axis=0)[0]
    scale = _HEIGHT / np.maximum(at_home - threshold, _NARROWEST * dim**0.5)
    head = Head(live, (rows * scale[:, None]).astype(np.float32), (-threshold * scale).astype(np.float32))
    # Plain `SparseEncoder` loads as many query weights as the tokenizer has tokens; embeddings may be padded beyond.
    return SparseWeights(head, occurrences.idf()[live], len(encoder.model.tokenizer.get_vocab()))


def save(learner: SparseLearner, path: Path) -> None:
    """Save in a folder that plain `SparseEncoder(path)` loads.

    `encode_query` and `encode` need no transformer; `encode_document` uses it.
    """
    body: Any = learner.body.model[0]
    tokenizer = copy.deepcopy(learner.body.model.tokenizer)
    forget_last_call(tokenizer)
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
        layers[dense].bias.fill_(_SHIFT)  # makes the activation the identity; the layer norm removes the shift
        layers[norm].weight.fill_(1.0)
        layers[norm].bias.fill_(0.0)
        layers[decoder].weight.zero_()
        layers[decoder].weight[torch.from_numpy(head.tokens)] = torch.from_numpy(head.weights)
        bias = torch.full((len(layers[decoder].weight),), SILENT)
        bias[torch.from_numpy(head.tokens)] = torch.from_numpy(head.bias)
        # BERT's head has its bias twice, tied; with untied weights it is loaded as two, so it is saved as two.
        layers[decoder].bias = torch.nn.Parameter(bias)
        owner: Any = whole.get_submodule(decoder.rpartition(".")[0])
        if isinstance(getattr(owner, "bias", None), torch.nn.Parameter):
            owner.bias = torch.nn.Parameter(bias.clone())
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".", suffix=".part") as folder:  # /tmp may be small
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
    forget_last_call(transformer.tokenizer)
    prompts = {"document": learner.body.prompts["document"]}
    SparseEncoder(modules=[router], prompts=prompts, device="cpu").save_pretrained(str(path), create_model_card=False)


def _layers(encoder: Encoder) -> tuple[str, str, str]:
    transformer: Any = encoder.model[0]
    kind = str(transformer.model.config.model_type)
    if kind not in _HEADS:
        raise SettingError(
            f"distill.base is a {kind} model, which the sparse student does not support; "
            f"expected one of {', '.join(_HEADS)}"
        )
    return _HEADS[kind]
