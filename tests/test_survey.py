"""A sample of the documents decides whether they are split into passages."""

from __future__ import annotations

import pytest

from acclimate.corpus.collections import Collection
from acclimate.corpus.documents import Corpus
from acclimate.corpus.survey import passage_words, warnings
from acclimate.records import Doc
from acclimate.run.input import Input
from acclimate.run.provided import Provided
from acclimate.run.recipes import load_recipe
from acclimate.run.run import Run
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES, adapt
from acclimate.stages.runs import load_run, new_run

ENCODER = "embedded:all-minilm-l6-v2"


def corpus_of(*lengths: int, word: str = "lava") -> dict[str, Doc]:
    """Documents of so many words."""
    return {str(number): Doc(str(number), f"{word} " * length) for number, length in enumerate(lengths)}


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        (corpus_of(*[900] * 5), 150),
        (corpus_of(*[200] * 5), 0),
        (corpus_of(*[100] * 99, 1_000_000), 0),  # one book among notes, though it is nearly all of the text
        (corpus_of(*[2000] * 6, *[10] * 4), 150),
        (corpus_of(*[900] * 5, word="熔岩"), 150),  # two characters are more than a token
        (corpus_of(*[200] * 5, word="熔岩"), 0),
        (corpus_of(0, 0), 0),
        ({}, 0),
    ],
    ids="long short one-book mostly-long Chinese short-Chinese empty none".split(),
)
def test_documents_are_split_if_little_of_the_average_one_is_read(corpus, words):
    assert passage_words(corpus, 256) == words
    assert any("index.passage_words=150" in warning for warning in warnings(corpus, "none", ENCODER, 256)) == (
        words > 0
    )
    assert passage_words(corpus, 1_000_000) == 0


def test_what_a_sample_shows_is_of_the_whole_corpus():
    assert passage_words(corpus_of(*[10] * 900, *[2000] * 2100), 256) == 150
    assert passage_words(corpus_of(*[2000] * 900, *[10] * 2100), 256) == 0


@pytest.mark.parametrize("n_others", [3, 4, 5])
def test_most_documents_are_more_than_half_of_them(n_others):
    texts = ["<p>The lava of the volcano is hot, and it is near to the sea.</p><p>x</p><p>y</p>"] * 4
    others = ["Die Lava des Vulkans ist heiß, und sie ist nicht weit von dem Meer."] * n_others
    corpus = {str(number): Doc(str(number), text) for number, text in enumerate([*texts, *others])}
    said = "".join(warnings(corpus, "en", ENCODER, 256))
    assert ("HTML tags" in said) == (n_others < 4)
    assert ("look like German" in said) == (n_others > 4)


@pytest.mark.parametrize(
    ("text", "language", "encoder", "others"),
    [
        ("The lava of the volcano is hot, and it is near to the sea.", "en", ENCODER, []),
        ("Die Lava des Vulkans ist heiß, und sie ist nicht weit von dem Meer.", "de", ENCODER, ["German"]),
        ("Die Lava des Vulkans ist heiß, und sie ist nicht weit von dem Meer.", "none", ENCODER, ["German"]),
        ("Die Lava des Vulkans ist heiß, und sie ist nicht weit von dem Meer.", "de", "some/model", []),
        ("printVolcano(lava) は火山の溶岩を表示します。", "en", ENCODER, ["Japanese", "Japanese"]),
        ("ulava volkano", "fi", ENCODER, ["Finnish"]),  # which is not detected, so it is what was set
        ("ulava volkano", "none", ENCODER, []),
    ],
)
def test_english_models_are_not_for_other_languages(text, language, encoder, others):
    corpus = {str(number): Doc(str(number), text) for number in range(9)}
    said = warnings(corpus, language, encoder, 256)
    assert [next(name for name in ("German", "Japanese", "Finnish") if name in warning) for warning in said] == others
    assert (not others) == ("embedded models are English" not in "".join(said))


def test_the_decision_is_said_and_stored_and_holds_for_what_comes_later(tmp_path, tiny_encoder, caplog):
    source, out = tmp_path / "docs", tmp_path / "run"
    source.mkdir()

    def write(name: str, words: int) -> None:
        (source / name).write_text(" ".join(f"{name}{number}" for number in range(words)))

    def indexed(run: Run) -> tuple[int, str, bool]:
        caplog.clear()
        adapt(run, until="index")
        is_said = "split into passages of 150 words" in caplog.text
        return load_run(out).settings["index"]["passage_words"], run.input.unit, is_said

    for number in range(3):
        write(f"{number}.txt", 400)
    caplog.set_level("INFO")
    small = ["index.max_tokens=40", "index.tokens=none", f"distill.base={tiny_encoder}"]
    begun = new_run(out, str(source), resolve(STAGES, load_recipe("quick"), small), recipe="quick", seed=0)
    assert indexed(begun) == (150, "passages", True)
    for number in range(3, 30):
        write(f"{number}.txt", 5)
    assert indexed(load_run(out)) == (150, "passages", False)
    assert indexed(load_run(out, ["index.passage_words=auto"])) == (0, "documents", False)


def test_provided_training_examples_name_whole_documents(tmp_path):
    long = Corpus.of(list(corpus_of(*[900] * 5).values()))
    for provided, words, expected in (
        (Provided(), "auto", 150),
        (Provided(from_queries="q"), "auto", 150),
        (Provided(from_nway="n"), "auto", 0),
        (Provided(from_nway="n"), 150, 150),
    ):
        source = Input("name", "source", provided, tmp_path, words, max_tokens=256)
        source.collection = Collection("name", long, [], {})
        assert source.passage_words == expected
