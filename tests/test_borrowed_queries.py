"""Queries that belong to another document: to a prompt's examples, to the log, or in another language."""

from __future__ import annotations

import unicodedata

import pytest
from test_generate import DOCS, Writer

from acclimate.corpus.language import language_of, language_of_most
from acclimate.corpus.query_log import LoggedQuery, QueryLog
from acclimate.llm.answers.clean import clean
from acclimate.llm.completions import Completions
from acclimate.llm.prompts import Material
from acclimate.stages.generate import generate


@pytest.fixture
def completions(tmp_path):
    with Completions(tmp_path / "completions.sqlite") as cache:
        yield cache


LOG = QueryLog([LoggedQuery("1", "What was  OPENED in 1803", 9), LoggedQuery("2", "{document} %s sulphur trench", 5)])


def test_prompts_show_queries_of_the_log_and_nobody_copies_them(completions):
    material = Material(log=LOG)
    without = generate(DOCS, completions, material, llm=Writer())
    assert without.queries == generate(DOCS, completions, llm=Writer(), log_examples=3).queries  # there is no log
    writer = Writer()
    shown = generate(DOCS, completions, material, llm=writer, log_examples=3)
    asked = [prompt for batch in writer.batches for prompt in batch]
    assert len(asked) == 50
    assert all(
        prompt.startswith("People here ask like this:\n- ")
        and "- What was  OPENED in 1803\n" in prompt
        and "- {document} %s sulphur trench\n" in prompt
        for prompt in asked
    )
    assert shown.dropped == {"copy of an example": 1}
    assert [reject["doc_id"] for reject in shown.rejects] == ["3"]
    assert set(without.queries) - set(shown.queries) == {query for query in without.queries if query.doc_id == "3"}


def test_what_only_the_log_speaks_of_is_no_query_for_a_document(completions):
    class Borrower(Writer):
        def answer(self, doc):
            return super().answer(doc)._replace(text=" who dug the sulphur trench")

    material = Material(log=LOG)
    assert generate(DOCS[:1], completions, material, llm=Borrower()).dropped == {}
    assert generate(DOCS[:1], completions, material, llm=Borrower(), log_examples=2).dropped == {"from the examples": 1}


@pytest.mark.parametrize(
    ("query", "doc", "language", "is_wrong"),
    [
        ("日本の首都はどこですか", "東京は日本の首都であり、カタカナもひらがなもある。", "", False),
        ("日本の首都はどこですか", "Tokyo is the capital of Japan, and has been for long.", "", True),
        ("日本の首都はどこですか", "Tokyo is the capital of Japan, and has been for long.", "Japanese", False),
        ("was ist die Hauptstadt von Japan", "Tokyo is the capital of Japan, and has been for long.", "", True),
        ("was ist die Hauptstadt von Japan", "Tokyo is the capital of Japan, and has been for long.", "German", False),
        ("what is the capital of Japan", "Tokyo ist die Hauptstadt von Japan und das seit langem.", "german", True),
        ("what is the capital of Japan", "Tokyo is the capital of Japan, and has been for long.", "en", False),
        ("import io in Python", "io.read(io.BytesIO(io)) io io io", "", False),
        ("iPhone 15 Pro Max цена", "Цены на новые телефоны в этом магазине снова выросли.", "", False),
        ("GPT-4 与 BERT 区别", "本文比较大型语言模型的结构和训练方法。", "", False),
        ("what is the capital of Japan", "东京是日本的首都。", "Chinese", True),
        ("Tokyo capital facts", "东京是日本的首都。", "zh", True),
        ("日本的首都是哪里", "Tokyo is the capital of Japan, and has been for long.", "中文", False),
        ("какая столица у Японии", "東京は日本の首都であり。", "Japanese", True),
        ("какая столица у Японии", "東京は日本の首都であり。", "Klingon", False),  # not known, so not checked
        ("Tokyo Hauptstadt Japan", "Tokyo is the capital of Japan, and has been for long.", "", False),
    ],
)
def test_a_query_in_another_language_than_the_one_wanted_is_no_query(query, doc, language, is_wrong):
    assert clean(query, doc, "stop", language=language)[1] == ("wrong language" if is_wrong else None)


@pytest.mark.parametrize(("text", "code"), [("où même été à côté", "fr"), ("für über können", "de"), ("är så", "sv")])
def test_a_language_is_told_however_its_letters_are_written(text, code):
    assert {language_of(unicodedata.normalize(form, text.upper())) for form in ("NFC", "NFD")} == {code}


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["the the the of"], "en"),
        (["the the the the"], None),  # one word, however often
        (["the of der und"], None),  # as many of two languages
        (["is this how you do it", "0 1 2"], "en"),  # half of them are enough
        (["is this how you do it", "0 1 2", "0 1"], None),
        (["آتشفشان چگونه فوران می‌کند"], "fa"),
        (["كيف يثور البركان"], "ar"),
        (["آتش فشاں کیسے پھٹتے ہیں"], None),  # Urdu has Persian's letters, and more
        ([], None),
    ],
)
def test_a_language_is_of_half_of_the_texts_and_of_two_words_or_of_letters(texts, code):
    assert language_of_most(texts) == code


def test_overlap_is_of_words_not_of_letters():
    assert clean("tasty honest tales", "nasty honesty stales tasty", "stop")[1] is None
    assert clean("he is in a new tent at art hall", "she isin anew tentat arthall", "stop")[1] is None


EXAMPLES = "Document: Copper left in vineyard soils harms microbes.\nQuery: what makes copper harm vineyard soil"


@pytest.mark.parametrize(
    ("text", "doc", "borrowed"),
    [
        ("how do nitrates move in vineyard soil", "Nitrates move slowly in clay.", True),
        ("how do nitrates move in vineyard soil", "The soil of a vineyard holds nitrates.", False),
        ("how do nitrates move in clay soil", "Nitrates move slowly in clay.", False),
        ("what makes nitrates move", "Nitrates move slowly in clay.", False),
    ],
)
def test_what_only_the_examples_speak_of_is_no_query_for_a_document(text, doc, borrowed):
    assert clean(text, doc, "stop", EXAMPLES) == (text, "from the examples" if borrowed else None)
    assert clean(text, doc, "stop") == (text, None)
