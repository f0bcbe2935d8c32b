"""Logs of real queries: what is read of them, whoever exported them, and what is refused."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_formats import put, put_rows, refusal

from acclimate.base.errors import AcclimateError
from acclimate.base.words import normalized
from acclimate.corpus import query_log
from acclimate.corpus.formats import query_log as formats
from acclimate.corpus.query_log import LONGEST, NO_LOG, LoggedQuery, QueryLog

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def counts(log: QueryLog) -> dict[str, tuple[int, int]]:
    return {query.text: (query.count, query.clicks) for query in log.queries}


EXPORTS = {
    "plain.txt": "reset pump\nRTX-4090 driver\nreset pump\n\n  \n",
    "search_console.csv": 'Top queries,Clicks,Impressions,CTR\nreset pump,1,"1,234",1%\n"a, b ""c""",0,2,0\n',
    "analytics.csv": "# ----\n# Free form 1\n# Property: a, b\n\nSearch term,Event count,Total users\nreset pump,2,1\n",
    "universal.csv": "Search Term,Total Unique Searches\nreset pump,12\n",
    "algolia.csv": "search,count,nbHits,clickCount\nreset pump,12,990,3\n",
    "app_search.csv": "term,queries,clicks\nreset pump,12,3\n",
    "ubi.jsonl": '{"_source": {"user_query": "reset pump", "query": "{}", "query_id": "7", "client_id": "x"}}\n',
    "aggregation.jsonl": '{"key": "reset pump", "doc_count": 12}\n',
    "typesense.jsonl": '{"id": "1", "q": "reset pump", "count": 12}\n',
    "matomo.tsv": "label\tnb_visits\tnb_hits\treset\nreset pump\t12\t30\t0\n",
    "beir.jsonl": '{"_id": "1", "text": "reset pump"}\n',
    "synthetic.jsonl": '{"query": "reset pump", "text": "a document about it"}\n',
    "spreadsheet.csv": '\ufeffSearch term;Count;CTR\n"reset pump";1.234;0,5\n"a; b ""c""";2;0,1\n',
    "clicked.csv": "query,title,count\nreset pump,The pump,12\n",
    "azure.csv": "timestamp,QueryTerms,ResultCount\n2024-01-01,reset pump,3\n",
}


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_what_search_engines_and_analytics_export_is_read(tmp_path, name, ending):
    content = EXPORTS[name].encode()
    log = query_log.read(put(tmp_path / (name + ending), gzip.compress(content) if ending else content))
    expected = {
        "plain.txt": {"reset pump": (2, 0), "RTX-4090 driver": (1, 0)},
        "search_console.csv": {"reset pump": (1234, 1), 'a, b "c"': (2, 0)},
        "spreadsheet.csv": {"reset pump": (1234, 0), 'a; b "c"': (2, 0)},
        "analytics.csv": {"reset pump": (2, 0)},
        "algolia.csv": {"reset pump": (12, 3)},
        "app_search.csv": {"reset pump": (12, 3)},
        "ubi.jsonl": {"reset pump": (1, 0)},
        "beir.jsonl": {"reset pump": (1, 0)},
        "synthetic.jsonl": {"reset pump": (1, 0)},
        "azure.csv": {"reset pump": (1, 0)},
    }
    assert counts(log) == expected.get(name, {"reset pump": (12, 0)})


@pytest.mark.parametrize("name", ["user_query", "User Query", "USER-QUERY", " userQuery "])
def test_case_blanks_and_underscores_of_a_name_do_not_count(tmp_path, name):
    assert counts(query_log.read(put_rows(tmp_path / "a.csv", [["n x", name], ["1", "reset pump"]])))


def test_every_name_is_written_as_names_are_compared():
    for names in (formats.QUERIES, formats.SEARCHES, formats.CLICKS):
        assert all(name.isalnum() and name == name.casefold() for name in names)
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("12", 12),
        ("1,234", 1234),
        ("1.234.567", 1234567),
        ("1 234", 1234),
        ("1\u202f234", 1234),
        ("1'234", 1234),
        ("12.0", 12),
        (" 7 ", 7),
        ("", 1),
        ("007", 7),
    ],
)
def test_a_count_has_separators_or_none(tmp_path, written, count):
    path = put_rows(tmp_path / "a.csv", [["query", "count"], ["reset pump", written]])
    assert counts(query_log.read(path)) == {"reset pump": (count, 0)}


@pytest.mark.parametrize("value", ["many", "-1", "1.5", "1,23", "12,34,5", "1e3", "9" * 5000, "\u0663", "1.234,567"])
def test_what_is_no_count_is_named(tmp_path, value):
    path = put_rows(tmp_path / "a.csv", [["query", "count"], ["a b", "1"], ["reset pump", value]])
    message = refusal(lambda: query_log.read(path).queries)
    assert message.startswith(f"{path}:3: 'count' is ")
    assert "expected a whole number" in message


