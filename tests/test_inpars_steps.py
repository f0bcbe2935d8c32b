"""What each step of the InPars toolkit is told reaches the stage that does the work, and nothing else decides there."""

from __future__ import annotations

import json
from contextlib import suppress
from types import SimpleNamespace

import pytest

from acclimate.api.inpars import queries, ranking, training
from acclimate.api.inpars.shared import bm25_hits, judged_collection
from acclimate.api.partial import partial_folder
from acclimate.base.errors import DataError, MissingExtra, SettingError
from acclimate.base.testing import DOCS
from acclimate.llm.lengths import about_tokens, characters_in
from acclimate.llm.prompts import load
from acclimate.records import Doc, Query

COPY = DOCS[0]._replace(doc_id="nearly", text=f"{DOCS[0].text}\nAgain.")
LONG = [
    Doc(f"long{n}", " ".join(f"In year {n}{at} the sea rose by some more than before." for at in range(9)))
    for n in range(4)
]
CORPUS = [*DOCS[:12], Doc("short", "tiny"), COPY, *LONG]


@pytest.fixture
def collection(tmp_path):
    """Eighteen documents, long example queries of three, and judged ones of the test split besides."""
    folder = tmp_path / "nature"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": doc.doc_id, "title": doc.title, "text": doc.text} for doc in CORPUS]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = {f"q{n}": f"{doc.title} and " + "more words about the sea " * 30 for n, doc in enumerate(DOCS[:6])}
    (folder / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in texts.items())
    )
    for split, numbers in (("train", (0, 1, 2)), ("test", (3, 4))):
        lines = [f"q{n}\t{DOCS[n].doc_id}\t{1 + n % 2}\n" for n in numbers]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return str(folder)


def generated(collection, tmp_path, monkeypatch, **changes):
    """The arguments with which the stage is called."""
    calls = []

    def generate(docs, completions, material, **settings):
        calls.append({**settings, "docs": docs, "shots": list(material.examples)})
        return SimpleNamespace(queries=[])

    monkeypatch.setattr(queries, "generate_queries", generate)
    options = {
        "base_model": "an-llm", "prompt": "inpars", "n_fewshot_examples": 2, "max_doc_length": 100,
        "max_query_length": 9, "max_prompt_length": 2048, "max_new_tokens": 64, "max_generations": 100, "seed": 5,
    }  # fmt: skip
    assert queries.generate(collection, tmp_path / "queries.jsonl", **{**options, **changes}) == 0
    return calls[0]


def test_every_document_is_written_for_from_its_start_and_nothing_of_an_answer_is_changed(
    collection, tmp_path, monkeypatch
):
    told = generated(collection, tmp_path, monkeypatch)
    assert {doc.doc_id: doc.text for doc in told["docs"]} == {doc.doc_id: doc.text for doc in CORPUS}
    settings = {name: told[name] for name in ("llm", "prompt", "cut", "cleaning", "seed", "max_new_tokens")}
    assert settings == {
        "llm": "an-llm", "prompt": ("inpars",), "cut": "tokens", "cleaning": "inpars", "seed": 5, "max_new_tokens": 64,
    }  # fmt: skip
    assert (told["max_doc_tokens"], told["shuffle_examples"], told["shots"]) == (100, False, [])


def test_documents_and_examples_are_drawn_by_seed_and_examples_cut_and_shuffled(collection, tmp_path, monkeypatch):
    drawn = []
    for seed in (1, 1, 2, 3):
        options = {"prompt": "promptagator", "max_generations": 4, "seed": seed}
        told = generated(collection, tmp_path, monkeypatch, **options)
        assert len(told["docs"]) == 4 and len(told["shots"]) == 2 and told["shuffle_examples"]
        assert all(len(shot.query) <= characters_in(shot.query, 9) for shot in told["shots"])
        assert not {doc.doc_id for doc in told["docs"]} & {shot.doc_id for shot in told["shots"]}
        drawn.append((*(doc.doc_id for doc in told["docs"]), *(shot.query_id for shot in told["shots"])))
    assert drawn[0] == drawn[1] and len({*drawn}) == 3


def test_a_prompt_and_its_answer_fit_and_a_document_gets_what_is_left(collection, tmp_path, monkeypatch):
    around = about_tokens(load("inpars", (), collection="nature").render(""))
    told = generated(collection, tmp_path, monkeypatch, max_prompt_length=around + 64 + 1)
    assert told["max_doc_tokens"] == 1
    with pytest.raises(SettingError, match="--max_prompt_length is"):
        generated(collection, tmp_path, monkeypatch, max_prompt_length=around + 64)


