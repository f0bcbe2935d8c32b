"""Settings of the distillation are chosen by trying them, and the student that does best on held-out queries is kept.

Every combination of the values is trained, the run's own settings first; of equals the first is kept. Each trial leaves
its result before the next begins, and only the best one's models stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from acclimate.base.errors import SettingError, unknown
from acclimate.base.files import read_json, write_json
from acclimate.run.settings import check, settings_of
from acclimate.stages.distill import distill

Notes = dict[str, dict[str, Any]]  # kind of student -> how its training went

_FIXED = ("student", "base", "tune", "max_active_dims")  # the last one is of the index, which is made outside


def trials(tune: Sequence[str], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values that each trial gives to the settings named in `tune`: first those of `settings`, then all others.

    Raises SettingError for a setting of distill that does not exist or cannot be tuned, and for a value that it cannot
    have.
    """
    known = {name: one for name, one in settings_of(distill).items() if name not in _FIXED}
    values: dict[str, list[Any]] = {}
    for text in tune:
        name, *tried = (part.strip() for part in text.split(":"))
        if name not in known:
            raise unknown("setting of distill to tune", name, known)
        if not tried or name in values:
            raise SettingError(f"distill.tune has {text!r}; expected setting:value:value, and each setting once")
        values[name] = [check(value, known[name], f"distill.tune: {name}") for value in tried]
    own = {name: settings[name] for name in values}
    found = [own, *(dict(zip(values, one, strict=True)) for one in product(*values.values()))]
    return [one for at, one in enumerate(found) if one not in found[:at]]


def tuned(
    folder: Path,
    settings: Mapping[str, Any],
    learn: Callable[[Mapping[str, Any], Path], Notes],
    measure: Callable[[Path, Notes], Mapping[str, float]],
) -> Notes:
    """Students in `folder`, each by the best of its trials; the notes of each say under `tried` what was tried.

    settings: those of distill. learn: distill with such settings, into a folder. measure: kind of each student in a
    folder -> its nDCG@10 on held-out queries, in [0, 1].
    """
    choices = trials(settings["tune"], settings)
    if len(choices) == 1:
        return learn({**settings, "tune": (), **choices[0]}, folder)
    notes: Notes = {}
    for name in settings["student"]:
        results: list[dict[str, Any]] = []
        for number, choice in enumerate(choices):
            trial = folder / "trials" / f"{name}-{number}"
            if not (trial / "result.json").exists():
                made = learn({**settings, "student": (name,), "tune": (), **choice}, trial / "made")
                reached = measure(trial / "made", made)
                write_json(trial / "result.json", {"notes": made, "nDCG@10": {k: round(reached[k], 5) for k in made}})
            results.append(read_json(trial / "result.json"))
            best = _best(results)
            for other in range(number + 1):
                if other != best:
                    shutil.rmtree(folder / "trials" / f"{name}-{other}" / "made", ignore_errors=True)
        best = _best(results)
        for path in sorted((folder / "trials" / f"{name}-{best}" / "made").glob("*")):  # none once trials are removed
            shutil.rmtree(folder / path.name, ignore_errors=True)
            path.rename(folder / path.name)
        for kind, note in results[best]["notes"].items():
            tried = [
                {"value": _said(choice), "nDCG@10": result["nDCG@10"][kind], "chosen": number == best}
                for number, (choice, result) in enumerate(zip(choices, results, strict=True))
            ]
            notes[kind] = {**note, "tried": tried}
    shutil.rmtree(folder / "trials")
    return notes


def _best(results: Sequence[Mapping[str, Any]]) -> int:
    """The number of the best trial; the first of equals."""
    return max(range(len(results)), key=lambda at: (sum(results[at]["nDCG@10"].values()), -at))


def _said(choice: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in choice.items())
