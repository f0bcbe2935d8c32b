"""Sentences on how adapting changed search on other collections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acclimate.base.text import counted
from acclimate.measure.measures import MAIN
from acclimate.report.formatting import p_value, score, signed

_WORDS = {
    "WIN": "improved",
    "NO DIFFERENCE": "did not change significantly",
    "REGRESSION": "got worse",
}
IN_A_WORD = {"WIN": "improved", "NO DIFFERENCE": "unclear", "REGRESSION": "worse"}  # by verdict


def is_elsewhere(measured: Mapping[str, Any]) -> bool:
    """True if most documents of the collection are not also in the run's corpus, which the students learned."""
    return 2 * measured.get("shared", 0) < measured["documents"]


def warnings(measured: Mapping[str, Any]) -> list[str]:
    """A sentence for each adapted system that became worse there, and one on documents that the run has, too."""
    worse = [row for row in measured["systems"] if row["verdict"] == "REGRESSION"]
    return sentences({**measured, "systems": worse})


def sentences(measured: Mapping[str, Any]) -> list[str]:
    """A sentence for each adapted system, and one on documents that the run has, too."""
    shared = measured.get("shared", 0)
    also_here = (
        f"{shared:,} of the {counted(measured['documents'], 'document')} of {measured['collection']} are also in this "
        "corpus, so it shows less of what adapting costs elsewhere."
    )
    where = (
        f"Outside this corpus, on {measured['collection']} ({counted(measured['queries'], 'labelled query')}, "
        f"{counted(measured['documents'], 'document')})"
    )
    return [
        f"{where}, {row['system']} {_WORDS[row['verdict']]}: {MAIN} {score(row[MAIN])} against {score(row['before'])} "
        f"of {row['baseline']}, {signed(row['delta'])} (95% interval {signed(row['ci95'][0])} to "
        f"{signed(row['ci95'][1])}, p {p_value(row['p'])})."
        for row in measured["systems"]
    ] + [also_here] * (shared > 0)
