"""Seeds: who is asked for what, which pairs of questions are none, and what becomes of all others."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.errors import SettingError
from acclimate.base.testing import FakeLLM
from acclimate.llm import Completions, prompts
from acclimate.llm.answers.clean import clean
from acclimate.llm.decoding import Decoding
from acclimate.llm.prompts.adapted import Pair, are_alike, deal, template_of
from acclimate.llm.prompts.files import write_toml
from acclimate.records import Completion, Doc
from acclimate.stages.seed import _add_bad, fewest_docs, seed_prompts

DOCS = [Doc(str(n), f"the mine number {n} was opened by somebody in {1800 + n}") for n in range(40)]
FORM = ("inpars", "inpars-gbq")
FIVE = ("zero-shot-question", "inpars-gbq", "inpars", "zero-shot-query", "zero-shot-answer")


class Asker(FakeLLM):
    """Asks about the last document, whatever it is called, in words of the prompt's kind."""

    fingerprint = "asker"

    def __init__(self):
        self.asked = []

    def complete(self, texts):
        self.asked += texts
        return [self._answer(text) for text in texts]

    def _answer(self, prompt):
        answer = super()._answer(prompt.replace("Passage:", "Document:"))
        if prompt.endswith("Bad Question:"):
            return answer
        return answer._replace(text=f" {answer.text} kind {len(prompt) % 97} {prompt[:12].split()[-1]}?")


@pytest.fixture
def completions(tmp_path):
    with Completions(tmp_path / "c.sqlite") as cache:
        yield cache


def test_the_five_prompts_of_udapdr_are_there_and_differ():
    cues = {name: prompts.load(name).render("TEXT").partition("TEXT")[0].splitlines()[-1] for name in FIVE}
    assert list(cues.values()) == ["Passage: ", "Document: ", "Document: ", "Document: ", "Passage: "]
    assert len({prompts.load(name).fingerprint for name in FIVE}) == 5


def test_questions_are_asked_and_prompts_made_as_the_settings_say(completions):
    decodings = set()

    class Told(Asker):
        def decoding_as(self, decoding):
            decodings.add(replace(decoding, stop=(), chat=False))
            return self

    llm, settings = Told(), {"max_new_tokens": 32, "temperature": 0.7, "top_p": 0.95, "seed": 4}
    docs = [doc._replace(text=f"{doc.text} uncut") for doc in DOCS]
    made = seed_prompts(docs, completions, llm=llm, n_docs=12, n_prompts=2, max_doc_tokens=8, **settings)
    assert decodings == {Decoding(**settings, stop=())}
    shown = [row["document"] for template in made.templates for row in template.examples or ()]
    assert all(len(text.split()) == 8 for text in shown)
    assert not any("uncut" in text for text in llm.asked)


def test_too_few_seeds_is_an_error_that_says_how_many_are_needed(completions):
    class Dull(FakeLLM):
        """Its bad questions are its good ones."""

        fingerprint = "dull"

        def complete(self, texts):
            return super().complete([text.partition(" what about")[0] for text in texts])

    with pytest.raises(SettingError, match=r"seed.n_docs is 14; 5 prompts of 3 examples need 15"):
        seed_prompts(DOCS, completions, llm=FakeLLM(), n_docs=14)
    assert len(completions) == 0
    with pytest.raises(
        SettingError, match=r"0 of 20 seeds can be used \(good and bad alike 20\).*need 15 of them: raise"
    ):
        seed_prompts(DOCS, completions, llm=Dull(), n_docs=20, prompt=FORM)
    counted = []
    count = lambda done, total: counted.append((done, total))  # noqa: E731
    made = seed_prompts(DOCS, completions, llm=FakeLLM(), n_docs=20, seed=3, prompt=FORM, progress=count)
    assert [done for done, _ in counted] == sorted(done for done, _ in counted)
    assert counted[-1] == (40, 40)  # whoever counts knows that nothing is left to ask
    again = seed_prompts(DOCS[::-1], completions, llm=FakeLLM(), n_docs=20, seed=3, prompt=FORM)
    assert made.templates == again.templates
    assert made.templates != seed_prompts(DOCS, completions, llm=FakeLLM(), n_docs=20, seed=4, prompt=FORM).templates
    assert made.dropped == {"not needed": 5}


def test_documents_are_drawn_by_seed_and_all_answers_are_paid_for(completions):
    paid = Counter()

    class Paid(FakeLLM):
        def complete(self, texts):
            answers = super().complete(texts)
            for answer in answers:
                paid.update(prompt=answer.prompt_tokens, completion=answer.completion_tokens)
            return answers

    drawn = []
    for seed in (3, 4):
        made = seed_prompts(DOCS, completions, llm=Paid(), n_docs=16, seed=seed, prompt=FORM)
        assert drawn or made.tokens == paid  # later answers are stored
        drawn.append({pair.doc_id for pair in made.seeds})
    assert [len(doc_ids) for doc_ids in drawn] == [16, 16]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    ("answer", "finish_reason", "reason"),
    [("lighthouse oil", "stop", ""), ("lighthouse oil", "length", "no bad question"), (" ", "stop", "no bad question")],
)
def test_a_bad_question_is_one_that_was_finished(answer, finish_reason, reason):
    pair = Pair("d", "p", "Which fuel did the lighthouse burn?")
    _add_bad(pair, Completion(answer, (), 1, 1, finish_reason))
    assert pair.reason == reason


