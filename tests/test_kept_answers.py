"""Answers that are stored, counted and sorted: by which LLM, once each, and with what was really written."""

from __future__ import annotations

import pytest

from acclimate.llm.answers.clean import clean
from acclimate.llm.answers.sorting import sort_answers
from acclimate.llm.ask import Task
from acclimate.llm.completions import Completions, keys_of
from acclimate.llm.prices import as_options, price, read_limits
from acclimate.llm.prompts import load
from acclimate.records import Completion


class Streaming:
    """Answers one prompt after another."""

    name, fingerprint = "streaming", "streaming"

    def complete(self, prompts):
        return [Completion(prompt.upper(), (), 2, 3, "stop") for prompt in prompts]

    def answers(self, prompts):
        yield from enumerate(self.complete(prompts))

    def stop_asking(self):
        pass

    def decoding_as(self, decoding):
        return self

    def cut(self, text, max_tokens):
        return text


class Another(Streaming):
    fingerprint = "another"


@pytest.fixture
def kept(tmp_path):
    with Completions(tmp_path / "answers.sqlite", "stage") as completions:
        yield completions


def test_who_limits_hears_how_many_are_left_and_who_watches_how_many_are_done(kept, monkeypatch):
    kept.complete(Streaming(), ["b", "d"])
    left, done = [], []
    kept.guard = left.append
    kept.complete(Streaming(), ["a", "b", "c", "d", "e"], on_batch=lambda *counts: done.append(counts[:2]))
    assert left == [3, 2, 1]
    assert done == [(3, 5), (4, 5), (5, 5)]
    left.clear()
    monkeypatch.setattr("acclimate.llm.completions.STREAMED_PROMPTS", 2)  # fewer are sent at once than there are
    kept.complete(Streaming(), ["f", "g", "h", "i", "j"])
    assert left == [5, 4, 3, 2, 1]


def test_an_answer_is_of_one_llm_and_the_first_one_counts_once(kept):
    llm, later = Streaming(), Completion("later", (), 50, 50, "stop")
    kept.complete(llm, ["a"])
    assert keys_of(llm, ["a"]) != keys_of(Another(), ["a"])
    kept.put(llm.name, "stage", *keys_of(llm, ["a"]), later)
    assert kept.complete(llm, ["a"])[0].text == "A"
    assert kept.ledger()["stage", "streaming"] == (1, 2, 3)
    kept._keep(llm.name, "stage", keys_of(llm, ["a"]), [later])  # another process was faster
    assert kept.complete(llm, ["a"])[0].text == "A"


def test_a_price_is_of_the_whole_name_and_a_limit_of_nothing_is_one(tmp_path):
    prices = tmp_path / "prices.toml"
    prices.write_text('["openai:m@v2"]\nprompt = 1\ncompletion = 2\n')
    assert price("openai:m@v2@http://there/v1", prices) == (1, 2)
    assert price("openai:m", prices) is None
    assert as_options(read_limits(["seed=0"], ["0"])) == {"max_tokens": ["seed=0"], "max_cost": ["0.0"]}


def sorted_of(text, doc="The lava of this volcano is hot and it flows to the sea", searches=()):
    task = Task("d", load("question"), 0, "")
    answers = {task: Completion(text, (), 1, 1, "stop")}
    return sort_answers([task], answers, {"d": doc}, cleaning="strict", searches=searches, language="")


def test_a_copy_of_what_people_searched_is_none_and_a_reject_keeps_what_was_written():
    answer = 'Query: "How hot is  LAVA?"'
    assert [query.text for query in sorted_of(answer)[0]] == ["How hot is  LAVA?"]
    queries, rejects = sorted_of(answer, searches=["how hot is lava?"])
    assert (queries, [(row["reason"], row["text"]) for row in rejects]) == ([], [("copy of an example", answer)])
    borrowed = sorted_of("when does penguin plumage change", searches=["penguin plumage in spring"])[1]
    assert [row["reason"] for row in borrowed] == ["from the examples"]


def test_words_of_examples_count_only_if_they_say_something_and_the_document_has_neither():
    examples = "what makes more people like the penguin plumage"
    for query, doc, reason in (
        ("penguin plumage in summer", "Whales sing.", "from the examples"),
        ("penguin plumage in summer", "A penguin swims.", None),
        ("how more people sing", "Whales sing.", None),
    ):
        assert clean(query, doc, "stop", examples)[1] == reason


def test_a_language_may_be_a_name_and_mostly_repeated_words_are_no_query():
    german = "Welche Tiere leben eigentlich in den kalten Gewässern der Antarktis"
    assert clean(german, "Whales sing.", "stop", "", "German") == (german, None)
    assert clean(german, "Whales sing.", "stop", "", "English")[1] == "wrong language"
    assert clean("sea ice sea cold sea ice cold ice", "Whales sing.", "stop")[1] == "repeated"
