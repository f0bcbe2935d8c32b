"""The export to Vespa: an application that hangs together, and what Vespa finds with it.

A twin computes that from the exported files alone, as Vespa's source code does (8.738): `wand` retrieves all that
exceed the threshold when they are seen, `nearestNeighbor` its best, functions of the rank profile score them, the first
phase orders them, and the global phase adds. Five kinds of expressions are all that profiles are made of.
"""

from __future__ import annotations

import heapq
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from odd_exports import TEXTS, Odd, expected

from acclimate.base.errors import DataError
from acclimate.deploy.exports import vespa
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import vespa as reader

pytest.importorskip("torch", reason="torch is not installed")
SYSTEMS = ["bm25", "hybrid", "hybrid:tuned", "hybrid:adapted of passages", "sparse:adapted", "late-interaction"]


@pytest.fixture(scope="module")
def odd(base, tmp_path_factory) -> Odd:
    texts = {doc_id: text for doc_id, text in TEXTS.items() if "\0" not in doc_id}
    return Odd(base, tmp_path_factory.mktemp("odd"), texts)


def blocks(text):
    """A schema as nested mappings: head -> its block, where a line has none: the line -> None."""
    stack = [{}]
    for line in filter(None, map(str.strip, text.split("\n"))):
        if line.endswith("{"):
            block = {}
            stack[-1][line.removesuffix("{").strip()] = block
            stack.append(block)
        elif line == "}":
            stack.pop()
        else:
            stack[-1][line] = None
    assert len(stack) == 1
    return stack[0]


class Twin:
    """What Vespa is, by its documentation, once it has this application and this feed."""

    def __init__(self, folder):
        (schema,) = blocks((folder / "application" / "schemas" / "acclimate.sd").read_text()).values()
        document, self.profile = schema["document acclimate"], schema["rank-profile system"]
        self.types = dict(re.fullmatch(r"field (\w+) type (.+)", head).groups() for head in document)
        self.inputs = dict(re.fullmatch(r"query\((\w+)\) (.+)", line).groups() for line in self.profile["inputs"])
        lines = [line for path in sorted((folder / "feed").iterdir()) for line in path.open()]
        self.puts = [json.loads(line) for line in lines]
        self.rows = [put["fields"] for put in self.puts]
        self.functions = {
            match[1]: expression(block)
            for head, block in self.profile.items()
            if (match := re.fullmatch(r"function (\w+)\(\)", head))
        }

    def search(self, body):
        """Hits as an answer has them."""
        assert body["hits"] <= 400, "more hits requested than Vespa's configured limit"
        named = [
            self.named(*parts) for parts in re.findall(r"targetHits: (\d+)\}(\w+)\((\w+), (.+?)\)\)", body["yql"] + ")")
        ]
        candidates = [self.rows[place] for place in sorted({place for places in named for place in places})]
        query = {name: json.loads(body[f"input.query({name})"]) for name in self.inputs}
        scores = {}
        for name, function in self.functions.items():
            scores[name] = np.array([score(function, query, row, scores, at) for at, row in enumerate(candidates)])
        first = eval(expression(self.profile["first-phase"]), dict(scores))
        ranked = np.argsort(-first, kind="stable")
        ranked = ranked[: int(setting(self.profile["global-phase"], "rerank-count"))]
        normalizers = {
            "normalize_linear": lambda x: (x - x.min()) / np.ptp(x) if np.ptp(x) else np.full(len(x), 0.5),
            "reciprocal_rank": lambda x, k: 1 / (k + 1 + np.argsort(np.argsort(-x, kind="stable"))),
            "where": np.where,
        }
        fused = expression(self.profile["global-phase"]).replace("if (", "where(")
        relevance = eval(fused, {**normalizers, **{name: values[ranked] for name, values in scores.items()}})
        hits = [
            {"relevance": value, "fields": candidates[at]} for value, at in zip(relevance.tolist(), ranked, strict=True)
        ]
        return sorted(hits, key=lambda hit: -hit["relevance"])[: body["hits"]]

    def named(self, target, operator, field, argument):
        """Places of the best."""
        if operator == "wand":
            weights = {str(term): weight for term, weight in json.loads(argument)}
            assert self.types[field] == "weightedset<int>"
            scores = [sum(weights.get(term, 0) * weight for term, weight in row[field].items()) for row in self.rows]
        else:
            vector = json.loads(self.body[f"input.query({argument})"])
            assert (operator, self.types[field]) == ("nearestNeighbor", self.inputs[argument])
            scores = [float(np.dot(vector, row[field])) for row in self.rows]
        if operator == "wand":
            return self.above_threshold(scores, int(target))
        return sorted(range(len(scores)), key=lambda place: (-scores[place], self.rows[place]["number"]))[: int(target)]

    @staticmethod
    def above_threshold(scores, target):
        """Places in the order of the feed whose score is above those of `target` others so far, four at a time."""
        best, new, places = [], [], []
        for place, value in enumerate(scores):
            if value > (best[0] if len(best) == target else 0):
                places.append(place)
                new.append(value)
            if len(new) == 4:
                best, new = sorted(heapq.nlargest(target, best + new)), []
        return places


