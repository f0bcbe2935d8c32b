"""Runs a module of the InPars toolkit with stand-ins for what it would download.

    python benchmarks/inpars_stand_ins.py TOOLKIT SETTINGS.json MODULE [OPTIONS OF THE MODULE]

Its code runs as it is. ir_datasets gives the documents and queries of a BEIR folder, Pyserini gives judgments from it
and searches nothing (a run lies where its BM25 would have put one), pytrec_eval computes what trec_eval would, and the
few-shot file, which a static prompt does not show, is empty.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

Document = namedtuple("Document", ("doc_id", "title", "text"))
Question = namedtuple("Question", ("query_id", "text"))


def main() -> None:
    toolkit, settings_file, module, *options = sys.argv[1:]
    settings = json.loads(Path(settings_file).read_text(encoding="utf-8"))
    sys.path.insert(0, toolkit)
    sys.argv = [module, *options]
    stand_in(settings)
    runpy.run_module(f"inpars.{module}", run_name="__main__")


def stand_in(settings: dict[str, Any]) -> None:
    """Replace modules that download. settings: folder of the collection, number of documents, qrels."""
    folder, most = Path(settings["collection"]), settings["documents"]

    def rows(name: str) -> list[dict[str, Any]]:
        lines = (folder / name).read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line]

    documents = [Document(row["_id"], row.get("title", ""), row["text"]) for row in rows("corpus.jsonl")[:most]]
    queries = [Question(row["_id"], row["text"]) for row in rows("queries.jsonl")]
    dataset = SimpleNamespace(
        docs_iter=lambda: iter(documents),
        docs_count=lambda: len(documents),
        docs_cls=lambda: Document,
        queries_iter=lambda: iter(queries),
    )
    searcher = SimpleNamespace(from_prebuilt_index=lambda name: None)
    modules = {
        "ir_datasets": {"load": lambda name: dataset, "registry": SimpleNamespace(_registered=["beir/here"])},
        "pyserini": {},
        "pyserini.search": {"get_qrels_file": lambda name: settings["qrels"]},
        "pyserini.search.lucene": {"LuceneSearcher": searcher},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module
    subprocess.run = _trec_eval  # type: ignore[assignment]
    import pandas
    from transformers.generation import GenerationMixin

    generate = GenerationMixin.generate  # before transformers 5 it accepted return_dict, without effect
    GenerationMixin.generate = lambda model, *inputs, return_dict=True, **options: generate(model, *inputs, **options)

    read_json = pandas.read_json
    no_examples = pandas.DataFrame({name: ["-"] * 3 for name in ("query_id", "doc_id", "query", "document")})
    pandas.read_json = lambda path, **options: no_examples if "fewshot" in str(path) else read_json(path, **options)


def _trec_eval(command: list[str], **_: Any) -> SimpleNamespace:
    """The output of `trec_eval -c -m all_trec -m judged.10`."""
    import pytrec_eval

    *_, qrels_file, run_file = command
    if "pyserini.eval.trec_eval" not in command:
        raise RuntimeError(f"nothing stands in for {command}")
    qrels: dict[str, dict[str, int]] = {}
    for line in Path(qrels_file).read_text(encoding="utf-8").splitlines():
        query_id, _, doc_id, grade = line.split()
        qrels.setdefault(query_id, {})[doc_id] = int(grade)
    run: dict[str, dict[str, float]] = {}
    for line in Path(run_file).read_text(encoding="utf-8").splitlines():
        query_id, _, doc_id, _, score, _ = line.split()
        run.setdefault(query_id, {})[doc_id] = float(score)
    names = ("recip_rank", "recall_1000", "ndcg_cut_10", "ndcg_cut_20", "map", "P_10")
    families = {"recip_rank", "recall", "ndcg_cut", "map", "P"}
    by_query = pytrec_eval.RelevanceEvaluator(qrels, families).evaluate(run)
    values = {name: sum(row[name] for row in by_query.values()) / len(qrels) for name in names}
    judged = [
        sum(doc_id in qrels[query_id] for doc_id in sorted(hits, key=lambda d: (-hits[d], d), reverse=False)[:10]) / 10
        for query_id, hits in run.items()
        if query_id in qrels
    ]
    values["judged_10"] = sum(judged) / len(qrels)
    lines = [f"{name}\tall\t{value:.4f}" for name, value in values.items()]
    return SimpleNamespace(stdout="\n".join([f"num_q\tall\t{len(qrels)}", *lines]).encode())


if __name__ == "__main__":
    main()
