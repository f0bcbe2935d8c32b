"""The export to Vespa: an application that hangs together, and what its documentation says that it finds.

A twin computes that from the exported files alone: `wand` and `nearestNeighbor` name their best, functions of the rank
profile score them, and the global phase adds. Three kinds of expressions are all that profiles are made of.
"""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from odd_exports import TEXTS, Odd, expected

from acclimate.base.errors import DataError
from acclimate.deploy.exports import vespa
from acclimate.deploy.exports.queries import QuerySide
from acclimate.deploy.exports.readers import vespa as reader

pytest.importorskip("torch", reason="torch is not installed")
SYSTEMS = ["hybrid", "hybrid:tuned", "hybrid:adapted of passages", "sparse:adapted", "late-interaction"]


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
        named = [
            self.named(*parts) for parts in re.findall(r"targetHits: (\d+)\}(\w+)\((\w+), (.+?)\)\)", body["yql"] + ")")
        ]
        candidates = [self.rows[place] for place in sorted({place for places in named for place in places})]
        assert len(candidates) <= int(setting(self.profile["global-phase"], "rerank-count"))
        query = {name: json.loads(body[f"input.query({name})"]) for name in self.inputs}
        scores = {
            name: np.array([score(function, query, row) for row in candidates])
            for name, function in self.functions.items()
        }
        numbers = np.array([row["number"] for row in candidates])
        normalizers = {
            "normalize_linear": lambda x: (x - x.min()) / np.ptp(x) if np.ptp(x) else np.zeros(len(x)),
            "reciprocal_rank": lambda x, k: 1 / (k + 1 + np.argsort(np.lexsort((numbers, -x)))),
            "where": np.where,
        }
        fused = expression(self.profile["global-phase"]).replace("if (", "where(")
        relevance = eval(fused, {**normalizers, **scores})
        hits = [{"relevance": value, "fields": row} for value, row in zip(relevance.tolist(), candidates, strict=True)]
        return sorted(hits, key=lambda hit: (-hit["relevance"], hit["fields"]["number"]))[: body["hits"]]

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
        order = sorted(range(len(scores)), key=lambda place: (-scores[place], self.rows[place]["number"]))
        return [place for place in order if operator != "wand" or scores[place] > 0][: int(target)]


def expression(block):
    return setting(block, "expression")


def setting(block, name):
    (value,) = (line.partition(": ")[2] for line in block if line.startswith(f"{name}: "))
    return value


def score(function, query, row):
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
def test_what_vespa_finds_by_its_documentation_is_what_the_run_finds(odd, tmp_path, name):
    source = odd.source(name)
    assert vespa.write(source, tmp_path).counts["documents"] == len(odd.texts)
    twin, side = Twin(tmp_path), QuerySide(tmp_path / "query")
    for query, ours in expected(source).items():
        body = twin.body = reader.request_of(tmp_path, side, query)
        hits = twin.search(body) if body else []
        assert [row[0] for row in reader.first_of_documents(hits, 10)] == ours, query


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
