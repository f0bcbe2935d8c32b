"""Well-known collections by their usual names: `beir/scifact`, `lotte/lifestyle/dev/search`.

ir_datasets has most of them, under ids of its own. Other spellings, such as InPars', are accepted; for a collection
that ir_datasets lacks, an error says where to get it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from acclimate.base.errors import AcclimateError, DataError, SettingError, unknown
from acclimate.base.text import reason_of

_BEIR = {
    "arguana": "",
    "bioasq": "",
    "climate-fever": "",
    "cqadupstack": "",
    "dbpedia-entity": "dbpedia",
    "fever": "",
    "fiqa": "fiqa-2018",
    "hotpotqa": "",
    "msmarco": "ms-marco",
    "nfcorpus": "",
    "nq": "natural-questions",
    "quora": "",
    "robust04": "trec-robust04",
    "scidocs": "",
    "scifact": "scifacts",
    "signal1m": "signal signal-1m",
    "trec-covid": "treccovid",
    "trec-news": "trecnews",
    "webis-touche2020": "touche touche2020 touche-2020 webis-touche-2020",
}  # with their other names
_CANONICAL = {name: of for of, aliases in _BEIR.items() for name in (of, *aliases.split())}
_FORUMS = (
    "android english gaming gis mathematica physics programmers stats tex unix webmasters wordpress"  # of CQADupStack
).split()
_LICENSED = ("bioasq", "robust04", "signal1m", "trec-news")
_DOMAINS = ("lifestyle", "pooled", "recreation", "science", "technology", "writing")
_LOTTE_SPLITS = ("dev", "test")
KINDS = ("search", "forum")  # of LoTTE's queries: what people typed into a search engine, and titles of posts


def is_named(name: str) -> bool:
    """True for a name that begins with beir/ or lotte/."""
    return _plain(name).split("/")[0] in ("beir", "lotte")


def ir_datasets_id(name: str) -> str:
    """The id in ir_datasets of a collection of BEIR or LoTTE.

    Raises SettingError for an unknown name, and for a collection that ir_datasets lacks.
    """
    family, *parts = [part for part in _plain(name).split("/") if part]
    return "/".join([family, *(_beir(parts) if family == "beir" else _lotte(parts))])


def suggestion(name: str) -> str | None:
    """The collection that a name without beir/ may refer to."""
    canonical = _CANONICAL.get(_plain(name))
    return f"beir/{canonical}" if canonical else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _beir(parts: list[str]) -> list[str]:
    name, *rest = parts or [""]
    if name not in _CANONICAL:
        raise unknown("collection of BEIR", name, _BEIR)
    name = _CANONICAL[name]
    if name in _LICENSED:
        raise SettingError(
            f"beir/{name}: the owners of its documents do not let others pass them on, so it cannot be downloaded; get "
            "it from them, and give its folder: corpus.jsonl, queries.jsonl, qrels/test.tsv"
        )
    if name == "cqadupstack":
        if not rest:
            listed = ", ".join(f"beir/{name}/{forum}" for forum in _FORUMS)
            raise SettingError(f"beir/{name} is twelve collections, whose measures are averaged; name one: {listed}")
        if rest[0] not in _FORUMS:
            raise unknown("forum of beir/cqadupstack", rest[0], _FORUMS)
    return [name, *rest]


def _lotte(parts: list[str]) -> list[str]:
    for part, (what, known) in zip(
        [*parts, "", "", ""],
        (("domain of LoTTE", _DOMAINS), ("split of LoTTE", _LOTTE_SPLITS), ("kind of LoTTE's queries", KINDS)),
        strict=False,
    ):
        if part not in known:
            error = unknown(what, part, known)
            raise SettingError(f"{error}; a whole name is lotte/lifestyle/dev/search")
    if len(parts) > 3:
        raise SettingError(f"no collection named lotte/{'/'.join(parts)}; did you mean lotte/{'/'.join(parts[:3])}?")
    return parts


@contextmanager
def downloading(name: str) -> Iterator[None]:
    """Context for reading a collection that is downloaded on first use; reports failures in one line."""
    try:
        yield
    except AcclimateError:
        raise
    except Exception as error:
        raise DataError(
            f"could not be downloaded or read: {reason_of(error)}; the same command tries again, or give a folder that "
            "has it",
            path=name,
        ) from error
