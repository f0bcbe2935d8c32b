"""Rerank runs, and measure them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from acclimate.api.evaluate_run import evaluate_run
from acclimate.api.inpars.shared import bm25_hits, judged_collection
from acclimate.api.partial import partial_folder
from acclimate.api.rerank import rerank as rerank_run
from acclimate.base.errors import SettingError
from acclimate.base.files import write_json
from acclimate.base.targets import refuse_replacing, refuse_unwritable
from acclimate.corpus.formats import write_qrels, write_run
from acclimate.corpus.overwriting import refuse_replacing_collection

BM25_RUN = "bm25"  # names BM25 where a run file is expected
MEASURES = {  # the toolkit's names
    "num_ret": "NumRet",
    "map": "AP",
    "recip_rank": "RR",
    "P_10": "P@10",
    "recall_1000": "R@1000",
    "ndcg_cut_10": "nDCG@10",
    "ndcg_cut_20": "nDCG@20",
    "judged_10": "Judged@10",
}


def rerank(dataset: str, model: str, input_run: str, output_run: Path, *, top_k: int) -> Path:
    """Rerank a TREC run, or `bm25`, with the documents and queries of a collection; returns `output_run`."""
    if input_run != BM25_RUN:
        return rerank_run(input_run, model, output_run, corpus=dataset, depth=top_k)
    refuse_replacing_collection(output_run, dataset)
    with partial_folder(output_run.with_name(f"{output_run.name}.bm25")) as folder:
        collection = judged_collection(dataset, folder)
        run = folder / "bm25.trec"
        write_run(run, bm25_hits(collection.corpus, collection.queries, top_k), tag=BM25_RUN)
        return rerank_run(run, model, output_run, corpus=dataset, depth=top_k)


def evaluate(
    run: str,
    *,
    qrels: Path | None = None,
    dataset: str | None = None,
    relevance_threshold: int,
    remove_unjudged: bool,
    json: Path | None = None,
) -> dict[str, float]:
    """The toolkit's measures of a run by the toolkit's names, also written to `json`; `bm25` needs a `dataset`."""
    if dataset is None and (qrels is None or run == BM25_RUN):
        raise SettingError("neither --qrels nor --dataset says what is relevant; bm25 needs --dataset")
    if json is not None:
        refuse_unwritable(json)
        refuse_replacing(json, run, *([] if qrels is None else [qrels]))
        refuse_replacing_collection(json, dataset or run)
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), Path(run)
        judged = qrels or folder / "qrels.trec"
        if dataset is not None:
            collection = judged_collection(dataset, folder)
            if qrels is None:
                write_qrels(judged, collection.qrels.get("test") or collection.qrels.get("dev", []))
            if run == BM25_RUN:
                source = folder / "bm25.trec"
                write_run(source, bm25_hits(collection.corpus, collection.queries, 1000), tag=BM25_RUN)
        (result,) = evaluate_run(
            judged, source, measures=MEASURES.values(),
            relevance_threshold=relevance_threshold, remove_unjudged=remove_unjudged,
        )  # fmt: skip
    n_queries = float(len(result.per_query["NumRet"]))  # what means are over, queries missing from the run included
    # In the order asked for; with a threshold, their names here have it, too.
    values = {"num_q": n_queries, **dict(zip(MEASURES, result.measures.values(), strict=True))}
    if json is not None:
        write_json(json, values)
    return values
