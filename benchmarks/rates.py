"""Speed of encoding and labelling on this device, without loading; time to a first answer, with loading.

    python benchmarks/rates.py                      documents of pydocs: it needs no files
    python benchmarks/rates.py CORPUS --docs 512    a small part, as on a CPU

Each work is done once unmeasured, on a part. What writing takes is in generation_gpu.py, other tools are in reading.py
and generation.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from operations import Ceilings, Counting, ceilings, clock, synchronized
from reading import ENCODER, drawn
from results_page import table

from acclimate.base import models
from acclimate.corpus import collections
from acclimate.records import Doc, Query
from acclimate.search.encoder import Encoder
from acclimate.search.scorers.cross_encoder import CrossEncoderScorer
from acclimate.search.scorers.lists import score_lists
from acclimate.search.scorers.pairs import Lengths
from acclimate.search.vectors import encode_corpus

LLM = "embedded:smollm2-135m-instruct"
LIST = 20  # documents per query
PAIR_TOKENS = 256
FIRST = {  # code that loads a model and answers once
    "encoder": f"from acclimate.search.encoder import Encoder\nEncoder.load({ENCODER!r}).encode(['a query'])",
    "LLM": "from acclimate.llm.backends.local import LocalLLM\nfrom acclimate.llm.decoding import Decoding\n"
    f"LocalLLM({LLM!r}, Decoding(4)).complete(['Hello'])",
}


class Rate(NamedTuple):
    """Speed of one kind of work."""

    what: str
    units: int
    unit: str
    seconds: float
    flop: float  # counted in a pass of its own, on the part that is a warm-up, for all units

    def row(self, limits: Ceilings) -> list[str]:
        share = f"{self.flop / limits.flop / self.seconds:.0%}" if self.flop else ""
        return [self.what, f"{self.units:,}", f"{self.units / self.seconds:,.0f} {self.unit}/s", share]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", nargs="?", default="pydocs")
    parser.add_argument("--docs", type=int, default=4096, help="documents to encode (default 4096)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "bench-run")
    given = parser.parse_args()
    print(measured(given.collection, given.docs, given.out))


def measured(collection: str, n_docs: int, out: Path) -> str:
    """The table in Markdown: `n_docs` documents encoded, and a quarter as many pairs rated."""
    corpus = collections.load(collection, out).corpus
    docs = {doc_id: corpus[doc_id] for doc_id in sorted(corpus)[:n_docs]}
    limits = ceilings()
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        rates = [encoding(docs, Path(temporary)), labeling(docs, Path(temporary))]
    rows = [rate.row(limits) for rate in rates]
    rows += [
        [f"first answer of the {name}, with its loading", "1", f"{seconds:.1f} s", ""] for name, seconds in first()
    ]
    about = (
        f"{device()}, {models.dtype_name()}, {torch.get_num_threads()} threads; products at {limits.flop / 1e9:,.0f} "
        f"GFLOP/s, copies at {limits.bytes / 1e9:,.0f} GB/s, as measured in the same run."
    )
    return f"{table(['', 'units', 'rate', 'of the rate of products'], rows)}\n\n{about}"


def device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else models.device()


def timed(what: str, unit: str, n_units: int, n_warm: int, work: Callable[[int], object]) -> Rate:
    """Time `work(n_units)` after `work(n_warm)`, in which operations are counted."""
    with Counting() as counting:
        work(n_warm)
    synchronized()
    started = clock()
    work(n_units)
    synchronized()
    return Rate(what, n_units, unit, clock() - started, counting.flop * n_units / n_warm)


def encoding(docs: Mapping[str, Doc], folder: Path) -> Rate:
    encoder, ids = Encoder.load(ENCODER), [*docs]

    def work(count: int) -> object:
        return encode_corpus(encoder, {doc_id: docs[doc_id] for doc_id in ids[:count]}, folder / f"vectors-{count}")

    return timed("encode (pooled and token vectors, to disk)", "documents", len(ids), max(1, len(ids) // 8), work)


def labeling(docs: Mapping[str, Doc], folder: Path) -> Rate:
    scorer, ids = CrossEncoderScorer(drawn(folder / "cross-encoder"), docs, Lengths(PAIR_TOKENS)), [*docs]
    n_lists = max(8, len(ids) // 4 // LIST)
    lists = [
        (Query(f"{place:06}", docs[ids[place]].title or "a query"), [*dict.fromkeys(ids[place::n_lists][:LIST])])
        for place in range(min(n_lists, len(ids)))
    ]
    pairs_of = [len(doc_ids) for _, doc_ids in lists]

    def work(count: int) -> object:
        return [*score_lists(scorer, lists[:count])]

    rate = timed("label (pairs by a cross-encoder)", "pairs", len(lists), max(1, len(lists) // 8), work)
    return rate._replace(units=sum(pairs_of))


def first() -> list[tuple[str, float]]:
    """Wall-clock seconds of new processes."""
    seconds: list[tuple[str, float]] = []
    for name, code in FIRST.items():
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)  # fill caches first
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        seconds.append((name, time.perf_counter() - started))
    return seconds


if __name__ == "__main__":
    main()