def test_each_document_may_be_shown_to_each_prompt(completions):
    llm = Asker()
    made = seed_prompts(DOCS, completions, llm=llm, prompt=FIVE, n_docs=5, per_doc=5, n_prompts=5)
    assert Counter(pair.prompt for pair in made.seeds) == dict.fromkeys(FIVE, 5)
    assert set(Counter(pair.doc_id for pair in made.seeds).values()) == {5}
    questions = [(row["document"], row["query"]) for template in made.templates for row in template.examples]
    assert len(questions) == len(set(questions)) == 15
    assert all(len({row["document"] for row in template.examples}) == 3 for template in made.templates)
    bad = [prompt for prompt in llm.asked if prompt.endswith("Bad Question:")]
    assert len(bad) == 25 and all("\nGood Question: what about" in prompt for prompt in bad)
    assert all(pair.row().keys() >= {"doc_id", "prompt", "good", "bad"} for pair in made.seeds)
    assert all(bool(pair.shown_in) != bool(pair.reason) for pair in made.seeds)  # what was paid for is used, or why not


def test_a_question_that_two_prompts_got_of_a_document_counts_once(completions):
    made = seed_prompts(DOCS, completions, llm=FakeLLM(), prompt=FORM, n_docs=20, per_doc=2)
    assert made.dropped == {"not needed": 5, "same question twice": 20}


@pytest.mark.parametrize(
    ("per_doc", "temperature", "fewest"), [(1, 0.0, 15), (2, 0.0, 8), (9, 0.0, 8), (9, 1.0, 3), (3, 1.0, 5)]
)
def test_the_fewest_documents_follow_from_the_questions_that_each_can_get(per_doc, temperature, fewest):
    settings = {"n_prompts": 5, "n_examples": 3, "prompt": FORM, "per_doc": per_doc, "temperature": temperature}
    assert fewest_docs(**settings) == fewest


@given(st.lists(st.integers(0, 6), max_size=9), st.integers(1, 6), st.integers(1, 4), st.integers(0, 9))
def test_seeds_are_dealt_without_reuse_as_long_as_it_can_be_done(counts, n_prompts, n_examples, seed):
    pairs = [Pair(str(doc), "p", f"good {doc} {n}") for doc, count in enumerate(counts) for n in range(count)]
    if sum(min(count, n_prompts) for count in counts) < n_prompts * n_examples:
        with pytest.raises(SettingError, match=rf"need {n_prompts * n_examples} of them"):
            deal(pairs, n_prompts, n_examples, seed)
        return
    hands = deal(pairs, n_prompts, n_examples, seed)
    assert [len(hand) for hand in hands] == [n_examples] * n_prompts
    assert all(len({pair.doc_id for pair in hand}) == n_examples for hand in hands)
    used = [pair.good for hand in hands for pair in hand]
    assert len(used) == len(set(used))


def test_another_seed_shows_other_documents():
    pairs = [Pair(str(doc), "p", f"good {doc}") for doc in range(9)]
    assert len({str(deal(pairs, 1, 3, seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("good", "bad", "alike"),
    [
        ("Which fuel did the lighthouse burn?", "when was it lit", False),
        ("Which fuel did the lighthouse burn?", "which fuel did, the light show need", True),  # twenty characters
        ("How strongly does copper harm soil?", "copper strongly harm soil how", True),
        ("who dug it", "who", False),
        ("who dug it now", "now it is", False),  # half of the words
        ("tones and stones", "notes on a sand", False),  # they share their letters only
        ("What? Why?", "what, why!", True),
    ],
)
def test_questions_are_alike_by_their_words_and_not_by_their_letters(good, bad, alike):
    assert are_alike(good, bad) is alike


@pytest.mark.parametrize("cue", [True, False])
def test_a_prompt_of_the_corpus_has_three_examples_and_ends_with_its_cue_or_the_document(tmp_path, cue):
    pairs = [Pair(str(n), "p", f"good {n}", f"bad {n}") for n in (1, 2, 3)]
    template = template_of("adapted-1", pairs, {str(n): f"text {n}" for n in (1, 2, 3)}, cue=cue)
    shown = "".join(
        f"Example {n}:\nDocument: text {n}\nGood Question: good {n}\nBad Question: bad {n}\n\n" for n in (1, 2, 3)
    )
    write_toml(tmp_path / "adapted-1.toml", template)
    assert (
        prompts.load(tmp_path / "adapted-1.toml").render("mine")
        == shown + "Example 4:\nDocument: mine" + "\nGood Question:" * cue
    )


def test_an_answer_without_a_cue_loses_its_label_and_ends_where_the_bad_question_begins():
    template = template_of("adapted-1", [], {}, cue=False)
    for text in (
        "\nGood Question: who dug the mine\nBad Question: mine",
        "Good Question: who dug the mine bad question: x",
    ):
        begin, end, is_whole = Decoding(stop=template.stop).span(text)
        assert is_whole
        assert clean(text[begin:end], "a mine that somebody dug", "stop") == ("who dug the mine", None)