@pytest.mark.parametrize("value", ["1.5", "true", "[1]", "-3", "1" * 30])
def test_nor_is_what_json_has_beside_whole_numbers(tmp_path, value):
    path = put(tmp_path / "a.jsonl", f'{{"query": "a b", "clicks": {value}}}\n')
    assert f"{path}:1: 'clicks' is " in refusal(lambda: query_log.read(path).queries)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "", "a.txt: is empty"),
        ("a.txt", "\n \n", "a.txt: is empty"),
        (
            "a.txt",
            "404\n!!\njohn@example.com\n",
            "no usable query (no letters 2, nothing but personal data 1)",
        ),
        ("a.txt", b"caf\xe9\n", "a.txt:1: byte 3 of the line is 0xe9, which is not UTF-8"),
        ("a.txt", "reset pump\n".encode("utf-16"), "is UTF-16"),
        ("a.txt", "reset\t12\n", "a.txt:1: looks like a table"),
        ("a.txt", '{"query": "x"}\n', "a.txt:1: looks like JSON"),
        ("a.log", '1.2.3.4 - - [x] "GET /?q=a HTTP/1.1" 200\n', "looks like the log of a web server"),
        ("a.txt", "     12 reset pump\n", "looks like what `uniq -c` writes"),
        ("a.sqlite", b"SQLite format 3\0....", "is an SQLite database; expected real queries"),
        ("a.csv", b"PK\x03\x04\x14\0\x06", "is an Excel or zip file"),
        ("a.parquet", b"PAR1....", "is a Parquet file"),
        ("a.json", "[]", "unknown format; expected real queries in a file whose name ends in .txt"),
        ("a", "reset pump\n", "unknown format"),
        ("a.csv", "", "an empty file"),
        ("a.csv", "Datum,Suchbegriff\n1,b\n", 'a.csv:2: no query: found "Datum", "Suchbegriff"; expected \'query\''),
        ("a.csv", "query|count\nb|1\n", "It looks as if '|' separated the columns"),
        ("a.csv", "id,Title,text,price\n1,a,b,2\n", 'looks like documents, with "Title", "price" beside "text"'),
        ("a.csv", "sku;name;keywords\n1;a;b\n", 'looks like documents, with "sku" beside "keywords"'),
        ("a.jsonl", "{}\n", ":1: no query: found nothing"),
        ("a.jsonl", '{"_id": "1", "title": "", "text": "b"}\n', 'looks like documents, with "title" beside "text"'),
        ("a.csv", "query,query\na,b\n", '2 columns are named "query"'),
        ("a.csv", "query,count\na b\n", "a.csv:2: found 1 cell; expected 2"),
        ("a.jsonl", '{"query": "a b"}\n{"query": \n', "a.jsonl:2: not JSON"),
        ("a.jsonl", '[{"query": "a b"}]\n', "unpack it first: jq -c '.[]' a.jsonl"),
        ("a.jsonl", '{"query": ["a b"]}\n', "a.jsonl:1: 'query' is [\"a b\"]; expected text"),
        ("a.jsonl", '{"query": "\\ud800 a"}\n', "half a surrogate pair"),
        ("a.txt.gz", b"\x1f\x8b\x08\x00 nonsense", "a broken gzip file"),
    ],
)
def test_what_is_no_log_is_refused_in_a_line(tmp_path, name, content, said):
    message = refusal(lambda: query_log.read(put(tmp_path / name, content)).queries)
    assert said in message
    assert "\n" not in message


def test_what_is_no_query_is_left_out_and_counted(tmp_path):
    lines = [
        "[error] reset",
        "how to reset",
        "How  TO reset",
        "x" * 501,
        "a " * 65,
        "404",
        "jane@example.com",
        "mail jane@example.com now",
    ]
    log = query_log.read(put(tmp_path / "a.txt", "\n".join(lines)))
    assert counts(log) == {"How TO reset": (2, 0), "mail now": (1, 0), "[error] reset": (1, 0)}
    assert log.dropped == {
        query_log.TOO_LONG: 2,
        query_log.NO_LETTERS: 1,
        query_log.PERSONAL: 1,
    }
    assert log.account() == {"queries": 3, "asked": 4, "masked": 2, "dropped": log.dropped}
    rows = [["query", "count"], ["", "3"], ["reset", "0"], ["pump", "3"], ["Pump", "5"]]
    log = query_log.read(put_rows(tmp_path / "a.csv", rows))
    assert counts(log) == {"Pump": (8, 0)}  # as most wrote it
    assert log.dropped == {query_log.EMPTY: 1, query_log.NEVER: 1}


queries = st.lists(
    st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.integers(1, 10**6)), min_size=1
)


