"""Windows: documents drawn by their length and read from anywhere in them, in every script, whatever else there is."""

from __future__ import annotations

import html
import math
import random
import time
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from chain import SMALL, CountingLLM, contents, tiny_models, write_corpus
from files_page import undocumented
from hypothesis import example, given
from hypothesis import settings as tries
from hypothesis import strategies as st

from acclimate.base.testing import DOCS
from acclimate.base.words import length_of
from acclimate.corpus.diverse import draw_diverse
from acclimate.corpus.drawing import in_order
from acclimate.llm.lengths import sentence_starts
from acclimate.llm.windows import from_window, window_start
from acclimate.records import Doc
from acclimate.report.queries import page as queries_page
from acclimate.report.queries.inspection import inspect
from acclimate.run.recipes import load_recipe
from acclimate.run.settings import resolve
from acclimate.stages import generate, raters
from acclimate.stages.chain import STAGES, adapt
from acclimate.stages.runs import new_run
from acclimate.stages.sample import METHODS, preview, sample

# Sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["Lava is hot. ", "It flows! ", "Why? ", '"Nobody knows." ', "(See below.) ", "It ends."],
        ["J. R. Smith weighed 3.5 liters, e.g. of milk. ", "Then he left…  \n", "More followed."],
        ["lower case and a mark between blanks . ", "a second sentence . ", "the third"],
        [
            "A heading\n",
            "A first line that goes on\nin small letters. ",
            "Next.\n\n",
            "a new paragraph\r\n",
            "- a bullet",
        ],
        ["日本の首都は東京です。", "人口は多い！", "「そうですか？」", "はい。"],
        ["서울은 한국의 수도이다. ", "사람이 많다. ", "그렇다."],
        ["यह पहला वाक्य है। ", "यह दूसरा है।", "तीसरा॥ ", "चौथा।"],
        ["இது தமிழ். ", "இது இரண்டாவது வாக்கியம்."],
        ["هل هذا سؤال؟ ", "نعم هو كذلك. ", "یہ اردو ہے۔ ", "ختم"],
        ["ይህ አረፍተ ነገር ነው። ", "ሌላ።"],
        ["Սա նախադասություն է։ ", "Երկրորդը։"],
    ],
)
def test_sentences_begin_where_they_do_in_every_script(sentences):
    text = "".join(sentences)
    starts = sentence_starts(text)
    assert [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)] == sentences


def test_what_has_no_sentences_is_broken_at_words():
    text = "word " * 400
    starts = sentence_starts(text)
    assert len(starts) == 5
    assert all(text[start:].startswith("word") for start in starts)
    assert sentence_starts("x" * 10_000) == [0]


texts = st.text(st.sampled_from("ab. \n。!?)é\tกि"), max_size=80)


@given(texts, st.floats(0, 1, exclude_max=True))
@example("", 0.5)
@example(" \n ", 0.5)
def test_a_window_starts_at_a_sentence_and_leaves_something_to_read(text, chance):
    start = window_start(text * 9, chance)
    assert start in sentence_starts(text * 9)
    assert not (text * 9)[start : start + 1].isspace() or not text.strip()
    assert bool((text * 9)[start:].strip()) == bool(text.strip())
    enough = [new_run for new_run in sentence_starts(text * 9) if length_of((text * 9)[new_run:].rstrip()) >= 80]
    assert start in (enough or sentence_starts(text * 9)[:1])


def test_each_sentence_is_as_likely_as_any_other_unless_too_little_is_left():
    text = " ".join(f"Sentence {letter} is here." for letter in "abcdefghij")
    starts = [window_start(text, (number + 0.5) / 1000) for number in range(1000)]
    assert list(Counter(starts).items()) == [(20 * number, 100 if number < 5 else 500) for number in range(6)]


