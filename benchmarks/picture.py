"""Plot of accuracy against latency from the reports of one or several runs: docs/accuracy-latency.svg.

    python benchmarks/picture.py bench-run/*/report.json
    python benchmarks/picture.py run/report.json --out picture.svg

Of several collections the picture shows means: nDCG@10 with the interval of a mean of independent figures, and the
geometric mean of the median latencies. Systems that some collection lacks are left out. Shaded is what UDAPDR claims
for its students: 95% of the reranked system's nDCG@10 in a tenth of its time.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acclimate.measure.measures import MAIN
from acclimate.report import formatting, sentences
from acclimate.report.against_reranked import sentence, trades
from acclimate.report.pictures.svg import standalone
from acclimate.report.pictures.tradeoff import tradeoff

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "accuracy-latency.svg")
    arguments = parser.parse_args()
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.reports]
    systems = averaged([report["systems"] for report in reports])
    arguments.out.write_text(picture(systems, reports), encoding="utf-8", newline="\n")
    for system in systems:
        latency = formatting.milliseconds(system["latency_ms"]["p50"])
        print(f"{system['name']:<28} {system['measures'][MAIN]:.3f}  {latency}")
    print("\n".join(map(sentence, trades(systems))))
    print(f"wrote {arguments.out}")


def averaged(runs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The systems that all runs have, with means over the runs."""
    by_name = [{system["name"]: system for system in systems} for systems in runs]
    shared = [name for name in by_name[0] if all(name in systems for systems in by_name)]
    return [_mean([systems[name] for systems in by_name]) for name in shared]


def _mean(systems: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = [system["measures"][MAIN] for system in systems]
    mean = sum(values) / len(systems)
    ends = [system["intervals"][MAIN] for system in systems]
    # Independent errors add as squares.
    down = math.hypot(*(value - low for value, (low, _) in zip(values, ends, strict=True))) / len(systems)
    up = math.hypot(*(high - value for value, (_, high) in zip(values, ends, strict=True))) / len(systems)
    latency = math.exp(sum(math.log(max(system["latency_ms"]["p50"], 0.001)) for system in systems) / len(systems))
    return {
        "name": systems[0]["name"],
        "adapted": systems[0]["adapted"],
        "untouched": systems[0].get("untouched", False),
        "kind": systems[0]["kind"],
        "measures": {MAIN: mean},
        "intervals": {MAIN: [mean - down, mean + up]},
        "latency_ms": {"p50": latency},
    }


def picture(systems: Sequence[dict[str, Any]], reports: Sequence[dict[str, Any]]) -> str:
    """The SVG file; states if reports were measured on synthetic queries."""
    names = [Path(report["corpus"]["name"]).name for report in reports]
    kinds = sorted({sentences.CAVEATS[report["verdict_basis"]] for report in reports} - {""})
    caveat = ", ".join([*(["mean of " + ", ".join(names)] if len(names) > 1 else names), *kinds])
    against = trades(systems)
    goal = against[0]["reranked"] if against else ""
    return standalone(tradeoff(systems, recommended="", caveat=caveat, goal=goal, key="picture"))


if __name__ == "__main__":
    main()
