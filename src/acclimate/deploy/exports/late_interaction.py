"""What the late-interaction formats share: which members they write, and how they check them.

sentence-transformers 6 reads both layouts back: its vectors of documents and of the words of queries are compared with
the run's, and so is the ranking that they give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.base.errors import DataError
from acclimate.base.files import write_text
from acclimate.deploy.exports import model_checks as checks
from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.late_interaction_folders import Reading, reading_of
from acclimate.deploy.exports.model_card import provenance
from acclimate.deploy.exports.model_folders import write_sides
from acclimate.deploy.exports.model_sides import Side, sides_of
from acclimate.deploy.exports.source import Source
from acclimate.search.encoded import Encoded
from acclimate.search.names import SystemName


@dataclass(frozen=True)
class WithoutSpecialTokens:
    """Encodes queries without the vectors of the first and last token, which the run leaves out too."""

    whole: checks.Exported

    @property
    def fingerprint(self) -> str:
        return f"{self.whole.fingerprint} without ends"

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Vectors of each text, in the order given."""
        return [encoded._replace(tokens=encoded.tokens[1:-1]) for encoded in self.whole.encode(texts)]


def write_members(
    source: Source, folder: Path, write_side: Callable[[Side, Reading, Path], None], loading: Sequence[str]
) -> Written:
    """Write and check the late-interaction members of the system. loading: code for the card, which loads the model.

    Raises DataError for a system without such a member, and where a model read back gives other vectors.
    """
    names = [name for name in source.members if SystemName(name).retriever == "late-interaction"]
    if not names:
        raise DataError(f"{source.name} has no late interaction; expected another system, with --system")
    notes: dict[str, Any] = {}
    lines: list[str] = []
    whole: dict[str, checks.Exported] = {}
    words: dict[str, WithoutSpecialTokens] = {}
    for name in names:
        into = folder / SystemName(name).file_name
        sides = sides_of(source.run, source.outputs.get("distill"), name)
        reading = reading_of(sides["query"], sides["document"])
        card = [*_loading(loading), *provenance(source, (SystemName(name),))]
        write_sides(sides, into, partial(_write_side, write_side, reading, name, card))
        whole[name] = checks.Exported(into / "query", "late-interaction", "query")
        if not (reading.query_prefix or reading.is_filled):  # from a bi-encoder: the run ignores [CLS] and [SEP]
            words[name] = WithoutSpecialTokens(whole[name])
        notes[name] = _compared(source, name, whole[name], into / "document")
        lines.append(f"{name}: " + ", ".join(f"{what} {value:.6f}" for what, value in notes[name].items()))
    ours = source.search(source.queries, checks.TOP)
    for what, encoders in (("", whole), (", without the vectors of [CLS] and [SEP],", words)):
        if encoders:
            share = checks.share_of_top(ours, checks.hits_with(source, {**whole, **encoders}))
            notes[f"top ten{what}"] = share
            lines.append(f"top-ten overlap of these query encoders{what} with {source.name.first}: {share:.4f}")
    return Written({"models": 2 * len(names)}, notes, lines)


def _compared(source: Source, name: str, of_queries: checks.Exported, of_documents: Path) -> dict[str, float]:
    member = source.system.members[name]
    documents, our_documents = checks.sample(source, name, "document")
    queries, our_queries = checks.sample(source, name, "query")
    their_documents = checks.Exported(of_documents, "late-interaction", "document").vectors(documents)
    their_queries = of_queries.vectors(queries)
    lowest = {
        "document cosine": checks.least_cosine_of_documents(member, our_documents, their_documents),
        "cosine of a query's words": checks.least_cosine(our_queries, list(map(_words, our_queries, their_queries))),
    }
    checks.refuse_others(name, lowest, of_documents.parent)
    return lowest


def _words(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Drop the first and last token vector if there are two more than ours."""
    return theirs[1:-1] if len(theirs) == len(ours) + 2 else theirs


def _write_side(
    write_side: Callable[[Side, Reading, Path], None],
    reading: Reading,
    name: str,
    card: Sequence[str],
    side: Side,
    folder: Path,
) -> None:
    write_side(side, reading, folder)
    what = "queries" if side.task == "query" else "documents"
    write_text(folder / "README.md", "\n".join([f"# {name}: late interaction, encoder of {what}", "", *card]))


def _loading(lines: Sequence[str]) -> list[str]:
    """The section of a model card on loading the model."""
    return ["## How to load it", "", "```python", *lines, "```", ""]
