"""The trials of `distill.tune`: every combination of the values that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from acclimate.base.errors import SettingError, unknown
from acclimate.run.settings import Setting
from acclimate.run.settings import check as checked_value


def trials(tune: Sequence[str], settings: Mapping[str, Any], known: Mapping[str, Setting]) -> list[dict[str, Any]]:
    """The settings of each trial: first the current ones (`settings`), then all other combinations of `tune`.

    known: the tunable settings. Raises SettingError for any other, and for an invalid value.
    """
    values: dict[str, list[Any]] = {}
    for text in tune:
        name, *candidates = (part.strip() for part in text.split(":"))
        if name not in known:
            raise unknown("setting of distill to tune", name, known)
        if not candidates or name in values:
            raise SettingError(f"distill.tune has {text!r}; expected setting:value:value, and each setting once")
        values[name] = [checked_value(value, known[name], f"distill.tune: {name}") for value in candidates]
    untouched = {name: settings[name] for name in values}
    tried = [untouched, *(dict(zip(values, combination, strict=True)) for combination in product(*values.values()))]
    return [trial for number, trial in enumerate(tried) if trial not in tried[:number]]