@pytest.mark.parametrize("piece", ["a. ", "abc.", "!", "\n", " ", "...)", ")", "。", "x", ".)\n", "word "])
def test_long_lines_take_no_time(piece):
    text = "abc." + piece * (10**6 // len(piece)) + "x"
    started = time.process_time()
    window_start(text, 0.9)
    assert time.process_time() - started < 5


# Draws


def docs_of(lengths):
    """A document of so many characters for each, no two alike."""
    texts = (" ".join(f"w{n}x{place}." for place in range(length)) for n, length in enumerate(lengths))
    return {f"d{n}": Doc(f"d{n}", text[:length]) for n, (length, text) in enumerate(zip(lengths, texts, strict=True))}


MIXED = docs_of([random.Random(n).choice([100, 200, 1600]) for n in range(400)])


class Candidate(NamedTuple):
    doc_id: str
    luck: float
    weight: float
    for_window: bool


def drawn_in_order(lengths, seed, **settings):
    doc_ids = sorted(lengths)
    drawing = in_order(doc_ids, np.array([lengths[doc_id] for doc_id in doc_ids], int), seed, **settings)
    columns = (part.tolist() for part in drawing)
    return [Candidate(doc_ids[place], *rest) for place, *rest in zip(*columns, strict=True)]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_chances_follow_length_to_the_power(power):
    lengths = {f"d{n}": (100, 400)[n % 2] for n in range(40_000)}
    drawn = drawn_in_order(lengths, 0, windows=1.0, length_power=power)[:1000]
    expected = 4**power / (1 + 4**power)
    share = sum(lengths[candidate.doc_id] == 400 for candidate in drawn) / 1000
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 1000))


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 3000), max_size=30), st.floats(0, 1), st.floats(0, 4))
def test_every_document_comes_once_whatever_the_order_and_another_moves_none(lengths, windows, power):
    settings = {"windows": windows, "length_power": power}
    drawn = drawn_in_order(lengths, 3, **settings)
    assert sorted(candidate.doc_id for candidate in drawn) == sorted(lengths)
    assert drawn_in_order(dict(reversed(lengths.items())), 3, **settings) == drawn
    for kind in {candidate.for_window for candidate in drawn}:  # weights of both kinds meet in a diverse draw
        weights = [candidate.weight for candidate in drawn if candidate.for_window == kind]
        assert np.mean(weights) == pytest.approx(1)
    more = drawn_in_order({**lengths, "another": 500}, 3, **settings)
    for kind in (True, False):
        of_kind = [candidate.doc_id for candidate in drawn if candidate.for_window == kind]
        assert [c.doc_id for c in more if c.for_window == kind and c.doc_id != "another"] == of_kind


def test_both_kinds_have_their_shares_of_any_number_drawn():
    lengths = {f"d{n}": n for n in range(3000)}
    drawn = drawn_in_order(lengths, 0, windows=0.25, length_power=1.0)
    assert [sum(c.for_window for c in drawn[:count]) for count in (4, 40, 400)] == [1, 10, 100]
    assert sum(c.for_window for c in drawn) == pytest.approx(750, abs=4 * math.sqrt(3000 * 0.25 * 0.75))
    assert np.mean([c.luck for c in drawn if c.for_window]) == pytest.approx(0.5, abs=0.06)  # one draw, not both
    fewer = drawn_in_order(lengths, 0, windows=0.1, length_power=1.0)
    assert {c.doc_id for c in fewer if c.for_window} < {c.doc_id for c in drawn if c.for_window}