def filtered(tmp_path, **changes):
    """Names of the queries that are kept, and the lines written."""
    rows = [
        {"doc_id": "d", "text": "Lava is hot rock", "query": query, "log_probs": [score] * tokens, "name": name}
        for name, query, score, tokens in (
            ("few", "lava", -0.1, 1), ("copied", "LAVA is hot", -0.2, 3), ("good", "how hot is lava", -0.5, 4),
            ("better", "what is lava made of", -0.3, 5), ("many", "lava and more", -0.1, 9),
        )
    ]  # fmt: skip
    source = tmp_path / "written.jsonl"
    source.write_text("".join(json.dumps({**row, "score": "an earlier one"}) + "\n" for row in rows))
    options = {
        "filter_strategy": "scores", "keep_top_k": 9, "model_name_or_path": "", "min_tokens": 3, "max_tokens": 5,
        "skip_questions_copied_from_context": False,
    }  # fmt: skip
    queries.filter(source, tmp_path / "kept.jsonl", **{**options, **changes})
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    return [row["name"] for row in kept], kept


def test_a_filter_drops_by_length_and_copies_if_asked_and_writes_its_own_scores(tmp_path):
    names, kept = filtered(tmp_path)
    assert names == ["copied", "better", "good"]
    assert [row["score"] for row in kept] == pytest.approx([-0.2, -0.3, -0.5])
    assert filtered(tmp_path, skip_questions_copied_from_context=True)[0] == ["better", "good"]


