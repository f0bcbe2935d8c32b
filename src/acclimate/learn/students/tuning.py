"""Tune settings of the distillation by trying them; the student best on held-out queries is kept.

Every combination of values is tried, the run's own settings first; the first of equals wins. Each trial stores its
result before the next begins, and only the best one's models are kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acclimate.base.files import read_json, write_json
from acclimate.learn.students.distillation import Notes, remove_notes


def tune_students(
    folder: Path,
    settings: Mapping[str, Any],
    choices: Sequence[Mapping[str, Any]],
    learn: Callable[[Mapping[str, Any], Path], Notes],
    measure: Callable[[Path, Notes], Mapping[str, float]],
) -> Notes:
    """Train students in `folder`, each with the best of its trials; notes list all trials under `tried`.

    settings: of distill. choices: changes of each trial. learn: trains with given settings into a folder. measure: kind
    of each student in a folder -> its nDCG@10 on held-out queries, in [0, 1].
    """
    if len(choices) == 1:
        return learn({**settings, "tune": (), **choices[0]}, folder)
    notes: Notes = {}
    for name in settings["student"]:
        results: list[dict[str, Any]] = []
        for number, choice in enumerate(choices):
            trial = folder / "trials" / f"{name}-{number}"
            if not (trial / "result.json").exists():
                trained = learn({**settings, "student": (name,), "tune": (), **choice}, trial / "made")
                reached = measure(trial / "made", trained)
                ndcg = {kind: round(reached[kind], 5) for kind in trained}
                write_json(trial / "result.json", {"notes": trained, "nDCG@10": ndcg})
                remove_notes(trial / "made")
            results.append(read_json(trial / "result.json"))
            best = _best(results)
            for worse in {*range(number + 1)} - {best}:
                shutil.rmtree(folder / "trials" / f"{name}-{worse}" / "made", ignore_errors=True)
        best = _best(results)
        for path in sorted((folder / "trials" / f"{name}-{best}" / "made").glob("*")):  # empty once trials are removed
            shutil.rmtree(folder / path.name, ignore_errors=True)
            path.rename(folder / path.name)
        for kind, note in results[best]["notes"].items():
            tried = [
                {"value": _values_in_words(choice), "nDCG@10": result["nDCG@10"][kind], "chosen": number == best}
                for number, (choice, result) in enumerate(zip(choices, results, strict=True))
            ]
            notes[kind] = {**note, "tried": tried}
    shutil.rmtree(folder / "trials")
    return notes


def _best(results: Sequence[Mapping[str, Any]]) -> int:
    """The index of the best trial; the first of equals."""
    return max(range(len(results)), key=lambda number: (sum(results[number]["nDCG@10"].values()), -number))


def _values_in_words(choice: Mapping[str, Any]) -> str:
    """`epochs 3, learning_rate 4e-05`"""
    return ", ".join(f"{name} {value}" for name, value in choice.items())
