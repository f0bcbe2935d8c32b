"""Whether models give the same vectors, scores and texts on this device as on the CPU, and the same bits twice.

    python benchmarks/device_answers.py              documents of pydocs, and the models that travel as packages
    python benchmarks/device_answers.py --docs 12    a try on a machine without a GPU, which is compared with itself

Computed are all on the CPU in float32, on the device in float32, and twice on the device in its own precision. Float32
must agree but for rounding; its own precision is printed, and must give the same bits again. Exits 1 where not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from reading import ENCODER, drawn

from acclimate.base import models
from acclimate.base.loading import quiet
from acclimate.corpus import collections
from acclimate.llm import prompts
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.decoding import Decoding
from acclimate.records import Doc, Query
from acclimate.search import query_side
from acclimate.search.encoder import Encoder
from acclimate.search.scorers.cross_encoder import CrossEncoderScorer
from acclimate.search.scorers.likelihood import Likelihood
from acclimate.search.scorers.pairs import Lengths
from acclimate.search.scorers.yes_no import YesNo
from acclimate.search.vectors import encode_corpus

LLM = "embedded:smollm2-135m-instruct"
ROOT = Path(__file__).parents[1]
FURTHEST = {
    "vectors": 1e-3,
    "tokens": 1 / 127,  # stored in eight bits: rounding moves a number at the edge of a step by that step
    "searches": 1e-3,
    "scores": 1e-2,
    "texts": 0.2,
}  # largest differences in float32; for texts the share that differs
QUERIES, TEXTS = 8, 16  # a CPU writes with one core
Answers = dict[str, Any]  # kind -> array or texts


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=int, default=32)
    given = parser.parse_args(arguments)
    corpus = collections.load("pydocs", ROOT / "bench-run").corpus
    docs = {doc_id: corpus[doc_id] for doc_id in sorted(corpus)[:: len(corpus) // given.docs][: given.docs]}
    device, dtype = models.device(), models.dtype_name()
    print(f"{len(docs)} documents; the furthest difference, of texts the share that differs", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with quiet():
            reranker = drawn(folder / "cross-encoder")
        with computing_on("cpu", in_float32=True):
            expected = answers(docs, reranker, folder / "cpu")
        with computing_on(device, in_float32=True):
            computed = answers(docs, reranker, folder / "float32")
        own, again = (answers(docs, reranker, folder / name) for name in ("own", "again"))
    faults: list[str] = []
    for what, answer in expected.items():
        in_float32, in_own, twice = (
            furthest(*pair) for pair in ((computed[what], answer), (own[what], answer), (again[what], own[what]))
        )
        print(f"{what:<32} float32 {in_float32:.2g}   {dtype} {in_own:.2g}   twice {twice:.2g}", flush=True)
        if not in_float32 <= FURTHEST[what.split()[-1]]:
            faults.append(f"{what}: {device} and the CPU differ by {in_float32:.3g} in float32")
        if twice:
            faults.append(f"{what}: {device} differs from itself by {twice:.3g}")
    print("\n".join(faults) or f"{device} says what the CPU says, and says it twice")
    return bool(faults)


@contextmanager
def computing_on(device: str, *, in_float32: bool) -> Iterator[None]:
    """Load models on this device inside the block."""
    with (
        mock.patch.object(models, "device", return_value=device),
        mock.patch.object(models, "fast_bf16", return_value=not in_float32),
    ):
        yield


def answers(docs: Mapping[str, Doc], reranker: str, folder: Path) -> Answers:
    """The output of every kind of model and code path, by kind. reranker: folder of a cross-encoder."""
    queries = [Query(str(place), doc.title or "a query") for place, doc in enumerate([*docs.values()][:QUERIES])]
    texts = [query.text for query in queries]
    said: Answers = {}
    encoder = Encoder.load(ENCODER)
    vectors = encode_corpus(encoder, docs, folder)
    said["pooled vectors"], said["stored tokens"] = vectors.pooled, vectors.gather(range(len(docs)))[0]
    side = query_side.load_query_side(models.folder(ENCODER), lambda: "", max_tokens=256)
    assert side is not None
    said["query vectors"] = np.stack([encoded.pooled for encoded in side.encode(texts)])
    encoded = encoder.encode(texts)
    said["dense searches"] = vectors.dense_scores(np.stack([of_query.pooled for of_query in encoded]))
    rows = np.arange(len(docs))
    said["late-interaction searches"] = np.stack([vectors.max_sim(of_query.tokens, rows) for of_query in encoded])

    pairs = [(query, doc_id) for query in queries for doc_id in [*docs][::4]]
    said["cross-encoder scores"] = np.array(CrossEncoderScorer(reranker, docs, Lengths(256)).score(pairs))
    llm = LocalLLM(LLM)
    for name, scorer in (("likelihood", Likelihood(LLM, docs)), ("yes-no", YesNo(LLM, docs))):
        vars(scorer)["_loaded"] = llm._loaded  # loading takes seconds
        said[f"{name} scores"] = np.array(scorer.score(pairs))

    template = prompts.load("inpars")
    asked = [template.render(llm.cut(doc.default_text().strip(), 160)) for doc in [*docs.values()][:TEXTS]]
    for name, warmth in (("greedy texts", 0.0), ("drawn texts", 0.7)):
        for count in (len(asked), 5):  # another shape, and the first one again
            written = llm.decoding_as(Decoding(24, template.stop, warmth)).complete(asked[:count])
            said[f"{count} {name}"] = [answer.text for answer in written]
    return said


def furthest(one: Any, other: Any) -> float:
    """The largest difference of two outputs."""
    if isinstance(one, list):
        return float(np.mean([text != same for text, same in zip(one, other, strict=True)]))
    return float(np.abs(one - other).max())


if __name__ == "__main__":
    sys.exit(main())
