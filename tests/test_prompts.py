"""Prompt files, and what becomes of a document in them."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import FakeLLM
from acclimate.llm import prompts
from acclimate.llm.completions import Completions
from acclimate.llm.grade import MAX_DOC_TOKENS, grade
from acclimate.llm.prompts.files import Template, write_toml
from acclimate.records import Doc, PromptExample, SyntheticQuery

EXAMPLES = [PromptExample(str(n), str(n), f"query {n}", f"a document about {n}") for n in (1, 2, 3)]
LABELLED = "arguana dbpedia-entity fever fiqa hotpotqa nfcorpus scidocs scifact trec-covid webis-touche2020".split()
GOOD = """
name = "mine"
description = "for a test"
instruction = "Write {json: true}.\\n"
example = "Doc {number}: {document}\\nQ: {query}\\n"
target = "Doc {number}: {document}\\nQ:"
[[examples]]
document = "a {query} b"
query = "{document}?"
"""


@pytest.mark.parametrize("name", prompts.names())
@given(document=st.text())
def test_a_document_goes_through_unchanged_and_the_cue_comes_last(name, document):
    prompt = prompts.load(name, EXAMPLES)
    cue = prompt.target.rpartition("{document}")[2]
    rendered = prompt.render(document)
    assert rendered.startswith(prompt.prefix)
    if not cue:  # blanks would end the prompt, and are not shown
        document = document.rstrip()
    assert rendered.endswith(document + cue)
    assert rendered == rendered.rstrip(" \t")
    assert rendered.count(document) >= 1


@pytest.mark.parametrize("name", prompts.names())
def test_built_in_prompts_are_named_described_and_filled(name):
    prompt = prompts.load(name, EXAMPLES)
    assert name in (prompt.name, *(f"{prompt.name}-{label}" for label in LABELLED))
    assert prompt.description
    assert not re.search(r"\{(document|query|number)\}", prompt.render("some text"))
    assert len(prompt.prefix) < 450 * 5  # about 450 tokens: every document pays for attending to it


def test_the_default_has_the_structure_of_inpars():
    shape = re.findall(r"^(Example \d:|Document:|Relevant Query:)", prompts.load("inpars").render("text"), re.MULTILINE)
    assert shape == [label for n in range(1, 5) for label in (f"Example {n}:", "Document:", "Relevant Query:")]


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(GOOD)
    prompt = prompts.load(str(path))
    assert prompt.render("{number} {document} {}") == (
        "Write {json: true}.\nDoc 1: a {query} b\nQ: {document}?\nDoc 2: {number} {document} {}\nQ:"
    )
    assert prompt.stop == ("\n",)
    renamed = tmp_path / "renamed.toml"
    renamed.write_text(GOOD.replace("mine", "yours"))
    assert prompts.load(renamed).fingerprint == prompt.fingerprint
    renamed.write_text(GOOD.replace("Q:", "Question:"))
    assert prompts.load(renamed).fingerprint != prompt.fingerprint
    read = [{"hints": "x"}, {"instruction": "x"}, {"target": "{document}"}, {"stop": ("x",)}, {"chat": not prompt.chat}]
    assert len({prompt.fingerprint, *(replace(prompt, **one).fingerprint for one in read)}) == 6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('target = "Doc {number}: {document}', 'target = "Doc', "target has no {document}"),
        ('\\nQ:"', '\\nQ: "', "ends with a blank"),
        ("target =", "tarket =", r"unknown keys \['tarket'\]"),
        ('query = "{document}?"', "query = 3", "query is 3; expected a text"),
        ("Q: {query}", "Q:", "example.* needs {document} and {query}"),
        ('name = "mine"', "name mine", "not TOML"),
        ('name = "mine"', 'stop = ["a", ""]', "expected a list of texts"),
        ('name = "mine"', 'chat = "yes"', "expected true or false"),
        ('name = "mine"', "labels = { a = 1 }", "expected a table with `default`"),
    ],
)
def test_a_file_that_is_no_prompt_is_refused_by_name(tmp_path, old, new, message):
    path = tmp_path / "own.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(DataError, match=message) as error:
        prompts.load(path)
    assert str(error.value).startswith(str(path))


def test_what_a_file_holds_is_told_by_its_suffix_in_any_case(tmp_path):
    (tmp_path / "p.TOML").write_text('target = "{document}\\nQuery:"')
    assert prompts.template(tmp_path / "p.TOML").target == "{document}\nQuery:"
    (tmp_path / "p.YAML").write_text("a: {mode: static, template: 'Read {document} and ask:'}")
    assert prompts.template(f"{tmp_path / 'p.YAML'}#a").name == "a"
    (tmp_path / "p.Json").write_text('{"target": "{document}"}')
    with pytest.raises(DataError, match="JSON holds no prompt; expected TOML"):
        prompts.template(tmp_path / "p.Json")
    (tmp_path / "p.toml").write_text("chat = true")
    with pytest.raises(DataError, match="no target; expected one"):
        prompts.template(tmp_path / "p.toml")


def test_an_unknown_name_gets_a_suggestion_and_a_missing_file_its_path(tmp_path):
    with pytest.raises(SettingError, match="Did you mean 'inpars'"):
        prompts.load("inparz")
    with pytest.raises(DataError, match=r"none\.toml: no such file"):
        prompts.load(tmp_path / "C#" / "none.toml")


TYPES = ["question", "keyword", "claim", "title", "conversational", "long", "msmarco"]


@pytest.mark.parametrize("name", TYPES)
def test_the_query_types_share_their_documents_and_differ_in_their_queries(name):
    pool = tomllib.loads((Path(prompts.__file__).parent / "examples.toml").read_text())["documents"]
    prefix = prompts.load(name).prefix
    for document in pool:
        assert document["text"] in prefix
        assert sorted(document) == sorted(["text", *TYPES])
        assert [document[kind] in prefix for kind in TYPES] == [kind == name for kind in TYPES]


def test_a_type_of_examples_that_does_not_exist_is_named(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('examples = "haiku"\nexample = "{document} {query}"\ntarget = "{document}:"')
    with pytest.raises(DataError, match=r"'haiku'.*keyword"):
        prompts.load(path)


def test_a_mix_shares_documents_out_in_proportion_and_by_id_alone():
    mix = prompts.load_mix(("question", "keyword:2", "claim:1.0"))
    ids = [str(n) for n in range(4000)]
    counted = Counter(prompt.name for doc_id in ids for prompt, _ in mix.share_out(doc_id))
    assert counted["keyword"] == pytest.approx(2000, abs=120)
    assert counted["question"] == pytest.approx(1000, abs=120)
    assert mix.share_out("7") == prompts.load_mix(("question", "keyword:2", "claim")).share_out("7")


def test_the_prompts_made_of_a_corpus_divide_the_share_of_their_name(tmp_path):
    paths = [tmp_path / f"{name}.toml" for name in ("one", "two")]
    for path in paths:
        path.write_text(GOOD.replace("mine", path.stem))
    mix = prompts.load_mix(("adapted:3", "question"), prompts.Material(adapted=paths))
    assert mix.shares == (1.5, 1.5, 1.0)


@pytest.mark.parametrize("wanted", [("question", "keyword", "claim"), ("question:9", "keyword", "claim:0.1")])
def test_a_document_meets_each_prompt_once_before_any_twice(wanted):
    mix = prompts.load_mix(wanted)
    for doc_id in map(str, range(50)):
        assert len({prompt.name for prompt, _ in mix.share_out(doc_id, 2)}) == 2
        assert sorted((prompt.name, at) for prompt, at in mix.share_out(doc_id, 3)) == [
            ("claim", 0),
            ("keyword", 0),
            ("question", 0),
        ]
        assert sorted(at for _, at in mix.share_out(doc_id, 9)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert mix.share_out(doc_id, 1)[0] == mix.share_out(doc_id, 3)[0]
    orders = {tuple(prompt.name for prompt, _ in mix.share_out(doc_id, 3)) for doc_id in map(str, range(500))}
    assert len(orders) == 6


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ((), "one or more prompts"),
        (("keyword", "keyword:2"), "each once"),
        (("keyword:0",), "no share"),
        (("keyword:-1", "claim"), "no share"),
        (("keywrd",), "'keyword'"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused(wanted, said):
    with pytest.raises(SettingError, match=said):
        prompts.load_mix(wanted)


def test_the_shares_are_part_of_a_mix_fingerprint():
    prints = {prompts.load_mix(wanted).fingerprint for wanted in (("claim",), ("claim", "title"), ("claim", "title:2"))}
    assert len(prints) == 3


def test_promptagator_takes_the_labels_of_the_collection_in_use():
    def ends(name, collection=""):
        return prompts.load(name, EXAMPLES[:1], collection=collection).render("TEXT")

    assert ends("promptagator") == "Document: a document about 1\nQuery: query 1\nDocument: TEXT\nQuery:"
    assert ends("promptagator", "scifact") == "a document about 1\nFinding: query 1\nTEXT\nFinding:"
    assert (
        ends("promptagator-scifact")
        == ends("promptagator", "scifact")
        == ends("promptagator", "irds:beir/scifact/test")
    )
    assert ends("promptagator-webis-touche2020", "scifact").endswith("TEXT\nDebate:")
    assert ends("promptagator-fiqa") == "a document about 1\nquery 1\nTEXT\n"


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(
        st.fixed_dictionaries(
            {
                "document": st.text(st.characters(exclude_categories=["Cs"])),
                "query": st.text(st.characters(exclude_categories=["Cs"])),
            }
        )
    ),
)
def test_a_written_prompt_is_read_back(tmp_path_factory, text, rows):
    path = tmp_path_factory.mktemp("prompts") / "made.toml"
    before = Template("made", text, text, "{document}{query}", "{document}:", ("\n", "x\t"), True, tuple(rows))
    write_toml(path, before)
    assert prompts.template(path) == before


def test_hints_come_first_and_are_part_of_the_fingerprint():
    told = prompts.hints("questions of nurses.", "German", "terse")
    assert told == "The queries serve this purpose: questions of nurses. Write them in German. Their style: terse."
    assert prompts.hints() == ""
    assert [prompts.hints(language=name) for name in ("de", "ZH", "Swiss German")] == [
        f"Write them in {name}." for name in ("German", "Chinese", "Swiss German")
    ]
    plain, hinted = prompts.load("claim"), prompts.load("claim", hints=told)
    assert hinted.render("x") == f"{told}\n\n{plain.render('x')}"
    assert hinted.prefix == plain.prefix  # what examples say is told apart from what was asked for
    assert hinted.fingerprint != plain.fingerprint


def test_queries_of_people_are_shown_as_they_are():
    searches = ["{document} or {query}", "%s {0} {}", "a\\n<|im_end|>"]
    shown = prompts.hints(style="terse", searches=searches)
    assert shown == "Their style: terse.\nPeople here ask like this:\n- " + "\n- ".join(searches)
    assert prompts.hints(searches=["a b"]) == "People here ask like this:\n- a b"
    for name in prompts.names():
        if prompts.template(name).examples is not None:
            plain, hinted = prompts.load(name), prompts.load(name, hints=shown)
            assert hinted.render("x {document}") == f"{shown}\n\n{plain.render('x {document}')}"


def test_a_judge_is_asked_about_both_and_both_go_through_unchanged(tmp_path):
    judge = prompts.judge("grade")
    assert judge.render("{query} a", "{document} b").endswith("Query: {document} b\nDocument: {query} a\nGrade:")
    with pytest.raises(SettingError, match="Did you mean 'grade'"):
        prompts.judge("grad")
    path = tmp_path / "own.toml"
    path.write_text('target = "{document}:"')
    with pytest.raises(DataError, match=re.escape("no {query}")):
        prompts.judge(path)


def test_examples_of_the_user_have_no_bad_queries(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('examples = "yours"\nexample = "{document} {query} {bad_query}"\ntarget = "{document}:"')
    with pytest.raises(DataError, match=re.escape("no {bad_query}")):
        prompts.load(path)


def test_a_grader_reads_the_title_and_no_more_of_a_document_than_it_is_told(tmp_path):
    class Listening(FakeLLM):
        def complete(self, prompts):
            heard.extend(prompts)
            return super().complete(prompts)

    heard: list[str] = []
    documents = {"d": Doc("d", " ".join(f"word{n}" for n in range(2 * MAX_DOC_TOKENS)), "A Title")}
    with Completions(tmp_path / "completions.sqlite") as completions:
        grade([SyntheticQuery("q", "why", "d", -1.0)], documents, completions, Listening())
    read = heard[0].split()
    assert "A Title word0" in " ".join(read)
    assert sum(word in documents["d"].text.split() for word in read) == MAX_DOC_TOKENS - 2  # of the title
