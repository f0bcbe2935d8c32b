"""Speed of encoding texts and scoring pairs: acclimate against plain sentence-transformers, on the same texts.

    python benchmarks/reading.py                      documents and queries of pydocs: it needs no files
    python benchmarks/reading.py DATA/scifact         those of a BEIR folder

Encoding writes pooled and token vectors to disk, against the pooled ones that `SentenceTransformer.encode` returns;
pairs are scored query by query, against one call of `CrossEncoder.predict`; both at their defaults. The cross-encoder
is MiniLM with a head that is drawn, unless --cross-encoder names another. CPU seconds, the best of some rounds; set the
threads with OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau
from sentence_transformers import CrossEncoder, SentenceTransformer

from acclimate.base import models
from acclimate.corpus import collections
from acclimate.search.encoder import Encoder
from acclimate.search.scorers.cross_encoder import CrossEncoderScorer
from acclimate.search.scorers.pairs import Lengths
from acclimate.search.vectors import encode_corpus

ENCODER = "embedded:all-minilm-l6-v2"
OUT = Path(__file__).parents[1] / "bench-run"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", nargs="?", default="pydocs")
    parser.add_argument("--docs", type=int, default=256, help="documents to encode (default 256)")
    parser.add_argument("--queries", type=int, default=4, help="queries to label, 50 documents each (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--cross-encoder", metavar="FOLDER")
    given = parser.parse_args()

    collection = collections.load(given.collection, OUT)
    ids = sorted(collection.corpus)
    docs = {doc_id: collection.corpus[doc_id] for doc_id in ids[:: max(1, len(ids) // given.docs)][: given.docs]}
    texts = [doc.default_text() for doc in docs.values()]
    queries = collection.queries[: given.queries]
    print(f"{models.device()}, {models.dtype_name()}, {torch.get_num_threads()} threads; {len(docs)} documents")

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        plain, encoder = SentenceTransformer(str(models.folder(ENCODER))), Encoder.load(ENCODER)
        (theirs, ours), (expected, vectors) = in_turns(
            given.rounds,
            lambda _: plain.encode(texts, show_progress_bar=False),
            lambda turn: encode_corpus(encoder, docs, folder / f"vectors-{turn}").pooled,
        )
        cosines = (expected / np.linalg.norm(expected, axis=1, keepdims=True) * vectors).sum(axis=1)
        encode = theirs / ours
        print(f"encode {theirs:.2f} s to {ours:.2f} s; cosines {cosines.min():.6f} and more")

        name = given.cross_encoder or drawn(folder / "cross-encoder")
        reranker, scorer = CrossEncoder(name), CrossEncoderScorer(name, docs, Lengths(512))
        lists = [[(query, doc_id) for doc_id in [*docs][place::4][:50]] for place, query in enumerate(queries)]
        pairs = [(query.text, docs[doc_id].default_text()) for some in lists for query, doc_id in some]
        (theirs, ours), (expected, scores) = in_turns(
            given.rounds,
            lambda _: reranker.predict(pairs, show_progress_bar=False),
            lambda _: [scorer.score(some) for some in lists],
        )
        wanted = np.split(expected, np.cumsum([len(some) for some in lists])[:-1])
        taus = [kendalltau(one, other).statistic for one, other in zip(wanted, scores, strict=True)]
        label = theirs / ours
        print(f"label {theirs:.2f} s to {ours:.2f} s; Kendall's tau {np.mean(taus):.4f} on average")
    print(f"encode {encode:.1f}x label {label:.1f}x")


def drawn(folder: Path) -> str:
    """A cross-encoder with the encoder's weights and a random head."""
    torch.manual_seed(0)
    CrossEncoder(str(models.folder(ENCODER)), num_labels=1).save_pretrained(str(folder), create_model_card=False)
    return str(folder)


def in_turns(rounds: int, *ways: Callable[[int], object]) -> tuple[list[float], list]:
    """(best CPU seconds of each way, its result), after a warm-up of each."""
    seconds: list[list[float]] = [[] for _ in ways]
    results = [way(0) for way in ways]
    for turn in range(1, rounds + 1):
        for way, spent in zip(ways, seconds, strict=True):
            before = time.process_time()
            way(turn)
            spent.append(time.process_time() - before)
    return [min(spent) for spent in seconds], results


if __name__ == "__main__":
    main()
