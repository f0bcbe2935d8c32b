"""All known formats: name, description, how to recognize them, reader and writer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base.errors import DataError, unknown
from acclimate.base.text import command
from acclimate.corpus.formats import (
    colbert,
    colbert_folders,
    columns,
    flat,
    headerless,
    inpars,
    nemo,
    nested,
    pylate,
    samples,
    sgml,
)
from acclimate.corpus.formats import collection_files as collections
from acclimate.corpus.formats.content import Content
from acclimate.corpus.formats.samples import Has, Sample, is_list, look
from acclimate.corpus.formats.source import Source


class Format(NamedTuple):
    """A file format."""

    name: str
    kind: str  # kind of content
    what: str
    matches: Callable[[Sample], int]  # number of facts by which a sample matches; 0 if it does not
    read: Callable[[Path], Content]
    write: Callable[[Path, Source], int] | None = None
    room: str = ""  # what else it can hold: other keys, scores, whether a positive is known
    hints: str = ""  # in file names, to decide between formats that match equally


def _never(sample: Sample) -> int:
    """Matches nothing: the format must be named."""
    return 0


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and not isinstance(value[0], list)


DOCS, QUERIES, JUDGMENTS, RUNS = "documents", "queries", "judgments", "runs"
COLLECTIONS, SYNTHETIC, EXAMPLES = "collections", "synthetic queries", "training examples"
_EXPECTED = {  # requirements of kinds whose name does not say them
    COLLECTIONS: "a collection with judged queries",
    SYNTHETIC: "synthetic queries with the documents that they were written for",
    EXAMPLES: "training examples: queries with positives and negatives",
}
_DOC = "_id|doc_id|docid|docno|id|document_id text|contents|content|body|document_text|doc_text|passage"
_ANCHOR = "anchor|query|question|sentence1 positive|document_1|answer|sentence2"
_QREL = "query-id|query_id|qid corpus-id|corpus_id|doc_id|docid score|relevance|grade"

FORMATS = (
    Format("documents", DOCS, "BEIR's corpus.jsonl; or a table or data set with an id, a text and perhaps a title",
           Has(_DOC, without="query question positive label score relevance"), collections.read_docs,
           collections.write_docs, room="others", hints="corpus doc collection passage"),
    Format("documents-tsv", DOCS,
           "collection.tsv of ColBERT and LoTTE, corpus TSV of InPars v1: id⇥text, perhaps ⇥title", samples.is_texts,
           headerless.read_docs, headerless.write_docs, hints="corpus doc collection passage"),
    Format("trec-docs", DOCS, "TREC's documents as SGML: <DOC> with <DOCNO>, <TEXT>, perhaps <TITLE> or <HEADLINE>",
           sgml.are_docs, sgml.read_docs),
    Format("queries", QUERIES, "BEIR's queries.jsonl; or a table or data set with an id and a text",
           Has("_id|query_id|qid|id text|query|question", without="doc_id title positive label"),
           collections.read_queries, collections.write_queries, room="others", hints="quer question topic"),
    Format("queries-tsv", QUERIES, "queries.tsv and questions.tsv of ColBERT and LoTTE, topics of InPars: id⇥text",
           samples.is_texts, headerless.read_queries, headerless.write_queries, hints="quer question topic"),
    Format("trec-topics", QUERIES, "TREC's topics as SGML or XML: <top> with <num> and <title>, <topic> with <query>",
           sgml.are_topics, sgml.read_topics),
    Format("qrels", JUDGMENTS, "BEIR's qrels TSV, with its header", Has(_QREL, without="query question text"),
           collections.read_qrels, collections.write_qrels),
    Format("trec-qrels", JUDGMENTS, "TREC's qrels: qid 0 docid grade", samples.is_qrels, collections.read_qrels,
           collections.write_trec_qrels),
    Format("trec-run", RUNS, "TREC's run: qid Q0 docid rank score tag", samples.is_run, collections.read_run,
           collections.write_run),
    Format("colbert-ranking", RUNS, "ColBERT's ranking: qid⇥pid⇥rank, perhaps ⇥score", samples.is_ranking,
           colbert.read_ranking, colbert.write_ranking),
    Format("beir", COLLECTIONS, "a BEIR folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv",
           Has("corpus|queries", is_folder=True), collections.read_beir, collections.write_beir, room="others"),
    Format("gpl", COLLECTIONS, "GPL's folder: a BEIR folder with qgen-queries.jsonl and qgen-qrels/",
           samples.is_generated, collections.read_gpl, partial(collections.write_beir, prefix=collections.GENERATED),
           room="others"),
    Format("lotte", COLLECTIONS, "a LoTTE folder: collection.tsv, questions.KIND.tsv, qas.KIND.jsonl",
           Has("collection.tsv qas|questions", is_folder=True), colbert_folders.read_lotte,
           colbert_folders.write_lotte),
    Format("qas", COLLECTIONS, "LoTTE's qas.jsonl and UDAPDR's queries: qid, query, answer_pids",
           Has("qid query answer_pids"), colbert.read_qas, colbert.write_qas, room="others"),
    Format("llama-index", COLLECTIONS, "one JSON object of LlamaIndex: queries, corpus, relevant_docs",
           Has("queries corpus relevant_docs"), collections.read_llama_index, collections.write_llama_index),
    Format("synthetic", SYNTHETIC, "ours: query_id, doc_id, query, perhaps logprob, log_probs, prompt",
           Has("query_id doc_id query"), inpars.read, inpars.write_ours, room="others"),
    Format("inpars", SYNTHETIC, "InPars v2, its toolkit and InPars+: doc_id, text, query, log_probs, ...",
           Has("doc_id query", without="query_id"), inpars.read, inpars.write_v2, room="others"),
    Format("inpars-v1", SYNTHETIC, "InPars v1: doc_id, doc_text, question, log_probs", Has("doc_id question"),
           inpars.read, inpars.write_v1, room="others"),
    Format("nway", EXAMPLES, "ours: query_id, doc_ids (positive first), perhaps scores, query", Has("query_id doc_ids"),
           nested.read_nway, nested.write_nway, room="others scores positive"),
    Format("triples", EXAMPLES, "InPars' triples: query⇥positive⇥negative, texts, quoted like CSV", samples.is_triples,
           headerless.read_triples, headerless.write_triples),
    Format("triples-raw", EXAMPLES, "the same where a quotation mark is a letter, as of InPars v1", _never,
           partial(headerless.read_triples, is_raw=True), partial(headerless.write_triples, is_raw=True)),
    Format("triples-ids", EXAMPLES, "query_id⇥pos_id⇥neg_id", samples.is_ids, headerless.read_triples_ids,
           headerless.write_triples_ids),
    Format("tuples-ids", EXAMPLES, "query_id⇥pos_id⇥neg_id⇥neg_id...", _never, headerless.read_triples_ids,
           headerless.write_tuples_ids),
    Format("pairs", EXAMPLES, "InPars' pairs: query⇥passage⇥label, 0 or 1", samples.is_pairs, headerless.read_pairs,
           headerless.write_pairs),
    Format("columns", EXAMPLES, "sentence-transformers: anchor, positive, negative_1 ... (MultipleNegativesRanking)",
           Has(_ANCHOR, without="query_id"), columns.read, columns.write),
    Format("columns-scores", EXAMPLES, "sentence-transformers: the same and label, scores (MarginMSE, DistillKLDiv)",
           Has(_ANCHOR + " label|labels|score|scores", without="query_id sentence2"), columns.read,
           columns.write_scores, room="scores"),
    Format("columns-pairs", EXAMPLES, "sentence-transformers: text_a, text_b, label (BinaryCrossEntropy, MSE)",
           Has("text_a|anchor|query|sentence1 text_b|text|sentence2 label|score", without="query_id doc_id"),
           columns.read_pairs, columns.write_pairs, room="scores"),
    Format("columns-lists", EXAMPLES, "sentence-transformers: query, docs, labels (LambdaLoss and the like)",
           Has("query|anchor docs|texts labels|scores"), columns.read_lists, columns.write_lists, room="scores"),
    Format("pylate", EXAMPLES, "PyLate's folder: train, queries and documents, scores from 0 to 1",
           Has("train queries documents", is_folder=True), pylate.read, pylate.write, room="scores"),
    Format("pylate-train", EXAMPLES, "PyLate's train table alone: query_id, document_ids, scores",
           Has("query_id document_ids"), pylate.read_train),
    Format("nemo", EXAMPLES, "NeMo Automodel: train.json and a corpus in a folder", samples.is_nemo, nemo.read,
           nemo.write, room="others"),
    Format("colbert", EXAMPLES, "ColBERT's folder: collection.tsv, queries.tsv, triples.json or examples.json",
           Has("collection.tsv queries.tsv triples.json|examples.json", is_folder=True), colbert_folders.read_colbert,
           colbert_folders.write_colbert, room="scores"),
    Format("gpl-negatives", EXAMPLES, "GPL's hard-negatives.jsonl: qid, pos, neg by miner", Has("qid pos neg"),
           nested.read_gpl, nested.write_gpl, room="others"),
    Format("gpl-training", EXAMPLES, "GPL's gpl-training-data.tsv: qid⇥pos⇥neg⇥margin", samples.is_margins,
           headerless.read_margins, headerless.write_margins, room="scores"),
    Format("colbert-triples", EXAMPLES, "ColBERT's triples: [qid, pid+, pid-] a line",
           is_list(lambda row: not any(isinstance(value, list) for value in row) and len(row) == 3, facts=2),
           colbert.read_triples, colbert.write_triples),
    Format("colbert-examples", EXAMPLES, "ColBERT's examples, UDAPDR's tuples: [qid, [pid, score], ...] a line",
           is_list(lambda row: all(map(_is_pair, row[1:])) or not any(isinstance(value, list) for value in row)),
           colbert.read_examples, colbert.write_examples, room="scores"),
    Format("colbert-scores", EXAMPLES, "ColBERT's distillation_scores: [qid, [[score, pid], ...]] a line",
           is_list(lambda row: len(row) == 2 and isinstance(row[1], list) and all(map(_is_pair, row[1]))),
           colbert.read_scores, colbert.write_scores, room="scores positive"),
    Format("udapdr-results", EXAMPLES, "UDAPDR's reranker results: qids, pids, logits, labels",
           Has("qids pids logits labels"), colbert.read_results),
    Format("flagembedding", EXAMPLES, "FlagEmbedding: query, pos, neg, perhaps pos_scores, neg_scores",
           Has("query pos", without="qid"), flat.FLAG_EMBEDDING.read, flat.FLAG_EMBEDDING.write,
           room="others scores"),
    Format("tevatron", EXAMPLES, "Tevatron v2: query_id, query_text, positive_document_ids, negative_document_ids",
           Has("query_id query_text positive_document_ids"), flat.TEVATRON.read, flat.TEVATRON.write, room="others"),
    Format("tevatron-v1", EXAMPLES, "Tevatron v1: query_id, query, positive_passages, negative_passages",
           Has("query_id query positive_passages"), nested.read_tevatron, nested.write_tevatron, room="others scores"),
    Format("nemo-inline", EXAMPLES, "NeMo Automodel's JSON Lines: query, pos_doc, neg_doc", Has("query pos_doc"),
           flat.NEMO_INLINE.read, flat.NEMO_INLINE.write, room="others"),
    Format("nixietune", EXAMPLES, "nixietune: query, doc, neg", Has("query doc"), flat.NIXIETUNE.read,
           flat.NIXIETUNE.write, room="others"),
    Format("cohere", EXAMPLES, "Cohere rerank: query, relevant_passages, hard_negatives",
           Has("query relevant_passages"), flat.COHERE.read, flat.COHERE.write, room="others"),
    Format("ms-swift", EXAMPLES, "ms-swift: messages, positive_messages, negative_messages",
           Has("messages positive_messages"), nested.read_swift, nested.write_swift, room="others"),
)  # fmt: skip
BY_NAME = {form.name: form for form in FORMATS}
_METRICS = Has("num_q|ndcg_cut_10 map|recip_rank|P_10|recall_1000")


def recognize(path: Path, kinds: Collection[str] = ()) -> Format:
    """Recognize the format of a file or folder by its content. Raises DataError for an unknown or ambiguous one.

    kinds: the wanted ones; another kind is returned only if none of these matches.
    """
    sample = look(path)
    facts = {form.name: form.matches(sample) for form in FORMATS}
    wanted = {name: count for name, count in facts.items() if count and BY_NAME[name].kind in kinds}
    facts = wanted or facts
    most = max(facts.values())
    names = [name for name, count in facts.items() if count == most]
    if not most:
        if _METRICS(sample):
            raise DataError("holds measures of a run, which are not converted", path=path)
        raise DataError(f"unknown format: found {sample}; {_remedy(kinds, 'it')}", path=path)
    hinted = [name for name in names if any(hint in path.name.lower() for hint in BY_NAME[name].hints.split())]
    candidates = hinted if len(hinted) == 1 else names
    if len(candidates) > 1:
        raise DataError(f"could be {' or '.join(candidates)}; {_remedy(() if wanted else kinds, 'which')}", path=path)
    return BY_NAME[candidates[0]]


def _remedy(kinds: Collection[str], what: str) -> str:
    """The expected content, for messages. If any kind is, mention the option of `convert` for the format."""
    expected = " or ".join(_EXPECTED.get(kind, kind) for kind in kinds)
    return f"expected {expected}" if kinds else f"give {what} with --from FORMAT (acclimate convert --list)"


def named_format(name: str) -> Format:
    """The format of this name. Raises SettingError if there is none."""
    if not isinstance(name, str) or name not in BY_NAME:
        raise unknown("format", name, BY_NAME)
    return BY_NAME[name]


def conversion_of(path: Path, kind: str = DOCS) -> str:
    """The command that converts a file or folder that only `convert` reads, to be appended to an error, or ""."""
    try:
        form = recognize(path, (kind,))
        content = form.read(path)
    except DataError:
        return ""
    if (content.docs if kind == DOCS else content.queries) is None:
        return ""
    target = ["NEW", "--to", "beir"] if form.kind == COLLECTIONS else ["NEW.jsonl", "--to", kind]
    convert = command("convert", path, *target)
    return f". Its {kind}, of the format {form.name}, are read once they are converted: {convert}"