@quick
@given(queries, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_counts_are_added(tmp_path, rows, shuffle):
    def read(rows: list[tuple[str, int]]) -> QueryLog:
        written = [["query", "count"], ["the one that is there", "1"], *([text, str(n)] for text, n in rows)]
        return query_log.read(put_rows(tmp_path / "a.csv", written))

    log = read(rows)
    assert list(log.queries) == sorted(log.queries, key=lambda query: (-query.count, query.query_id))
    assert len({normalized(query.text) for query in log.queries}) == len(log)
    assert len({query.query_id for query in log.queries}) == len(log)
    others = list(rows)
    shuffle.shuffle(others)
    again = read(others)
    assert again == log
    assert again.fingerprint == log.fingerprint
    log.write(tmp_path / "log.jsonl")
    assert query_log.read_stored(tmp_path / "log.jsonl") == log
    more = read([*rows, ("another query that is there", 1)])
    assert more.fingerprint != log.fingerprint
    assert {(q.query_id, q.count) for q in log.queries} <= {(q.query_id, q.count) for q in more.queries}


@quick
@given(
    st.sampled_from(["a.txt", "a.log", "a.csv", "a.tsv", "a.jsonl", "a.csv.gz", "a.txt.gz"]),
    st.one_of(
        st.binary(max_size=60),
        st.text('"\t\n\r, aq1\x00\u2028\ud83d{}:[]#', max_size=60).map(lambda text: text.encode("utf-8", "replace")),
        st.text('"\t\n, a1', max_size=40).map(lambda text: b"query,count\n" + text.encode()),
        st.text('"\t\n, a1', max_size=40).map(lambda text: b"query\tcount\n" + text.encode()),
    ),
)
def test_whatever_is_in_a_file_it_is_a_log_or_refused_in_a_line(tmp_path, name, content):
    try:
        log = query_log.read(put(tmp_path / name, content))
    except AcclimateError as error:
        assert str(error).startswith(str(tmp_path / name))
        assert "\n" not in str(error)
    else:
        assert log


def test_memory_follows_what_differs(tmp_path):
    path = put(tmp_path / "a.txt", "".join(f"how to reset pump {n % 10}\n" for n in range(20_000)))
    tracemalloc.start()
    log = query_log.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [query.count for query in log.queries] == [2000] * 10
    assert peak < path.stat().st_size


def test_no_log_is_empty():
    assert not NO_LOG
    assert NO_LOG.account() == {"queries": 0, "asked": 0, "masked": 0, "dropped": {}}
    assert NO_LOG.draw(3, 0) == []


def test_queries_are_drawn_as_often_as_they_are_asked():
    log = QueryLog([LoggedQuery("a", "a", 8), *(LoggedQuery(f"q{n}", "b", 1) for n in range(8))])
    firsts = Counter(log.draw(1, seed)[0].query_id for seed in range(2000))
    assert 900 < firsts["a"] < 1100
    assert log.draw(5, 1)[:3] == log.draw(3, 1)
    assert log.draw(99, 1) == log.draw(9, 1)
    shuffled = random.Random(1).sample(list(log.queries), 9)
    assert QueryLog(shuffled).draw(4, 7) == log.draw(4, 7)


def test_a_column_of_queries_counts_none_and_rows_may_have_other_columns(tmp_path):
    assert counts(query_log.read(put(tmp_path / "a.csv", "queries\nreset pump\n"))) == {"reset pump": (1, 0)}
    rows = '{"query": "reset pump"}\n{"count": 3, "q": "start pump"}\n{"q": "stop pump", "clicks": 2}\n'
    log = query_log.read(put(tmp_path / "a.jsonl", rows))
    assert counts(log) == {"reset pump": (1, 0), "start pump": (3, 0), "stop pump": (1, 2)}


def test_queries_that_differ_by_personal_data_alone_are_one_and_all_their_entries_were_masked(tmp_path):
    lines = ["Reset for john@example.com"] * 2 + ["Reset for mary@example.org", "x" * LONGEST, "x" * (LONGEST + 1)]
    log = query_log.read(put(tmp_path / "a.txt", "\n".join(lines)))
    assert [(query.text, query.count) for query in log.queries] == [("Reset for", 3), ("x" * LONGEST, 1)]
    assert (log.masked, log.dropped) == (3, {query_log.TOO_LONG: 1})
    assert [query.count for query in log.unlike([" Reset FOR"])] == [1]
    clicked = QueryLog([replace(log.queries[0], clicks=1), *log.queries[1:]])
    assert clicked.fingerprint != log.fingerprint


def test_the_names_of_columns_are_documented():
    page = (Path(__file__).parents[1] / "docs" / "queries.md").read_text(encoding="utf-8")
    documented = {"".join(filter(str.isalnum, name)).casefold() for name in names_of_columns(page)}
    assert documented >= {*formats.QUERIES, *formats.SEARCHES, *formats.CLICKS}


def names_of_columns(page: str) -> list[str]:
    """The names between backquotes in the part about logs."""
    part = page.partition("## A log of real queries")[2].partition("\n## ")[0]
    return part.split("`")[1::2]
