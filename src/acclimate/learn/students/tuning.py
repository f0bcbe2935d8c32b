"""Settings of the distillation are chosen by trying them, and the student that does best on held-out queries is kept.

Every combination of the values is trained, the run's own settings first; of equals the first is kept. Each trial leaves
its result before the next begins, and only the best one's models stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acclimate.base.files import read_json, write_json
from acclimate.learn.students.distillation import Notes, forget_notes


def tune_students(
    folder: Path,
    settings: Mapping[str, Any],
    choices: Sequence[Mapping[str, Any]],
    learn: Callable[[Mapping[str, Any], Path], Notes],
    measure: Callable[[Path, Notes], Mapping[str, float]],
) -> Notes:
    """Students in `folder`, each by the best of its trials; the notes of each say under `tried` what was tried.

    settings: those of distill. choices: what each trial changes of them. learn: distill with such settings, into a
    folder. measure: kind of each student in a folder -> its nDCG@10 on held-out queries, in [0, 1].
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
                forget_notes(trial / "made")
            results.append(read_json(trial / "result.json"))
            best = _best(results)
            for worse in {*range(number + 1)} - {best}:
                shutil.rmtree(folder / "trials" / f"{name}-{worse}" / "made", ignore_errors=True)
        best = _best(results)
        for path in sorted((folder / "trials" / f"{name}-{best}" / "made").glob("*")):  # none once trials are removed
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
    """The number of the best trial; the first of equals."""
    return max(range(len(results)), key=lambda number: (sum(results[number]["nDCG@10"].values()), -number))


def _values_in_words(choice: Mapping[str, Any]) -> str:
    """`epochs 3, learning_rate 4e-05`"""
    return ", ".join(f"{name} {value}" for name, value in choice.items())
