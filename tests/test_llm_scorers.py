"""LLMs as scorers: each pair's score is its own, whoever shares its document, and what is cut is the document."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path

import pytest
import torch
from tiny import write_cross_encoder, write_llama, write_t5

from acclimate.base import models
from acclimate.base.errors import SettingError
from acclimate.llm.decoders.generic import Generic
from acclimate.llm.decoders.loaded import Loaded
from acclimate.records import Doc, Query
from acclimate.run.settings import settings_of
from acclimate.search.scorers import cross_encoder, named
from acclimate.search.scorers.likelihood import Likelihood
from acclimate.search.scorers.pairs import Lengths
from acclimate.search.scorers.template import TEMPLATES, save
from acclimate.search.scorers.yes_no import YesNo
from acclimate.stages.label import label

CORPUS = {
    doc.doc_id: doc
    for doc in (Doc("a", "the cat sat on a mat", "cats"), Doc("b", "rivers of the north " * 30), Doc("c", "two words"))
}
QUERIES = [Query("1", "what cat"), Query("2", "rivers of the south and of the north"), Query("3", "text")]
PAIRS = [(query, doc_id) for query in QUERIES for doc_id in CORPUS]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("llm") / "tiny")


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setattr(models, "dtype", lambda: torch.float32)


@pytest.fixture(params=[Likelihood, YesNo])
def scorer(request, llama):
    return request.param(llama, CORPUS, max_doc_tokens=20)


def test_a_score_depends_on_its_pair_alone(scorer):
    together = scorer.score(PAIRS)
    assert together == pytest.approx([scorer.score([pair])[0] for pair in PAIRS], abs=1e-4)
    assert scorer.score(PAIRS[::-1])[::-1] == pytest.approx(together, abs=1e-4)
    assert len({round(score, 4) for score in together}) == len(PAIRS)
    assert scorer.score([]) == []


def test_any_decoder_gives_the_same_scores(scorer):
    fast = scorer.score(PAIRS)
    loaded = Loaded(scorer.name, torch.float32)
    loaded.__dict__["decoder"] = Generic(loaded.model)
    scorer.__dict__["_loaded"] = loaded
    assert scorer.score(PAIRS) == pytest.approx(fast, abs=1e-4)


def test_a_likelihood_is_the_models_own(llama):
    scorer = Likelihood(llama, CORPUS)
    model, ids = Loaded(llama, torch.float32).model, scorer._ids
    query = ids(" what cat")
    text = [*ids("Document: cats the cat sat on a mat\nQuestion:"), *query]
    logits = model(torch.tensor([text])).logits[0].log_softmax(-1)
    each = [logits[at - 1, text[at]].item() for at in range(len(text) - len(query), len(text))]
    # The tokens of the parts, joined, may be others than those of the whole: this text has no such place.
    assert [*scorer._document(scorer.corpus["a"]), *query] == text
    assert scorer.score([(QUERIES[0], "a")])[0] == pytest.approx(sum(each) / len(each), abs=1e-4)


def test_yes_and_no_are_compared_at_the_end_of_the_prompt(llama):
    scorer = YesNo(llama, CORPUS)
    shared, yes, no = scorer._answers
    text = [*scorer._document(scorer.corpus["a"]), *scorer._query("what cat"), *shared]
    logits = Loaded(llama, torch.float32).model(torch.tensor([text])).logits[0, -1]
    assert [scorer._loaded.decode([token]) for token in (yes, no)] == ["y", "n"]
    assert scorer.score([(QUERIES[0], "a")])[0] == pytest.approx((logits[yes] - logits[no]).item(), abs=1e-4)


def test_the_document_is_cut_and_never_the_prompt_or_the_query(scorer):
    long = scorer._loaded.tokenizer.decode(scorer._document(scorer.corpus["b"]))
    before, _, rest = scorer.prompt.partition("{document}")
    assert long.startswith(f"{before}rivers of the north")
    assert long.endswith(rest.partition(" {query}")[0])
    assert len(scorer._document(scorer.corpus["b"])) < 20 + len(scorer._ids(scorer.prompt))
    asked = scorer._loaded.tokenizer.decode(scorer._query(QUERIES[1].text))
    assert asked == f" {QUERIES[1].text}{rest.partition('{query}')[2]}"
    with pytest.raises(SettingError, match="of query long"):
        scorer.score([(Query("long", "word " * 600), "a")])


def test_half_precision_ties_no_more_than_the_model_does(llama, monkeypatch):
    monkeypatch.setattr(models, "dtype", lambda: torch.bfloat16)
    scores = YesNo(llama, CORPUS).score(PAIRS)
    assert any(score != torch.tensor(score).bfloat16().item() for score in scores)  # not rounded to eight bits


def test_a_fingerprint_covers_weights_prompt_precision_and_length(llama, tmp_path, monkeypatch):
    class Other(Likelihood):
        prompt = "Text: {document}\nQuery: {query}"

    other_weights = write_llama(tmp_path / "other", "<|more|>")
    prints = [
        Likelihood(llama, CORPUS).fingerprint,
        YesNo(llama, CORPUS).fingerprint,
        Other(llama, CORPUS).fingerprint,
        Likelihood(llama, CORPUS, max_doc_tokens=7).fingerprint,
        Likelihood(other_weights, CORPUS).fingerprint,
    ]
    monkeypatch.setattr(models, "dtype_name", lambda: "another")
    prints.append(Likelihood(llama, CORPUS).fingerprint)
    assert len(set(prints)) == len(prints)


def test_scorers_by_name(llama):
    assert isinstance(named.load(f"yes-no:{llama}", CORPUS, max_doc_tokens=9), YesNo)
    assert isinstance(named.load(f"likelihood:{llama}", CORPUS, max_doc_tokens=9), Likelihood)
    named.check(f"likelihood:{llama}")
    assert named.fingerprint_of(f"likelihood:{llama}") == models.weights_fingerprint(llama)
    help_text = settings_of(label)["teachers"].help
    assert all(f"{kind}:" in help_text for kind in named.KINDS)
    for name in ("likelihood", "likelihood:", "maybe:x", "rerankr"):
        with pytest.raises(SettingError, match="reranker, cross-encoder:MODEL"):
            named.check(name)


@pytest.fixture
def teachers(llama, tiny_encoder, tmp_path):
    """A model of each kind of teacher, by name."""
    save(TEMPLATES["plain"]._replace(true="yes", false="no"), Path(shutil.copytree(llama, tmp_path / "asked")))
    return {
        "cross-encoder": write_cross_encoder(tmp_path / "cross", tiny_encoder),
        "monot5": write_t5(tmp_path / "t5", "rivers of the north and south a c".split()),
        "decoder": tmp_path / "asked",
        "yes-no": llama,
        "likelihood": llama,
    }


@pytest.mark.parametrize("kind", named.KINDS)
@pytest.mark.parametrize("query", ["rivers", "rivers of the south and of the north"])
def test_a_teacher_reads_no_more_of_a_document_than_it_is_given_however_short_the_query(kind, query, teachers):
    """Otherwise students are taught what they cannot see."""
    begin = "of the north " * 8
    corpus = {
        name: Doc(name, begin + end) for name, end in (("a", "rivers rivers rivers"), ("b", "a a a a a"), ("c", ""))
    }
    pairs = [(Query("q", query), doc_id) for doc_id in corpus]
    limit = 14  # the documents begin with the same 24 words
    within, beyond = (
        named.load(f"{kind}:{teachers[kind]}", corpus, max_doc_tokens=tokens) for tokens in (limit, 4 * limit)
    )
    alike, unlike = within.score(pairs), beyond.score(pairs)
    assert max(alike) - min(alike) < 1e-5  # of rounding
    assert max(alike) - min(alike) < min(abs(one - other) for one, other in combinations(unlike, 2))
    assert within.fingerprint != beyond.fingerprint


def test_who_cannot_rate_is_refused_before_anything_is_rated(llama, tiny_encoder, tmp_path):
    t5, flan = write_t5(tmp_path / "t5", ["what"]), write_t5(tmp_path / "flan", ["what"], first=False)
    published = write_cross_encoder(tmp_path / "published", tiny_encoder)
    for name in (f"cross-encoder:{published}", f"monot5:{t5}"):
        named.check(name)
    for name, said in (
        (f"monot5:{published}", "expected cross-encoder:"),
        (f"cross-encoder:{t5}", "expected monot5:"),
        (f"cross-encoder:{llama}", f"or use yes-no:{llama}"),
        (f"cross-encoder:{tiny_encoder}", "not trained to score"),
        (f"monot5:{flan}", "name its template"),
        (f"decoder:{llama}", "name its template"),
        (f"yes-no:{t5}", "expected a causal LLM, or monot5:"),
    ):
        for look in (named.check, lambda name: named.load(name, CORPUS, max_doc_tokens=9)):
            with pytest.raises(SettingError, match=said):
                look(name)
    save(TEMPLATES["plain"], Path(shutil.copytree(llama, tmp_path / "asked")))
    named.check(f"decoder:{tmp_path / 'asked'}")
    before = named.fingerprint_of(f"decoder:{tmp_path / 'asked'}")
    save(TEMPLATES["plain"]._replace(prompt="{query} {document}"), tmp_path / "asked")
    assert named.fingerprint_of(f"decoder:{tmp_path / 'asked'}") != before


def test_a_reranker_that_is_an_llm_leaves_room_for_a_query_beside_its_document(monkeypatch):
    monkeypatch.setattr(named, "load", lambda name, corpus, *, max_doc_tokens: (name, max_doc_tokens))
    for most, of_document in ((512, 448), (65, 1), (8, 1)):
        assert named.load_reranker("yes-no:org/model", {}, max_tokens=most) == ("yes-no:org/model", of_document)


def test_a_cross_encoder_that_reads_more_is_another(monkeypatch):
    monkeypatch.setattr(cross_encoder, "weights_of", lambda name: name)
    reads = [Lengths(8), Lengths(9), Lengths(8, 4)]
    assert len({cross_encoder.CrossEncoderScorer("a", {}, lengths).fingerprint for lengths in reads}) == 3