def test_a_diverse_draw_takes_clusters_and_documents_by_their_weights():
    chances, rows = np.random.default_rng(0).random(80), np.arange(80)

    def drawn(vectors, weights, **settings):
        return draw_diverse(rows, chances, weights, vectors.astype(np.float32), lambda place: True, seed=0, **settings)

    two = drawn(np.eye(2)[rows // 40], np.where(rows < 40, 9.0, 1.0), n_docs=20, n_clusters=2)
    assert sum(place < 40 for place in two) == 18
    one = drawn(np.eye(2)[rows * 0], np.where(rows % 8 == 0, 1000.0, 1.0), n_docs=10, n_clusters=1)
    assert sum(place % 8 == 0 for place in one) >= 8


@tries(max_examples=30)
@given(st.sampled_from([0.3, 1.0]), st.sampled_from([30, 1000]), st.integers(0, 9))
def test_a_document_more_changes_no_others_fate(windows, n_docs, seed):
    settings = {"windows": windows, "n_docs": n_docs, "seed": seed, "near_duplicates": 1}
    before = sample(MIXED, 0.2, **settings)
    after = sample({"new": Doc("new", "Something else. " * 40), **MIXED}, 0.2, **settings)
    assert len(before.splits.keys() - after.splits.keys()) <= (n_docs < len(MIXED))
    both = before.splits.keys() & after.splits.keys()
    assert all(after.splits[doc_id] == before.splits[doc_id] for doc_id in both)
    assert all(after.windows.get(doc_id) == before.windows.get(doc_id) for doc_id in both)


@pytest.mark.parametrize("method", METHODS)
def test_a_draw_with_windows_follows_every_rule(method):
    import numpy as np

    vectors = np.random.default_rng(0).normal(size=(len(MIXED), 8))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    settings = {"method": method, "n_docs": 60, "windows": 0.5, "min_chars": 150}
    corpus = {**MIXED, "twin": MIXED["d0"]._replace(doc_id="twin")}
    drawn = sample(corpus, 0.2, vectors=lambda: np.vstack([unit, unit[:1]]), **settings)
    assert len(drawn.splits) == 60
    assert drawn.windows.keys() <= drawn.splits.keys()
    assert len(drawn.windows) == pytest.approx(30, abs=12)
    assert all(len(MIXED[doc_id].text) >= 150 for doc_id in drawn.splits)
    assert len(drawn.splits) + sum(drawn.dropped.values()) == len(corpus)
    if method == "uniform":  # the others are bound to the order of the file, or to clusters
        long = Counter((doc_id in drawn.windows, len(MIXED[doc_id].text) == 1600) for doc_id in drawn.splits)
        assert long[True, True] > 2 * long[True, False]  # eight times as likely, until they run out
        assert long[False, False] > 6
    for doc_id, start in drawn.windows.items():
        assert start in sentence_starts(MIXED[doc_id].text)
    assert len({start > 0 for start in drawn.windows.values()}) == 2 or all(drawn.windows.values())


def test_without_windows_every_document_is_read_from_its_start():
    drawn = sample(MIXED, n_docs=10, windows=0)
    assert drawn.windows == {}
    assert drawn.docs(MIXED) == [MIXED[doc_id] for doc_id in drawn.splits]


def test_a_document_is_read_with_its_title():
    doc = Doc("d", "One is first. Two is second.", "Title")
    assert from_window(doc, {"d": 14}).default_text() == "Title Two is second."
    assert from_window(doc, {}) == doc


# Whole runs


def run_of(tmp_path, encoder, *changes, name="run"):
    corpus = write_corpus(tmp_path / "corpus.jsonl", [doc._replace(text=f"{doc.text} {LATER}") for doc in DOCS])
    settings = resolve(STAGES, load_recipe("quick"), [*SMALL, *tiny_models(encoder), *changes])
    return new_run(tmp_path / name, str(corpus), settings, recipe="quick", seed=0)


LATER = "Much later comes a part that nobody reads who stops soon. And this is how all of it ends, at long last."


def test_the_llm_reads_titles_and_windows(tmp_path, tiny_encoder, fake_llm, monkeypatch):
    asked = []
    complete = CountingLLM.complete
    monkeypatch.setattr(CountingLLM, "complete", lambda self, texts: (asked.extend(texts), complete(self, texts))[1])
    run = run_of(tmp_path, tiny_encoder, "sample.windows=0.5")
    outputs = adapt(run, until="generate")
    sampled = outputs["sample"]
    assert 5 < len(sampled.windows) < len(sampled.splits) == 36
    assert len(set(sampled.windows.values())) > 3
    corpus = run.input.corpus
    for doc_id in sampled.splits:
        doc, start = corpus[doc_id], sampled.windows.get(doc_id, 0)
        begins = f"{doc.title} {doc.text[start : start + 30]}"
        assert sum(begins in prompt for prompt in asked) == 1
    assert {query.doc_id for query in outputs["generate"].queries} <= sampled.splits.keys()
    assert undocumented(tmp_path / "run") == set()
    tokens = generate.estimate(run, preview(run, corpus, 0.0)).calls
    assert tokens.calls == len(asked) == 36

    (tmp_path / "run" / "sample" / "manifest.json").unlink()  # as a kill would leave it
    before = contents(tmp_path / "run")
    again = adapt(run_of(tmp_path, tiny_encoder, "sample.windows=0.5"), until="generate")
    assert not again["sample"].resumed
    assert again["generate"].resumed
    assert before.items() <= contents(tmp_path / "run").items()


def test_who_judges_and_who_looks_at_queries_sees_the_windows_too(tmp_path, tiny_encoder, fake_llm, monkeypatch):
    judged = []

    def grade(queries, docs, *_):
        judged.extend(docs.values())
        return [3.0] * len(queries), {"prompt": 0, "completion": 0}

    monkeypatch.setattr(raters, "grade", grade)
    run = run_of(tmp_path, tiny_encoder, "sample.windows=1", "filter.filters=judge")
    outputs = adapt(run, until="filter")
    sampled, corpus = outputs["sample"], run.input.corpus
    assert len(sampled.windows) == 36
    assert judged == [from_window(corpus[doc_id], sampled.windows) for doc_id in sampled.splits]
    page = html.unescape(queries_page.render(inspect(run)))
    shown = [doc_id for doc_id, start in sampled.windows.items() if f"… {corpus[doc_id].text[start:][:60]}" in page]
    assert shown == [doc_id for doc_id, start in sampled.windows.items() if start]


def test_where_windows_begin_follows_from_the_seed():
    corpus = dict(list(MIXED.items())[:60])
    drawn = [sample(corpus, n_docs=60, windows=1, seed=seed).windows for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert sum(drawn[0][doc_id] != start for doc_id, start in drawn[2].items()) > 5
