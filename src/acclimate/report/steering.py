"""Describe the queries that choices were made on: counts, the log's effect, and disagreement between groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acclimate.base.text import counted
from acclimate.report.formatting import share

_MUCH = 0.3  # disagreement, 0 to 1, worth reporting


def sentences(report: Mapping[str, Any]) -> list[str]:
    """`steering` of `report.json` in sentences; empty for reports of versions without that stage."""
    if "steering" not in report:
        return []
    seen, disagreement = report["steering"]["seen"], report["steering"]["disagreement"]
    lines = [
        f"Weights, teachers and the candidate were chosen on {report['chosen_on']}.",
        *_log_sentences(report.get("log")),
    ]
    if "log" in seen and "as_weighted" in seen:
        lines.append(
            f"Log queries {_features(seen['log'])}; synthetic queries {_features(seen['synthetic'])}. Synthetic "
            f"queries that resemble the log get more weight: weighted, they {_features(seen['as_weighted'])}, and "
            f"their effective sample size is {seen['as_weighted']['effective_queries']:,}."
        )
    quarrels = [f"{system} ({amount:.2f} of 1)" for system, amount in disagreement.items() if amount > _MUCH]
    if quarrels:
        lines.append(
            f"Groups of queries disagree about the weights of {' and '.join(quarrels)}, so these were moved towards "
            "equal weights."
        )
    return lines


def _log_sentences(account: Mapping[str, Any] | None) -> list[str]:
    """`The log has 50 distinct queries, searched 912 times; dropped: no letters 3.`"""
    if account is None:
        return []
    masked = [f"personal data removed from {counted(account['masked'], 'entry')}"] if account["masked"] else []
    dropped = [f"dropped: {', '.join(f'{reason} {n:,}' for reason, n in account['dropped'].items())}"]
    rest = "; ".join([*masked, *(dropped if account["dropped"] else [])])
    whole = f"The log has {counted(account['queries'], 'distinct query')}, searched {counted(account['asked'], 'time')}"
    return [f"{whole}; {rest}." if rest else f"{whole}."]


def _features(seen: Mapping[str, float]) -> str:
    """`have 3.2 words and share 57% of them with the top result (930 characters)`"""
    return (
        f"have {seen['words']:.1f} words and share {share(seen['shared_words'])} of them with the top result "
        f"({seen['first_hit_characters']:,} characters)"
    )
