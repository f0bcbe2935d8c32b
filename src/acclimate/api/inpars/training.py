"""Generate triples, and train a reranker on them."""

from __future__ import annotations

import csv
from pathlib import Path

from acclimate.api.inpars.shared import bm25_hits
from acclimate.api.partial import partial_folder
from acclimate.base.digests import fingerprint
from acclimate.base.draw import draw, uniform
from acclimate.base.errors import DataError
from acclimate.base.files import text_writer
from acclimate.base.progress import Progress, shown
from acclimate.base.targets import refuse_replacing
from acclimate.corpus import collections
from acclimate.corpus.formats import read_any_synthetic, registry
from acclimate.corpus.overwriting import refuse_replacing_collection
from acclimate.records import Doc, NWay
from acclimate.search import scorers
from acclimate.stages.mine import mine
from acclimate.stages.train import train as train_rerankers

DEV_SHARE = 0.01  # of the queries, held out to monitor training


def generate_triples(dataset: str, input: Path, output: Path, *, n_samples: int, max_hits: int, seed: int) -> int:
    """Write tab-separated triples (query, source document, negative), quoted like CSV; returns their number.

    Each query gets `n_samples` negatives from BM25's first `max_hits`, never its source document.
    """
    refuse_replacing(output, input)
    refuse_replacing_collection(output, dataset)
    with partial_folder(output) as folder, shown("auto"):
        corpus = collections.load(dataset, folder).corpus
        queries = list(read_any_synthetic(input))
        if not queries:
            raise DataError("no query with a text; expected one at least", path=input)
        if strange := next((query for query in queries if query.doc_id not in corpus), None):
            raise DataError(f"document {strange.doc_id!r} is not in {dataset}", path=input)
        hits = bm25_hits(corpus, [query.as_query() for query in queries], max_hits)
        examples = mine(
            queries, hits, corpus, {}, queries, 1,
            n_ways=n_samples + 1, depth=max_hits, max_share=1.0, sampling="random", seed=seed,
        ).examples  # fmt: skip
        text_of = {query.query_id: query.text for query in queries}
        count = 0
        with text_writer(output) as lines:
            writer = csv.writer(lines, delimiter="\t", lineterminator="\n")
            for example in examples:
                positive, *negatives = (_flat(corpus[doc_id].default_text()) for doc_id in example.doc_ids)
                writer.writerows([_flat(text_of[example.query_id]), positive, negative] for negative in negatives)
                count += len(negatives)
        return count


def train(
    triples: Path,
    output_dir: Path,
    *,
    base_model: str,
    max_doc_length: int,
    max_steps: int,
    learning_rate: float,
    per_device_train_batch_size: int,
    gradient_accumulation_steps: int,
    seed: int,
) -> Path:
    """Train monoT5 (or the base's kind) on triples or pairs; saves the model in `output_dir` and returns that.

    A row is a query with one document; each step reads batch size times accumulation rows, half of them relevant: a
    query's document and one of its negatives, drawn, since the toolkit's triples come in the order of BM25's ranks.
    """
    if output_dir.exists():
        raise DataError("is there already; expected a new folder", path=output_dir)
    negatives: dict[tuple[str, str], list[str]] = {}  # query and its document -> negatives
    positives: dict[str, set[str]] = {}  # query -> its documents
    content = registry.recognize(triples, (registry.EXAMPLES,)).read(triples)
    for row in content.examples() if content.examples else ():
        example = row.record
        if not example.query or len(example.texts) < 2:
            raise DataError("expected texts: query, positive and negative, or query, passage and label", path=triples)
        negatives.setdefault((example.query, example.texts[0]), []).extend(example.texts[1:])
        positives.setdefault(example.query, set()).add(example.texts[0])
    docs = {_id(text): Doc(_id(text), text) for pair, others in negatives.items() for text in (pair[1], *others)}
    texts = {_id(*pair): pair[0] for pair in negatives}
    examples: list[NWay] = []
    for (query, positive), others in negatives.items():
        query_id = _id(query, positive)
        different = {_id(text) for text in others if text not in positives[query]}
        doc_ids = sorted(different, key=lambda doc_id, query_id=query_id: draw(seed, query_id, doc_id))
        if doc_ids:
            examples.append(NWay(query_id, (_id(positive), *doc_ids)))
    examples.sort(key=lambda example: (uniform(seed, "dev", example.query_id), example.query_id))
    n_dev = max(1, round(DEV_SHARE * len(examples)))
    kind = scorers.kind_of(base_model)
    with partial_folder(output_dir) as folder, shown("auto"):
        tell = Progress("train", "queries")
        rerankers = train_rerankers(
            examples[n_dev:], examples[:n_dev], texts, docs, folder,
            base=base_model, loss="bce" if kind == "cross-encoder" else "token", n_ways=2, max_queries=10**9,
            max_steps=max_steps, optimizer="adamw", learning_rate=learning_rate, schedule="constant",
            batch_size=max(1, per_device_train_batch_size // 2), gradient_accumulation=gradient_accumulation_steps,
            evaluations=1, max_tokens=max_doc_length, seed=seed, progress=tell,
        )  # fmt: skip
        rerankers.path.replace(output_dir)
    return output_dir


def _flat(text: str) -> str:
    return " ".join(text.split("\n"))


def _id(*texts: str) -> str:
    return fingerprint(*texts)[:16]
