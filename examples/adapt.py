"""Adapt search to a folder of documents, and say in one line per stage how far it is.

python examples/adapt.py docs/ run
"""

import argparse

import acclimate

parser = argparse.ArgumentParser()
parser.add_argument("corpus")
parser.add_argument("out")
arguments = parser.parse_args()


def show(stage: str, done: int, total: int, unit: str) -> None:
    """Called as work goes on: whatever shows progress can be called from here."""
    if done == total:
        print(f"{stage}: {total:,} {unit}")


try:
    run = acclimate.adapt(arguments.corpus, out=arguments.out, progress=show)
except acclimate.AcclimateError as error:  # what was found, and what to do, in a line
    raise SystemExit(f"{error}") from None

report = run.report
print(f"{report.verdict} (measured on {report.verdict_basis})")
for system in report.systems:
    mark = "recommended" if system.name == report.recommended else ""
    print(f"{system.name:28} {system.measures['nDCG@10']:.3f} {system.latency_ms['p50']:8.1f} ms  {mark}")
