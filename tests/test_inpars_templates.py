"""Templates of the InPars toolkit, static and dynamic: each renders as the toolkit renders it."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from test_prompts import EXAMPLES

from acclimate.base.errors import DataError, SettingError
from acclimate.llm import prompts
from acclimate.records import PromptExample

YAML = """
plain:
  mode: static
  template: |
    {odd: braces}
    Document: a text
    Relevant Query: a query

    Document: {document}
    Relevant Query:
dynamic:
  mode: dynamic
  template: |
    Document: {document}
    Relevant Query: {query}
"""


def test_inpars_templates_are_read_as_the_toolkit_fills_them(tmp_path):
    path = tmp_path / "C#" / "templates.yaml"
    path.parent.mkdir()
    path.write_text(YAML)
    plain = prompts.load(f"{path}#plain")
    assert plain.render("{document} {query}") == (
        "{odd: braces}\nDocument: a text\nRelevant Query: a query\n\nDocument: {document} {query}\nRelevant Query:"
    )
    dynamic = prompts.load(f"{path}#dynamic", EXAMPLES[:2])
    assert dynamic.render("mine") == (
        "Document: a document about 1\nRelevant Query: query 1\n"
        "Document: a document about 2\nRelevant Query: query 2\n"
        "Document: mine\nRelevant Query:"
    )
    with pytest.raises(SettingError, match=r"holds \['plain', 'dynamic'\]; name one: .*#plain"):
        prompts.load(path)
    with pytest.raises(SettingError, match="no template 'dynamick'"):
        prompts.load(f"{path}#dynamick")
    with pytest.raises(SettingError, match="examples of your task"):
        prompts.load(f"{path}#dynamic")
    assert [prompt.name for prompt in prompts.load_mix([f"{path}#plain:2", "claim"]).prompts] == ["plain", "claim"]


PAIR = [PromptExample("1", "1", "q1 {query}", "one\n"), PromptExample("2", "2", "q2", "two {document}")]
ODD_DOCUMENTS = [
    "plain",
    "{document} {query} {} {{x}}",
    "two\n\nlines",
    "blank at the end \n",
    " no title",
    "é中文 “q”\u200b",
]
DYNAMIC = [  # template, what two examples come to, what is before and behind the document at the end
    (
        "Text: {document}\nAsked: {query}\n",
        "Text: one\n\nAsked: q1 {query}\nText: two {document}\nAsked: q2\n",
        "Text: ",
        "\nAsked:",
    ),
    (
        "Text: {document}\nAsked:{query}\n",
        "Text: one\n\nAsked:q1 {query}\nText: two {document}\nAsked:q2\n",
        "Text: ",
        "\nAsked:",
    ),
    (
        "Text: {document}\nAsked: {query}",
        "Text: one\n\nAsked: q1 {query}Text: two {document}\nAsked: q2",
        "Text: ",
        "\nAsked:",
    ),
    (
        "{document}\nGood: {query}\nBad:\n\n",
        "one\n\nGood: q1 {query}\nBad:\n\ntwo {document}\nGood: q2\nBad:\n\n",
        "",
        "\nGood: \nBad:",
    ),
    (
        "Q: {query}\nText: {document} !\n",
        "Q: q1 {query}\nText: one\n !\nQ: q2\nText: two {document} !\n",
        "Q: \nText: ",
        " !",
    ),
]


@pytest.mark.parametrize(("template", "shown", "before", "behind"), DYNAMIC)
@pytest.mark.parametrize("document", ODD_DOCUMENTS)
def test_a_dynamic_template_renders_as_the_toolkit_renders_it(tmp_path, template, shown, before, behind, document):
    path = tmp_path / "t.yaml"
    path.write_text(json.dumps({"mine": {"mode": "dynamic", "template": template}}))
    assert prompts.load(path, PAIR).render(document) == shown + before + document + behind


STATIC = [  # template, what is before and behind the document
    ("A {json: 1}\nText: {document}\nAsked: {query}\n", "A {json: 1}\nText: ", "\nAsked:"),
    ("Text: {document}\nAsked:{query}", "Text: ", "\nAsked:"),
    ("Text: {document}\nAsked:", "Text: ", "\nAsked:"),
    ("Asked: {query}\nText: {document}.\n\n", "Asked: \nText: ", "."),
    ("Text: {document}\nGood: {query}\nBad: \n", "Text: ", "\nGood: \nBad:"),
    ("\n{document}\nAsk:\u00a0\t", "\n", "\nAsk:"),
]


@pytest.mark.parametrize(("template", "before", "behind"), STATIC)
@pytest.mark.parametrize("document", ODD_DOCUMENTS)
def test_a_static_template_renders_as_the_toolkit_renders_it(tmp_path, template, before, behind, document):
    for path, text in (
        (tmp_path / "t.yaml", json.dumps({"mine": {"mode": "static", "template": template}})),
        (tmp_path / "t.txt", template),
        (tmp_path / "crlf.txt", template.replace("\n", "\r\n")),
    ):
        path.write_bytes(text.encode())
        assert prompts.load(path).render(document) == before + document + behind


@pytest.mark.parametrize("template", ["{document}", "{document}\n{query}\n", "{query}{document} \n"])
def test_blanks_that_would_end_a_prompt_are_stripped_even_of_the_document(tmp_path, template):
    path = tmp_path / "t.txt"
    path.write_text(template)
    assert prompts.load(path).render(" text \u00a0\n") == " text"


@pytest.mark.parametrize("end", ["\nAsked:\n", "\nAsked: ", ""])
def test_a_template_of_inpars_v1_keeps_its_end_as_its_scripts_do(tmp_path, end):
    path = tmp_path / "mine.txt"
    path.write_text(f"Read {{this}}.\n{{document_text}}{end}")
    assert prompts.load(path).render("{document_text}.") == f"Read {{this}}.\n{{document_text}}.{end}"
    path.write_text("Ask:")
    with pytest.raises(DataError, match=re.escape("no {document}")):
        prompts.load(path)


def test_examples_come_in_an_order_of_each_document():
    prompt = prompts.load("promptagator", EXAMPLES)
    orders = {doc_id: prompt.shuffled(3, doc_id) for doc_id in map(str, range(60))}
    assert Counter(order.shots.index(prompt.shots[0]) for order in orders.values()).keys() == {0, 1, 2}
    assert len({order.prefix for order in orders.values()}) == 6
    assert all(sorted(order.prefix) == sorted(prompt.prefix) for order in orders.values())
    assert orders["7"].prefix == prompt.shuffled(3, "7").prefix
    assert any(orders[doc_id].prefix != prompt.shuffled(4, doc_id).prefix for doc_id in orders)
    numbered = prompts.load("inpars").shuffled(0, "x").prefix
    assert re.findall(r"^Example (\d):", numbered, re.MULTILINE) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not YAML"),
        ("- a", "expected InPars templates"),
        ("a: {mode: odd, template: x}", "expected mode"),
        ("a: {mode: static, template: x}", "no {document}"),
        ("a: {mode: dynamic, template: 'x {document}'}", "needs {document} and {query}"),
        ("a: !!python/object/apply:os.system ['true']", "expected mode"),
    ],
)
def test_a_yaml_file_that_is_no_template_is_refused_and_runs_nothing(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=re.escape(said)):
        prompts.load(path)
