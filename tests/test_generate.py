"""Generation: queries by their docs, every drop counted; a doc more, or a second run, changes nothing else."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace

import pytest
from test_completions import Fake

from acclimate.base.errors import SettingError
from acclimate.base.testing import FakeLLM
from acclimate.corpus.formats import synthetic_id
from acclimate.corpus.query_log import LoggedQuery, QueryLog
from acclimate.llm import prompts
from acclimate.llm.ask import Task, ask, group_tasks, tasks_of
from acclimate.llm.completions import Completions
from acclimate.llm.decoding import Decoding
from acclimate.llm.estimate import calls_of
from acclimate.llm.prompts import Material
from acclimate.records import Completion, Doc, PromptExample
from acclimate.stages.generate import generate

DOCS = [Doc(str(n), f"copper mine number {n} was opened in {1800 + n}", f"Mine {n}") for n in range(50)]


class Writer(Fake):
    """Asks when the doc's last word was; cuts at words."""

    def complete(self, prompts):
        self.batches.append(list(prompts))
        return [self.answer(prompt.split("Document: ")[-1].split("\n")[0]) for prompt in prompts]

    def answer(self, doc):
        return Completion(f" what was opened in {doc.split()[-1]}", (-1.0, -2.0), 9, 3, "stop")

    def cut(self, text, max_tokens):
        return " ".join(text.split()[:max_tokens])

    def cut_tokens(self, text, max_tokens):
        return text[:max_tokens]


@pytest.fixture
def completions(tmp_path):
    with Completions(tmp_path / "completions.sqlite") as cache:
        yield cache


def test_a_query_for_each_doc_in_the_order_of_docs(completions):
    made = generate(DOCS, completions, llm=Writer())
    assert [query.doc_id for query in made.queries] == [doc.doc_id for doc in DOCS]
    assert [query.text for query in made.queries] == [f"what was opened in {1800 + n}" for n in range(50)]
    assert {(query.logprob, query.log_probs) for query in made.queries} == {(-1.5, (-1.0, -2.0))}
    assert made.queries[3].query_id == synthetic_id("3", "what was opened in 1803")
    assert len({query.query_id for query in made.queries}) == 50
    assert (made.dropped, made.rejects, made.cut) == ({}, [], 0)
    assert made.calls == 50
    assert made.tokens == made.asked == {"prompt": 450, "completion": 150}


def test_an_answer_is_decoded_as_the_settings_say(completions):
    asked = set()

    class Told(Writer):
        def decoding_as(self, decoding):
            asked.add(decoding)
            return self

    settings = {"max_new_tokens": 50, "temperature": 0.8, "top_p": 0.95, "seed": 4}
    generate(DOCS, completions, llm=Told(), prompt=("question", "claim"), per_doc=4, **settings)
    assert asked == {Decoding(**settings, sample=sample) for sample in (0, 1)}


def test_a_second_run_asks_nothing_and_reports_the_same_tokens(completions):
    first, second = (generate(DOCS, completions, llm=Writer()) for _ in range(2))
    assert second.queries == first.queries
    assert second.tokens == first.tokens
    assert (second.calls, second.asked) == (0, {"prompt": 0, "completion": 0})


def test_a_doc_more_changes_no_other_query_and_costs_one_call(completions):
    first = generate(DOCS, completions, llm=Writer())
    second = generate([DOCS[7], Doc("new", "opened in 1999"), *DOCS[8:], *DOCS[:7]], completions, llm=Writer())
    assert {query for query in second.queries if query.doc_id != "new"} == set(first.queries)
    assert second.calls == 1


def test_every_doc_becomes_a_query_or_a_counted_reject(completions):
    class Mixed(Writer):
        def answer(self, doc):
            texts = {"1800": ' "1. what was opened"', "1801": "", "1802": " in this study what was found", "1803": " x"}
            return super().answer(doc)._replace(text=texts.get(doc.split()[-1], " who opened the mine"))

    docs = [*DOCS[:6], Doc("none", "  ")]
    made = generate(docs, completions, llm=Mixed())
    assert made.dropped == {"empty": 1, "empty document": 1, "not self-contained": 1, "too short": 1}
    assert [reject["doc_id"] for reject in made.rejects] == ["1", "2", "3", "none"]
    assert len(made.queries) + len(made.rejects) == len(docs)
    assert made.queries[0].text == "what was opened"


