"""Pooled judgments for pydocs: prints unjudged documents of runs, and adds the grades.

    python benchmarks/pool_pydocs.py RUN.trec... [--depth 10] > unjudged.tsv
    ... write a grade for every `?` of unjudged.tsv: 2 the answer, 1 helps, 0 not relevant ...
    python benchmarks/pool_pydocs.py --add unjudged.tsv

The pairs come by query and then by doc id, so that nothing shows which system found a doc, or at which rank.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from acclimate.base.errors import AcclimateError, DataError
from acclimate.base.files import read_lines
from acclimate.corpus import pydocs
from acclimate.corpus.formats import beir, trec
from acclimate.records import Qrel

HEADER = "query-id\tcorpus-id\tscore\tquery\tdoc"
GRADES = {"0": 0, "1": 1, "2": 2}
SHOWN_CHARS = 120
QRELS = Path(pydocs.__file__).parent / "qrels"


def unjudged(runs: Sequence[Path], *, depth: int = 10) -> Iterator[str]:
    """A tab-separated row for each ungraded pair in the first `depth` of a run."""
    judged = {(qrel.query_id, qrel.doc_id) for split in pydocs.JUDGED_SPLITS for qrel in pydocs.qrels(split)}
    pairs = {pair for run in runs for pair in _top(run, depth)} - judged
    queries = {query.query_id: query.text for query in pydocs.queries()}
    docs = {doc.doc_id: " ".join(doc.text.split())[:SHOWN_CHARS] for doc in pydocs.build()}
    yield HEADER
    for query_id, doc_id in sorted(pairs):
        if query_id not in queries or doc_id not in docs:
            raise DataError(f"the runs have {query_id!r} with {doc_id!r}, which pydocs does not have on this Python")
        yield f"{query_id}\t{doc_id}\t?\t{queries[query_id]}\t{docs[doc_id]}"


def _top(run: Path, depth: int) -> Iterator[tuple[str, str]]:
    hits = defaultdict[str, list[tuple[float, str]]](list)
    for hit in trec.read_run(run):
        hits[hit.query_id].append((-hit.score, hit.doc_id))
    for query_id, ranked in hits.items():
        yield from ((query_id, doc_id) for _, doc_id in sorted(ranked)[:depth])


def add(path: Path) -> int:
    """Write the grades of a completed file, all or none, into the splits of their queries; returns their number."""
    known = {doc.doc_id for doc in pydocs.build()}
    splits = {split: beir.read_qrels(QRELS / f"{split}.tsv") for split in pydocs.JUDGED_SPLITS}
    split_of = {qrel.query_id: split for split, qrels in splits.items() for qrel in qrels}
    graded = {(qrel.query_id, qrel.doc_id) for qrels in splits.values() for qrel in qrels}
    count = 0
    for number, line in read_lines(path):
        if not line.strip() or line == HEADER:
            continue
        query_id, doc_id, grade = [*line.split("\t"), "", ""][:3]
        if grade not in GRADES:
            raise DataError(f"found grade {grade!r}; expected 0, 1 or 2", path=path, line=number)
        if query_id not in split_of or doc_id not in known:
            raise DataError(f"pydocs does not have {query_id!r} with {doc_id!r}", path=path, line=number)
        if (query_id, doc_id) in graded:
            raise DataError(f"{query_id!r} with {doc_id!r} has a grade already", path=path, line=number)
        graded.add((query_id, doc_id))
        splits[split_of[query_id]].append(Qrel(query_id, doc_id, GRADES[grade]))
        count += 1
    for split, qrels in splits.items():
        beir.write_qrels(QRELS / f"{split}.tsv", sorted(qrels))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="TREC run files")
    parser.add_argument("--depth", type=int, default=10, help="docs per query and run (default: %(default)s)")
    parser.add_argument("--add", type=Path, metavar="FILE", help="a filled-in file, whose grades to add")
    args = parser.parse_args()
    if not args.runs and not args.add:
        parser.error("give run files, or --add FILE")
    try:
        if args.add:
            print(f"{add(args.add)} grades added", file=sys.stderr)
        for row in unjudged(args.runs, depth=args.depth) if args.runs else ():
            print(row)
    except AcclimateError as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