def test_a_reranker_of_512_tokens_filters_queries_with_or_without_log_probabilities(tmp_path, monkeypatch):
    told = []

    def load(model, texts, *, max_tokens):
        told.append((model, max_tokens))
        return SimpleNamespace(score=lambda pairs: [float(len(query.text)) for query, _ in pairs])

    monkeypatch.setattr(queries.named, "load_reranker", load)
    reranker = {"filter_strategy": "reranker", "model_name_or_path": "monot5", "keep_top_k": 2}
    assert filtered(tmp_path, **reranker)[0] == ["better", "good"]
    rows = [{"doc_id": "d", "text": "Lava is hot", "query": f"is lava hot {n * 'x'}", "log_probs": []} for n in (1, 2)]
    (tmp_path / "unsure.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"min_tokens": 3, "max_tokens": 9, "skip_questions_copied_from_context": False}
    assert queries.filter(tmp_path / "unsure.jsonl", tmp_path / "kept.jsonl", **reranker, **options) == 2
    assert told == [("monot5", 512)] * 2


@pytest.mark.parametrize(("kind", "loss"), [("cross-encoder", "bce"), ("monot5", "token")])
def test_a_step_of_training_reads_half_a_batch_of_pairs_and_every_setting_counts(kind, loss, tmp_path, monkeypatch):
    told = {}

    def train(examples, dev, texts, docs, folder, **settings):
        told.update(settings, sizes=(len(examples), len(dev)))
        (folder / "model").mkdir()
        return SimpleNamespace(path=folder / "model")

    monkeypatch.setattr(training, "train_rerankers", train)
    monkeypatch.setattr(training.scorers, "kind_of", lambda model: kind)
    triples = tmp_path / "triples.tsv"
    triples.write_text("".join(f"query {n}\tanswer {n}\tother {n}\n" for n in range(20)))
    options = {"max_doc_length": 77, "max_steps": 9, "learning_rate": 0.5, "seed": 3}
    options |= {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 5}
    assert training.train(triples, tmp_path / "model", base_model="base", **options) == tmp_path / "model"
    del told["progress"]
    assert told == {
        "base": "base", "loss": loss, "n_ways": 2, "max_queries": 10**9, "max_steps": 9, "optimizer": "adamw",
        "learning_rate": 0.5, "schedule": "constant", "batch_size": 3, "gradient_accumulation": 5, "evaluations": 1,
        "max_tokens": 77, "seed": 3, "sizes": (19, 1),
    }  # fmt: skip


def test_queries_without_texts_give_no_empty_file_of_triples(collection, tmp_path):
    written, output = tmp_path / "queries.jsonl", tmp_path / "triples.tsv"
    written.write_text(json.dumps({"doc_id": COPY.doc_id, "query": " ", "log_probs": [-1.0], "text": COPY.text}) + "\n")
    with pytest.raises(DataError, match="no query with a text"):
        training.generate_triples(collection, written, output, n_samples=1, max_hits=6, seed=1)
    assert [*tmp_path.glob("triples*")] == []


def test_triples_have_as_many_negatives_as_asked_for_of_bm25_s_first_drawn_by_seed_on_a_line_each(collection, tmp_path):
    written = tmp_path / "queries.jsonl"
    query = Query("q", " ".join(doc.title for doc in DOCS[:12]) + "\tand more")
    row = {"doc_id": COPY.doc_id, "query": query.text, "log_probs": [-1.0] * 9, "text": COPY.text}
    written.write_text(json.dumps(row) + "\n")

    def triples(n_samples, seed):
        output, options = tmp_path / "triples.tsv", {"n_samples": n_samples, "max_hits": 6, "seed": seed}
        assert training.generate_triples(collection, written, output, **options) == n_samples
        return output.read_text()

    assert triples(3, 1) == triples(3, 1) != triples(3, 2)
    assert triples(1, 1).count("\n") == 1
    corpus = {doc.doc_id: doc for doc in CORPUS}
    texts = {" ".join(corpus[hit.doc_id].default_text().split("\n")) for hit in bm25_hits(corpus, [query], 6)}
    negatives = {line.rsplit("\t", 1)[1].strip('"') for line in triples(5, 1).splitlines()}
    assert len(negatives) == 5 and negatives < texts  # whatever they score beside the source


@pytest.mark.parametrize("own", [True, False])
def test_a_run_is_reranked_to_the_depth_asked_for(own, collection, tmp_path, monkeypatch):
    told = []

    def rerank(run, model, out, *, corpus, depth):
        told.append((model, corpus, depth))
        return (tmp_path / "own.trec" if own else run).read_text().splitlines()

    (tmp_path / "own.trec").write_text("q3 Q0 x 1 1.0 me\n")
    monkeypatch.setattr(ranking, "rerank_run", rerank)
    run = str(tmp_path / "own.trec") if own else "bm25"
    lines = ranking.rerank(collection, "monot5", run, tmp_path / "out.trec", top_k=2)
    assert told == [("monot5", collection, 2)]
    if not own:
        assert [line.split()[0] for line in lines] == ["q3", "q3", "q4", "q4"]  # type: ignore[union-attr]


def test_measures_are_of_the_judgments_given_at_the_threshold_given(collection, tmp_path):
    (tmp_path / "run.trec").write_text(f"q3 Q0 unjudged 1 3.0 me\nq3 Q0 {DOCS[3].doc_id} 2 2.0 me\n")
    (tmp_path / "qrels.trec").write_text(f"q3 0 {DOCS[3].doc_id} 1\nq9 0 {DOCS[3].doc_id} 2\n")
    run, options = str(tmp_path / "run.trec"), {"relevance_threshold": 1, "remove_unjudged": False}
    own = ranking.evaluate(run, qrels=tmp_path / "qrels.trec", dataset=collection, **options)
    assert (own["num_q"], own["recip_rank"]) == (2, 0.25)
    assert ranking.evaluate(run, dataset=collection, **options)["num_q"] == 2
    judged = ranking.evaluate(run, qrels=tmp_path / "qrels.trec", **{**options, "remove_unjudged": True})
    assert judged["recip_rank"] == 0.5
    strict = ranking.evaluate(run, qrels=tmp_path / "qrels.trec", **{**options, "relevance_threshold": 2})
    assert strict["recip_rank"] == 0


def test_two_runs_are_measured_at_once(collection, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluate_run = ranking.evaluate_run
    options = {"dataset": collection, "relevance_threshold": 1, "remove_unjudged": False}
    alone = ranking.evaluate("bm25", **options)

    def meanwhile(*files, **others):
        monkeypatch.setattr(ranking, "evaluate_run", evaluate_run)
        (tmp_path / "qrels.trec").write_text(f"q3 0 {DOCS[3].doc_id} 1\n")
        ranking.evaluate("bm25", qrels=tmp_path / "qrels.trec", **options)
        return evaluate_run(*files, **others)

    monkeypatch.setattr(ranking, "evaluate_run", meanwhile)
    assert ranking.evaluate("bm25", **options) == alone
    assert not [*tmp_path.glob("*.partial")]


@pytest.mark.parametrize(
    ("error", "is_new", "stays"),
    [
        (None, False, False),
        (DataError("no"), True, False),
        (DataError("no"), False, True),
        (OSError(), True, True),
        (MissingExtra("it", "pip"), True, False),
    ],
)
def test_what_is_half_done_stays_for_the_next_call_unless_that_call_could_not_begin(error, is_new, stays, tmp_path):
    folder = tmp_path / "out.jsonl.partial"
    if not is_new:
        folder.mkdir()
        (folder / "earlier").write_text("")
    with suppress(DataError, OSError, MissingExtra), partial_folder(tmp_path / "out.jsonl") as made:
        assert made == folder and folder.is_dir()
        if error is not None:
            raise error
    assert folder.exists() == stays


def test_judged_queries_alone_are_asked_and_bm25_finds_what_shares_a_term(collection, tmp_path):
    judged = judged_collection(collection, tmp_path)
    assert [query.query_id for query in judged.queries] == ["q3", "q4"]
    corpus = {name: Doc(name, text) for name, text in (("b", "lava rock"), ("a", "lava rock"), ("c", "sea"))}
    hits = [*bm25_hits(corpus, [Query("q", "lava")], 9)]
    assert [hit.doc_id for hit in hits] == ["a", "b"]
    assert [hit.doc_id for hit in bm25_hits(corpus, [Query("q", "lava")], 1)] == ["a"]
    many = {f"{n:03}": Doc(f"{n:03}", "lava rock" if n % 3 else "sea") for n in reversed(range(200))}
    assert [hit.doc_id for hit in bm25_hits(many, [Query("q", "lava")], 99)] == sorted(n for n in many if int(n) % 3)[
        :99
    ]
