"""Filters, which words of a text are marked, and what is counted."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from acclimate.base.errors import SettingError
from acclimate.corpus.analyzer import Analyzer
from acclimate.corpus.documents import Corpus
from acclimate.corpus.marks import Marker
from acclimate.deploy.filters import Fields, canonical, from_texts, passing
from acclimate.deploy.serving.limits import Limits
from acclimate.deploy.serving.metrics import Histogram, Metrics
from acclimate.records import Doc

FIELDS = [
    {"doc_id": "a/1", "year": 2019, "price": "9.5", "tags": ["pump", "motor"], "draft": False, "day": "2026-01-02"},
    {"doc_id": "a/2", "year": 2020, "price": "10", "tags": ["motor"], "draft": True, "day": "2026-11-27"},
    {"doc_id": "b/07", "year": 2021, "lang": "de"},
    {"doc_id": "b/7", "lang": "en", "code": "07", "sizes": [1, 9], "name": "nan"},
]


@pytest.mark.parametrize(
    ("filters", "places"),
    [
        ({"year": 2020}, [1]),
        ({"year": "2020"}, [1]),
        ({"year": [2019, 2021]}, [0, 2]),
        ({"year": {"gte": 2020}}, [1, 2]),
        ({"year": {"gt": 2019, "lt": 2021}}, [1]),
        ({"year": {"gte": "2020"}}, [1, 2]),
        ({"year": {"prefix": "20"}}, [0, 1, 2]),
        ({"price": {"lt": 10}}, [0]),  # as numbers, though the table had texts
        ({"price": {"lte": "10"}}, [0, 1]),
        ({"price": 10}, [1]),
        ({"tags": "motor"}, [0, 1]),
        ({"tags": ["pump", "lava"]}, [0]),
        ({"draft": True}, [1]),
        ({"draft": "false"}, [0]),
        ({"draft": 1}, []),
        ({"day": {"gte": "2026-06-01"}}, [1]),
        ({"lang": "de", "year": {"gte": 2000}}, [2]),
        ({"doc_id": "b/7"}, [3]),
        ({"doc_id": {"prefix": "a/"}}, [0, 1]),
        ({"doc_id": "B/7"}, []),
        ({"code": "7"}, []),  # two texts
        ({"code": 7}, [3]),
        ({"sizes": {"gte": 3, "lt": 5}}, []),  # no value is both
        ({"sizes": {"gte": 3, "lt": 10}}, [3]),
        ({"name": {"gt": 5}}, [3]),  # as text, since it is not a number
    ],
)
def test_what_passes(filters, places):
    assert passing(canonical(filters), FIELDS) == places


def test_a_url_has_the_same_filters():
    texts = ["year>=2019", "year<2021", "tags=pump", "tags=lava", "doc_id^=a/", "note=a=b"]
    assert from_texts(texts) == {
        "year": {"gte": "2019", "lt": "2021"},
        "tags": {"any_of": ["pump", "lava"]},
        "doc_id": {"prefix": "a/"},
        "note": {"any_of": ["a=b"]},
    }
    assert passing(canonical(from_texts(texts[:5])), FIELDS) == [0]
    for text in ("year", "=2020", ">1", ""):
        with pytest.raises(SettingError, match="expected field=value"):
            from_texts([text])
    assert from_texts(["year>=2019", "year>=2019"]) == {"year": {"gte": "2019"}}
    with pytest.raises(SettingError, match="'year>=' twice"):
        from_texts(["year>=2019", "year>=2020"])  # one of them would have no effect


def test_the_same_filters_are_the_same_text():
    assert canonical({"a": 1, "b": [2]}) == canonical({"b": [2], "a": 1})
    assert canonical({}) == ""


@pytest.mark.parametrize("name", ["gt", "gte", "lt", "lte", "prefix"])
@pytest.mark.parametrize("kind", [list, tuple, set])
def test_only_any_of_has_several_values(name, kind):
    for values in (["a", "b"], ["a"], []):
        assert canonical({"a": {"any_of": kind(values)}}) == canonical({"a": {"any_of": list(kind(values))}})
        with pytest.raises(SettingError, match="a is"):
            canonical({"a": {name: kind(values)}})


@pytest.mark.parametrize(
    "limit",
    [float("inf"), float("nan"), json.loads("1e400"), np.datetime64(1, "ns"), pytest.param(10**5000, id="long")],
)
def test_numbers_that_are_not_finite_and_times_of_numpy_are_no_limits(limit):
    for condition in (limit, [limit], {"gte": limit}):
        with pytest.raises(SettingError, match="expected a text, finite number"):
            canonical({"a": condition})


@pytest.mark.parametrize(
    ("language", "query", "text", "marked"),
    [
        ("en", "sorting lists", "Sort the List; a sorted list. Assorted.", ["Sort", "List", "sorted", "list"]),
        ("en", "the of", "the end of the world", []),
        ("en", "how can I sort", "How you can sort: I do it so.", ["sort"]),
        ("en", "what can you do", "You can do what you like.", ["You", "can", "do", "what", "you"]),
        ("ru", "как устроен вулкан", "Как спит вулкан", ["вулкан"]),
        ("de", "Häuser", "Das HAUS und die Häuser", ["HAUS", "Häuser"]),
        ("zh", "火山", "这座火山喷发", ["火", "山"]),
        ("ar", "كتاب", "قرأت كِتَاب اليوم", ["كِتَاب"]),
        ("en", "x" * 1000, "short", []),
    ],
)
def test_words_are_marked_as_bm25_counts_them(language, query, text, marked):
    pieces = Marker(Analyzer(language)).marked(query, text)
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.text for piece in pieces if piece.is_match] == marked


def test_the_part_that_is_shown_has_most_of_the_query_and_ends_between_words():
    text = (
        "lava and lava, ash and ash "
        + "nothing here " * 100
        + "the lava and the ash of a volcano "
        + "nothing here " * 100
    )
    pieces = Marker(Analyzer("en")).marked("volcano ash lava", text, chars=120)
    assert [piece.text for piece in pieces if piece.is_match] == ["lava", "ash", "volcano"]
    shown = "".join(piece.text for piece in pieces)
    assert shown[0] == shown[-1] == "…"
    assert {*shown.strip("…").split()} <= {*text.split()}
    assert 60 <= len(shown) <= 122


def test_the_first_part_that_has_most_is_shown_of_a_text_that_is_one_word():
    pieces = Marker(Analyzer("en")).marked("lava", "lava " * 4000, chars=100)
    assert sum(piece.is_match for piece in pieces) == 20
    assert pieces[0].text == "lava"


def test_a_text_without_blanks_is_cut_all_the_same():
    pieces = Marker(Analyzer("en")).marked("lava", "x" * 5000, chars=100)
    assert len("".join(piece.text for piece in pieces)) <= 101


def test_a_filter_on_a_document_passes_all_its_passages():
    documents = Corpus.of([Doc("a", "x"), Doc("b", "y")])
    passages = Corpus.of([Doc(f"{doc_id}#{n}", "x") for doc_id in "ab" for n in (0, 1)])
    source = SimpleNamespace(documents=documents, corpus=passages, parents={name: name[0] for name in passages})
    assert Fields(source).rows(canonical({"doc_id": "b"})).tolist() == [2, 3]


def test_a_histogram_counts_what_is_at_most_each_bound():
    seconds = Histogram("s", "Seconds.", (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 1.0, 7.0):
        seconds.observe(value, 'path="/"')
    lines = dict(line.rsplit(" ", 1) for line in seconds.lines()[2:])
    assert [lines[f's_bucket{{path="/",le="{bound}"}}'] for bound in ("0.1", "1.0", "+Inf")] == ["2", "4", "5"]
    assert lines['s_count{path="/"}'] == "5"
    assert float(lines['s_sum{path="/"}']) == pytest.approx(8.65)


def test_a_parameter_of_a_url_that_would_have_no_effect_is_refused():
    """`filters` in a URL once filtered nothing: there it is `where`."""
    testclient = pytest.importorskip("starlette.testclient")
    from acclimate.deploy.serving.app import create_app

    service: Any = SimpleNamespace(limits=Limits(), metrics=Metrics())
    client = testclient.TestClient(create_app(service, reload_seconds=0))
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in set() if path in ("/health", "/ready", "/metrics") else methods:
            answer = client.request(method, f"{path}?filters=title")
            assert answer.status_code == 422
            assert "no URL parameter named 'filters'. There are: " in answer.json()["error"], (method, path)
        twice = client.get(f"{path}?q=lava&q=ice&k=1&k=2") if path == "/search" else None
        assert twice is None or "q comes more than once; expected it once" in twice.json()["error"]
    for parameters in ("q=caf%e9", "q=lava&where=title=caf%e9"):
        assert "the URL parameters are not UTF-8" in client.get(f"/search?{parameters}").json()["error"]