def test_a_long_doc_is_cut_and_the_prompt_is_not(completions):
    llm = Writer()
    docs = [Doc("long", "word " * 500), Doc("blanks", " copper was mined in 1801 \n"), DOCS[0]]
    made = generate(docs, completions, llm=llm, max_doc_tokens=20, per_doc=3)
    assert made.cut == 1
    assert {prompt.rpartition("\n")[2] for prompt in llm.asked} == {"Question:", "Search words:", "Claim:"}
    assert max(prompt.split("Document: ")[-1].partition("\n")[0].count("word") for prompt in llm.asked) == 20


def test_which_searches_of_a_log_are_shown_follows_from_the_seed(completions):
    log = QueryLog([LoggedQuery(f"l{number}", f"search {number}", 1) for number in range(40)])
    asked = []
    for seed in (0, 0, 1):
        llm = Writer()
        generate(DOCS[:1], completions, Material(log=log), llm=llm, log_examples=3, temperature=0.5, seed=seed)
        asked.append([line for prompt in llm.asked for line in prompt.splitlines() if line.startswith("- search")])
    assert [len(shown) for shown in asked] == [3, 0, 3]  # what was asked before is not asked again
    assert asked[0] != asked[2]


def test_a_cut_at_a_token_keeps_blanks_and_holds_for_examples_too(completions):
    llm, pair = Writer(), PromptExample("q", "d", "who dug it", " a document ")
    docs, settings = [Doc("0", "  blanks around it  ")], {"max_doc_tokens": 10, "cut": "tokens"}
    generate(docs, completions, Material([pair]), llm=llm, prompt=("promptagator",), **settings)
    assert llm.asked == ["Document:  a documen\nQuery: who dug it\nDocument:   blanks a\nQuery:"]


def test_an_llm_whose_tokens_are_not_known_cuts_at_none(completions):
    with pytest.raises(
        SettingError, match=r"cut is tokens, and the tokenizer of fake is not available; expected sentence"
    ):
        generate(DOCS, completions, llm=Fake(), cut="tokens")


def test_examples_are_shuffled_for_each_doc_alone(completions):
    pairs = [PromptExample(str(n), str(n), f"query {n}", f"document {n}") for n in range(4)]

    def asked(docs, **settings):
        llm, cache = Writer(), Completions(":memory:")
        generate(docs, cache, Material(pairs), llm=llm, prompt=("promptagator",), **settings)
        return {prompt.rpartition("Document: ")[2]: prompt for prompt in llm.asked}

    plain, shuffled = asked(DOCS), asked(DOCS, shuffle_examples=True)
    assert plain.keys() == shuffled.keys()
    assert len({prompt.rpartition("Document: ")[0] for prompt in plain.values()}) == 1
    assert len({prompt.rpartition("Document: ")[0] for prompt in shuffled.values()}) > 12
    assert all(sorted(plain[doc].splitlines()) == sorted(shuffled[doc].splitlines()) for doc in plain)
    few = asked(DOCS[40:], shuffle_examples=True)
    assert few.items() <= shuffled.items()
    assert asked(DOCS, shuffle_examples=True, seed=1) != shuffled


def test_inpars_keeps_the_first_line_whatever_it_is(completions):
    texts = {
        "1800": ' "1. what was opened" ',
        "1801": " \n ",
        "1802": "\n in this study\nmore",
        "1803": " x",
        "1804": "",
    }

    class Mixed(Writer):
        def answer(self, doc):
            year = doc.split()[-1]
            reason = "content_filter" if year == "1804" else "length"
            return super().answer(doc)._replace(text=texts[year], finish_reason=reason)

    generation = generate(DOCS[:5], completions, llm=Mixed(), cleaning="inpars")
    assert [query.text for query in generation.queries] == ['"1. what was opened"', "in this study", "x"]
    assert generation.dropped == {"empty": 1, "refused": 1}


def test_docs_with_braces_and_equal_texts(completions):
    llm = Writer()
    docs = [Doc("a", "{document} {0} {query} 1"), Doc("b", "{document} {0} {query} 1")]
    made = generate(docs, completions, llm=llm, prompt=("inpars",))
    assert len(llm.asked) == 1
    assert "Document: {document} {0} {query} 1\n" in llm.asked[0]
    assert [query.doc_id for query in made.queries] == ["a", "b"]
    assert made.queries[0].query_id != made.queries[1].query_id
    assert made.tokens["prompt"] == 9


