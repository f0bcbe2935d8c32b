"""A report with every key, every kind of missing value, and hostile text; and a parser of HTML pages."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

VERDICTS = ("WIN", "NO DIFFERENCE", "REGRESSION")
HOSTILE = """<script>alert(1)</script>{{7*7}}{% raw %}" onload="alert(2)' ]]> --> &amp; </style></title></svg>"""
VOID = {"meta", "wbr", "br", "hr", "img", "link"}


def system(name: str, score: float, p50: float, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "adapted": ":adapted" in name,
        "untouched": name in ("bm25", "dense", "hybrid"),
        "kind": "dense",
        "measures": {"nDCG@10": score, "R@100": 0.9, "RR@10": 0.6, "Success@5": 0.8},
        "intervals": {"nDCG@10": [score - 0.03, score + 0.03]},
        "latency_ms": {"p50": p50, "p95": 2 * p50},
        "index_bytes": 7_960_000,
        "weights": {},
        **fields,
    }


def doc(doc_id: str, relevance: int | None) -> dict[str, Any]:
    return {"doc_id": doc_id, "title": f"Title of {doc_id}", "text": f"Text of {doc_id}.", "relevance": relevance}


def step(what: str, before: str, after: str, delta: float, p: float, ms=(21.0, 32.0), index=(1e6, 1e6)):
    return {
        "step": what,
        "from": before,
        "to": after,
        "delta": delta,
        "ci95": [delta - 0.02, delta + 0.02],
        "p": p,
        "wins": 9,
        "losses": 7,
        "ties": 3,
        "latency_ms": {"from": ms[0], "to": ms[1]},
        "index_bytes": {"from": index[0], "to": index[1]},
        "adds": p < 0.05 and delta > 0,
        "verdict": ("WIN" if delta > 0 else "REGRESSION") if p < 0.05 else "NO DIFFERENCE",
    }


def full_report() -> dict[str, Any]:
    """A report with every key and every kind of missing value."""
    return {
        "verdict": "WIN",
        "verdict_basis": "qrels",
        "recommended": "hybrid:adapted",
        "candidate": "hybrid:adapted",
        "baseline": "bm25",
        "steps": [
            step("late interaction", "hybrid", "hybrid:equal", 0.031, 0.0004, index=(6_000_000, 118_000_000)),
            step("weights chosen here", "hybrid:equal", "hybrid:tuned", 0.004, 0.41),
            step("reranker", "hybrid", "hybrid+reranker", -0.05, 0.002, ms=(21.0, 1310.0)),
        ],
        "systems": [
            system("bm25", 0.665, 1.3, kind="bm25"),
            system("dense", 0.645, 6.8),
            system("hybrid+reranker", 0.72, 1310.0, kind="reranked"),
            system("hybrid:adapted", 0.743, 7.1, kind="hybrid", weights={"bm25": 0.25, "dense:adapted": 0.75}),
        ],
        "comparisons": [
            {"system": "hybrid:adapted", "baseline": "bm25", "measure": measure, "delta": 0.078, "ci95": [0.02, 0.13]}
            | {"p": p, "wins": 1131, "losses": 58, "ties": 11}
            for measure, p in (("nDCG@10", 0.00001), ("R@100", 0.41))
        ],
        "stages": [
            {"name": "generate", "in": 1000, "out": 2947, "dropped": {"empty": 31, "copied": 0}, "seconds": 1834.2}
            | {"tokens": {"prompt": 1_204_331, "completion": 58_112}, "cost_usd": 0.4213, "resumed": True},
            {"name": "filter", "in": 2947, "out": 1893, "dropped": {"round-trip": 743}, "seconds": 2.0}
            | {"tokens": {}, "cost_usd": None, "resumed": False},
        ],
        "ledger": {
            "llms": [
                {"stage": "seed", "llm": "dear", "calls": 60, "prompt_tokens": 40_000, "completion_tokens": 900}
                | {"cost_usd": None},
                {"stage": "generate", "llm": "cheap", "calls": 2947, "prompt_tokens": 1_204_331}
                | {"completion_tokens": 58_112, "cost_usd": 0.4213},
            ],
            "tokens": 1_303_343,
            "cost_usd": 0.4213,
            "written_queries": 2947,
            "kept_queries": 1893,
        },
        "recipe": "udapdr",
        "seed": 13,
        "versions": {"acclimate": "0.1.0", "numpy": "2.4.6"},
        "corpus": {"name": "scifact", "documents": 5183},
        "queries": {"count": 300, "split": "test"},
        "models": {"llm": "embedded:smollm2", "encoder": "minilm", "reranker": None},
        "teachers": [
            {"name": "cross-encoder 1", "nDCG@10": 0.842, "weight": 0.55, "used": True, "reason": "best alone"},
            {"name": "BM25 teacher", "nDCG@10": 0.7, "weight": None, "used": False, "reason": "adds nothing"},
        ],
        "examples": [
            {
                "query": "white matter",
                "before": {"system": "bm25", "docs": [doc("x", 0), doc("001", 2), doc("y", None)]},
                "after": {"system": "hybrid:adapted", "docs": [doc("001", 2), doc("z", 1), doc("x", 0)]},
                "delta": 0.418,
            }
        ],
        "deltas": [0.418, 0.0, -0.2],
        "turned_down": [
            {"reason": "echo", "count": 31, "stage": "generate"}
            | {"examples": [{"query": "said again", "doc_id": "001", "note": "claim"}]},
            {"reason": "round-trip", "count": 743, "stage": "filter"}
            | {"examples": [{"query": "", "doc_id": "x", "note": ""}]},
        ],
        "command": "acclimate adapt scifact --out again --recipe run/recipe.toml",
        "recipe_toml": "seed = 13\n\n[sample]\nn_docs = 1000\n",
        "warnings": ["no out-of-domain measurement", "latency on a shared machine"],
        "generated_sample": [
            {"query": "a kept one", "doc_id": "001", "doc_text": "text", "logprob": -0.4, "kept": True, "reason": None},
            {"query": "a bad one", "doc_id": "x", "doc_text": "t", "logprob": None, "kept": False, "reason": "copied"},
        ],
    }


class Page(HTMLParser):
    """The tags, attributes and text of a page; fails if tags are not nested."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.words.append("" if tag == "wbr" else " ")
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def with_text(value: Any, text: str) -> Any:
    """`value` with `text` appended to every string that may have any content."""
    fixed = {"verdict", "verdict_basis", "adapted", "measure", "split", "kind", "step", "stage"}
    if isinstance(value, dict):
        return {key: item if key in fixed else with_text(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [with_text(item, text) for item in value]
    return value + text if isinstance(value, str) else value
