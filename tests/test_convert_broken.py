"""acclimate convert: what is not as it should be is an error of one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conversions import DOCS, put, quick
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base.errors import AcclimateError, SettingError
from acclimate.corpus.conversion import convert
from acclimate.corpus.formats import pylate, read_any_nway, read_prompt_examples
from acclimate.corpus.formats.registry import BY_NAME, FORMATS, Format, recognize
from acclimate.corpus.formats.source import Source
from acclimate.records import PromptExample

JUNK = st.sampled_from(
    [None, True, -1, 0, 1.5, 10**400, float("nan"), "", "a", [], [[]], [None], {}, {"id": None}, [{}]]
)
ROWS = {
    "documents": {"_id": "1", "title": "", "text": "lava"},
    "queries": {"_id": "1", "text": "why"},
    "qrels": {"query-id": "1", "corpus-id": "2", "score": 1},
    "qas": {"qid": 1, "query": "why", "answer_pids": [1], "answer_scores": [1]},
    "llama-index": {"queries": {"q": "why"}, "corpus": {"d": "lava"}, "relevant_docs": {"q": ["d"]}},
    "synthetic": {"query_id": "q", "doc_id": "d", "query": "why", "log_probs": [-1], "prompt": "p"},
    "inpars": {"doc_id": "d", "query": "why", "text": "lava", "log_probs": [-1]},
    "inpars-v1": {"doc_id": "d", "question": "why", "doc_text": "lava", "log_probs": -1},
    "nway": {"query_id": "q", "doc_ids": ["1", "2"], "scores": [1, 2], "has_positive": True},
    "columns-scores": {"query": "why", "positive": "lava", "negative_1": "snow", "label": [1, 2]},
    "columns-pairs": {"text_a": "why", "text_b": "lava", "label": 1},
    "columns-lists": {"query": "why", "docs": ["lava", "snow"], "labels": [1, 0]},
    "nemo": {"corpus": [{"path": "c"}], "data": [{"question_id": "q", "question": "why", "pos_doc": [{"id": "d"}]}]},
    "gpl-negatives": {"qid": "q", "pos": ["1"], "neg": {"bm25": ["2"]}},
    "udapdr-results": {"qids": [1, 1], "pids": [2, 3], "logits": [1.5, 2], "labels": [1, 0]},
    "flagembedding": {"query": "why", "pos": ["lava"], "neg": ["snow"], "pos_scores": [1], "neg_scores": [0]},
    "tevatron": {"query_id": "q", "query_text": "w", "positive_document_ids": ["1"], "negative_document_ids": ["2"]},
    "tevatron-v1": {"query_id": "q", "query": "w", "positive_passages": [{"docid": "1", "text": "a", "score": 1}]},
    "nemo-inline": {"query": "why", "pos_doc": ["lava"], "neg_doc": ["snow"]},
    "nixietune": {"query": "why", "doc": "lava", "neg": ["snow"]},
    "cohere": {"query": "why", "relevant_passages": ["lava"], "hard_negatives": ["snow"]},
    "ms-swift": {"messages": [{"content": "why"}], "positive_messages": [[{"content": "lava"}]]},
    "colbert-triples": [1, 2, 3],
    "colbert-examples": [1, [2, 0.5], [3, 0.25]],
    "colbert-scores": [1, [[0.5, 2], [0.25, 3]]],
}


def spoiled(value: Any) -> st.SearchStrategy[Any]:
    """A value of which any part is something else, or nothing."""
    if isinstance(value, dict) and value:
        return st.sampled_from(sorted(value)).flatmap(
            lambda name: (
                spoiled(value[name]).map(lambda part: {**value, name: part})
                | st.just({key: item for key, item in value.items() if key != name})
            )
        )
    if isinstance(value, list) and value:
        places = st.integers(0, len(value) - 1)
        return JUNK | places.flatmap(
            lambda n: spoiled(value[n]).map(lambda part: [*value[:n], part, *value[n + 1 :]])
        ) | places.map(lambda n: value[:n] + value[n + 1 :])  # fmt: skip
    return JUNK


def read_all(form: Format, path: Path) -> None:
    content = form.read(path)
    for part in (content.docs, content.queries, *content.qrels.values(), content.run, content.synthetic):
        if part:
            list(part())
    if content.examples:
        list(Source(content, path, documents=dict).examples(ids=False))


@quick
@pytest.mark.parametrize("name", ROWS)
@given(data=st.data())
def test_what_is_not_as_it_should_be_is_an_error_of_one_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: Any
) -> None:
    form = BY_NAME[name]
    path = tmp_path_factory.mktemp("j") / "file"
    read_all(form, put(path, ROWS[name]))
    put(path, *data.draw(st.permutations([ROWS[name], data.draw(spoiled(ROWS[name]))])))
    for action in (lambda: recognize(path), lambda: read_all(form, path)):
        try:
            action()
        except AcclimateError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)


@quick
@given(content=st.binary() | st.text('\t\n "[]{},:01a\ufeff\0').map(str.encode))
def test_bytes_of_no_format_are_an_error_of_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("b") / "file"
    path.write_bytes(content)
    for form in FORMATS:
        try:
            read_all(form, path)
        except AcclimateError as error:
            assert "\n" not in str(error)
    try:
        recognize(path)
    except AcclimateError as error:
        assert str(path) in str(error)


def test_the_page_has_every_format_and_says_which_are_only_read() -> None:
    page = (
        (Path(__file__).parents[1] / "docs" / "files.md").read_text(encoding="utf-8").partition("| format | of whom")[2]
    )
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    names = [name for line in rows for name in line.split("|")[1].replace("`", "").replace(" ", "").split(",")]
    assert names == [form.name for form in FORMATS]
    read_only = {line.split("`")[1] for line in rows if "*read only*" in line}
    assert read_only == {form.name for form in FORMATS if not form.write}


@pytest.mark.parametrize("kind", ["documents", "queries"])
def test_what_may_be_two_things_is_the_one_that_is_expected(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path / "x", {"_id": "1", "text": "lava"}, {"_id": "2", "text": "snow"})
    assert recognize(path, (kind,)).name == kind


def test_the_largest_scores_are_written_from_0_to_1() -> None:
    assert pylate._from_0_to_1((1.7e308, -1.7e308, 0.0)) == [1.0, 0.0, 0.5]


def test_an_example_for_prompts_may_name_its_document_and_lack_an_id(tmp_path: Path) -> None:
    rows = {"query": " why lava ", "doc_id": "1"}, {"query": "why snow", "document": " snow ", "query_id": "q"}
    assert read_prompt_examples(put(tmp_path / "x.jsonl", *rows), DOCS) == [
        PromptExample("why lava", "1", "why lava", DOCS["1"].default_text()),
        PromptExample("q", "", "why snow", "snow"),
    ]


@pytest.mark.parametrize("has_positive", [True, False])
def test_whether_a_list_has_a_positive_is_kept(tmp_path: Path, has_positive: bool) -> None:
    row = {"query_id": "q", "doc_ids": ["1", "2"], "scores": [1, 2], "has_positive": has_positive}
    queries = put(tmp_path / "queries.jsonl", {"_id": "q", "text": "why"})
    (example,) = read_any_nway(put(tmp_path / "n.jsonl", row), DOCS, queries=queries).examples
    assert example.has_positive is has_positive


@pytest.mark.parametrize("name", ["source", "corpus", "queries"])
def test_an_empty_name_is_not_taken_for_none(tmp_path: Path, name: str) -> None:
    source = put(tmp_path / "queries.jsonl", {"_id": "1", "text": "why"})
    with pytest.raises(SettingError, match=f"^{name} is empty; expected a file or folder$"):
        convert(**{"source": source, "target": tmp_path / "q.tsv", name: ""})
