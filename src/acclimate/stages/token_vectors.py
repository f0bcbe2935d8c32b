"""Handle runs whose index has no token vectors (`index.tokens=none`).

Late interaction compares token vectors, and all students except dense ones learn from them. What needs them is left out
where a default names it; where the user or a recipe does, that is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from acclimate.base.errors import SettingError
from acclimate.run.retrievers import NO_TOKENS
from acclimate.run.settings import Settings, settings_of
from acclimate.search.names import STUDENT_KINDS, SystemName
from acclimate.search.systems import LATE_INTERACTION

_NEED_THEM = {LATE_INTERACTION, *(student for student, kind in STUDENT_KINDS.items() if kind != "dense")}
_BY_DEFAULT = (("label", "teachers"), ("distill", "student"))


def without_token_vectors(settings: Settings, stages: Mapping[str, Callable[..., Any]]) -> Settings:
    """The settings without defaults that need token vectors, if the index has none."""
    if settings["index"]["tokens"] != NO_TOKENS:
        return settings
    changed = {stage: dict(values) for stage, values in settings.items()}
    for stage, name in _BY_DEFAULT:
        default = settings_of(stages[stage])[name].default
        if settings[stage][name] == default:
            changed[stage][name] = tuple(part for part in default if part not in _NEED_THEM)
    return changed


def check(settings: Settings) -> None:
    """Raises SettingError for settings that need token vectors, if the index has none."""
    if settings["index"]["tokens"] != NO_TOKENS:
        return
    for setting, name in _named_in_settings(settings):
        if name in _NEED_THEM:
            raise SettingError(
                f"{setting} names {name}, which needs token vectors, and index.tokens is none; name another one, or "
                "set index.tokens=int4"
            )


def _named_in_settings(settings: Settings) -> Iterator[tuple[str, str]]:
    """(setting, name) for each retriever or student that a setting names."""
    for stage, name in (("filter", "retriever"), ("mine", "retriever"), ("label", "candidates")):
        yield f"{stage}.{name}", settings[stage][name]
    for stage, name in _BY_DEFAULT:
        yield from ((f"{stage}.{name}", part) for part in settings[stage][name])
    for name in ("rerank", "systems"):
        yield from ((f"evaluate.{name}", SystemName(part).retriever) for part in settings["evaluate"][name])