def test_no_docs_and_no_logprobs(completions):
    class Silent(Writer):
        def answer(self, doc):
            return super().answer(doc)._replace(logprobs=())

    assert generate([], completions, llm=Writer()).queries == []
    assert math.isnan(generate(DOCS[:1], completions, llm=Silent()).queries[0].logprob)


def test_progress_counts_to_the_end(completions):
    seen = []
    generate(DOCS, completions, llm=Writer(), per_doc=2, progress=lambda done, total: seen.append((done, total)))
    assert [total for _, total in seen] == [100] * len(seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (100, 100)


def test_each_batch_holds_one_prompt_and_each_query_says_whose_it_is(completions):
    class ByCue(Writer):
        def complete(self, prompts):
            cues = {prompt.rpartition("\n")[2] for prompt in prompts}
            assert len(cues) == 1
            answers = super().complete(prompts)
            return [answer._replace(text=f"{answer.text} {cues}".lower().replace("words", "")) for answer in answers]

    made = generate(DOCS, completions, llm=ByCue(), per_doc=3)
    assert len(made.queries) == 150
    by_doc = {}
    for query in made.queries:
        by_doc.setdefault(query.doc_id, set()).add(query.prompt)
    assert list(by_doc) == [doc.doc_id for doc in DOCS]
    assert all(prompts == {"question", "keyword", "claim"} for prompts in by_doc.values())


def test_two_prompts_with_one_answer_make_one_query(completions):
    made = generate(DOCS, completions, llm=Writer(), per_doc=3)
    assert len(made.queries) == 50
    assert made.dropped == {"same query twice": 100}


def test_an_estimate_bounds_the_run_and_loads_nothing(completions):
    mix = prompts.load_mix(("question", "keyword", "claim"))
    texts = {doc.doc_id: doc.default_text() for doc in DOCS}
    guess = calls_of(texts, mix, 1, is_drawn=False, max_new_tokens=40)
    assert guess.calls == 50
    assert guess.completion_tokens == 50 * 40
    assert 50 * 200 < guess.prompt_tokens < 50 * 600
    assert calls_of({}, mix, 1, is_drawn=False, max_new_tokens=40) == (0, 0, 0)


def test_settings_are_checked_shared_and_described(completions):
    with pytest.raises(SettingError, match="max_doc_tokens is 0"):
        generate(DOCS, completions, llm=Writer(), max_doc_tokens=0)
    with pytest.raises(SettingError, match="no prompt"):
        generate(DOCS, completions, llm=Writer(), prompt="nope")
    documentation = inspect.getdoc(generate) or ""
    for name, parameter in inspect.signature(generate).parameters.items():
        assert parameter.kind != parameter.KEYWORD_ONLY or f"\n{name}\n    " in documentation


def test_prompts_come_apart_by_the_order_of_their_examples_where_enough_share_one():
    pairs = [PromptExample(str(n), str(n), f"query {n}", f"document {n}") for n in range(3)]
    mix = prompts.load_mix(["promptagator"], Material(pairs))

    def sizes(count, shuffle_seed):
        texts = {str(n): f"text {n}" for n in range(count)}
        groups = list(group_tasks(list(tasks_of(texts, mix, 1, is_drawn=False, shuffle_seed=shuffle_seed))))
        assert sorted(task.doc_id for group in groups for task in group) == sorted(texts)
        return [len({task.prompt.prefix for task in group}) for group in groups]

    assert sizes(100, None) == [1]
    assert sizes(100, 0) == [1] * 6
    assert sizes(40, 0) == [6]


def test_an_llm_decodes_as_the_prompt_and_the_sample_say(tmp_path):
    class Listening(FakeLLM):
        def decoding_as(self, decoding):
            heard.append(decoding)
            return self

    heard: list[Decoding] = []
    prompt = replace(prompts.load("inpars"), stop=("END",), chat=True)
    with Completions(tmp_path / "completions.sqlite") as completions:
        ask(Listening(), Decoding(9, temperature=0.5), completions, [Task("d", prompt, 2, "Document: a text")])
    assert heard == [Decoding(9, stop=("END",), temperature=0.5, sample=2, chat=True)]
