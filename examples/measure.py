"""Measure the systems of a finished run on queries and judgments of your own, with any measure of ir_measures.

python examples/measure.py run queries.jsonl qrels.tsv
"""

import argparse
import json
from pathlib import Path

import ir_measures
from ir_measures import P, R, nDCG

import acclimate

parser = argparse.ArgumentParser()
parser.add_argument("run")
parser.add_argument("queries", type=Path, help="JSON Lines with _id and text")
parser.add_argument("qrels", type=Path, help="tab-separated: query, document, relevance, below a line of names")
arguments = parser.parse_args()

rows = [json.loads(line) for line in arguments.queries.read_text(encoding="utf-8").splitlines()]
queries = {row["_id"]: row["text"] for row in rows}
cells = [line.split("\t") for line in arguments.qrels.read_text(encoding="utf-8").splitlines()[1:]]
qrels = [acclimate.Qrel(query_id, doc_id, int(relevance)) for query_id, doc_id, relevance in cells]

run = acclimate.open(arguments.run)
measures = [nDCG @ 10, P @ 5, R @ 100]
for system in run.report.systems:
    try:
        scored = run(queries, k=100, system=system.name)  # ScoredDocs, as ir_measures takes them
    except acclimate.AcclimateError as error:  # what your engine found: its file has no other queries
        print(f"{system.name:28} {error}")
        continue
    values = ir_measures.calc_aggregate(measures, qrels, scored)
    print(f"{system.name:28}", *(f"{measure} {values[measure]:.3f}" for measure in measures))