def answers(source, folder):
    """(query, the run's first ten, Vespa's first ten) for each query."""
    twin, side = Twin(folder), QuerySide(folder / "query")
    for query, ours in expected(source).items():
        body = twin.body = reader.request_of(folder, side, query)
        yield query, ours, [row[0] for row in reader.first_of_documents(twin.search(body) if body else [], 10)]


def expression(block):
    return setting(block, "expression")


def setting(block, name):
    (value,) = (line.partition(": ")[2] for line in block if line.startswith(f"{name}: "))
    return value


def score(function, query, row, scores, at):
    """A function's value for the candidate `at`. scores: by functions before it."""
    if match := re.fullmatch(r"attribute\(number\) / (\d+)", function):
        return row["number"] / int(match[1])
    if match := re.fullmatch(r"1000000 \* (\w+) - tie_break", function):
        return 1e6 * scores[match[1]][at] - scores["tie_break"][at]
    if match := re.fullmatch(r"sum\(query\((\w+)\) \* attribute\((\w+)\)\)", function):
        left, right = query[match[1]], row[match[2]]
        if isinstance(right, dict):
            return sum(weight * right.get(term, 0.0) for term, weight in left.items())
        return float(np.dot(left, right))
    products = r"sum\(query\((\w+)\) \* attribute\((\w+)\), x\) \* attribute\((\w+)\)"
    match = re.fullmatch(rf"reduce\(reduce\({products}, max, token\), avg, querytoken\)", function)
    assert match and row[match[2]].keys() == row[match[3]].keys()
    tokens = np.array([np.frombuffer(bytes.fromhex(cells), np.int8) for cells in row[match[2]].values()], float)
    scales = np.array([*row[match[3]].values()])
    return float((np.array([*query[match[1]].values()]) @ tokens.T * scales).max(axis=1).mean())


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_vespa_finds_is_what_the_run_finds(odd, tmp_path, name):
    source = odd.source(name)
    assert vespa.write(source, tmp_path).counts["documents"] == len(odd.texts)
    for query, ours, found in answers(source, tmp_path):
        assert found == ours, query


def test_what_wand_retrieves_beyond_the_depth_displaces_no_candidates(odd, tmp_path):
    source = odd.source("hybrid")
    source.__dict__["system"] = replace(source.system, depth=5)
    vespa.write(source, tmp_path)
    for query, ours, found in answers(source, tmp_path):
        assert found[:5] == ours[:5], query  # later documents of the run have other sources


def test_no_more_hits_are_requested_than_vespa_returns(odd, tmp_path):
    source = odd.source("hybrid:adapted of passages")
    source.__dict__["system"] = replace(source.system, depth=150)
    vespa.write(source, tmp_path)
    assert all(found == ours for _, ours, found in answers(source, tmp_path))


def test_fields_of_the_feed_are_those_of_the_schema_and_functions_read_no_others(odd, tmp_path):
    vespa.write(odd.source("hybrid:adapted"), tmp_path)
    twin = Twin(tmp_path)
    assert all(row.keys() == twin.types.keys() for row in twin.rows)
    functions = " ".join(twin.functions.values())
    assert {*re.findall(r"query\((\w+)\)", functions)} == twin.inputs.keys()
    assert {*re.findall(r"attribute\((\w+)\)", functions)} <= twin.types.keys()
    assert {*twin.profile["match-features"]} == twin.functions.keys()
    assert {*re.findall(r"score_\w+", expression(twin.profile["first-phase"]))} <= twin.functions.keys()
    assert [put["put"] for put in twin.puts] == [f"id:acclimate:acclimate::{row['number']}" for row in twin.rows]
    texts = {row["doc_id"]: row["text"] for row in twin.rows}
    assert texts.keys() == odd.texts.keys() and texts["plain"] == TEXTS["plain"]
    assert not re.search("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\U0010ffff]", "".join(texts.values()))
    services = ElementTree.parse(tmp_path / "application" / "services.xml").getroot()
    assert services.tag == "services" and [part.tag for part in services] == ["container", "content"]
    assert services.find("content/documents/document").attrib == {"type": "acclimate", "mode": "index"}


@pytest.mark.parametrize("address", ["localhost:8080", "nonsense", "http://[::1", "http://127.0.0.1:1"])
def test_an_address_without_vespa_is_said(odd, tmp_path, address):
    vespa.write(odd.source("bm25"), tmp_path)
    with pytest.raises(SystemExit, match="expected the address of the engine: http://HOST:PORT"):
        reader.search(address, tmp_path, "lava")


def test_an_id_that_vespa_cannot_hold_is_refused(base, tmp_path):
    source = Odd(base, tmp_path / "odd", {"nul\0id": "lava", "other": "ash"}).source("bm25")
    with pytest.raises(DataError, match="a character that Vespa cannot hold"):
        vespa.write(source, tmp_path / "out")
