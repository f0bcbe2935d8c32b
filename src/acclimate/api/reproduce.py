"""Run a recipe over collections and seeds, and compare with published figures (`published.toml`)."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from acclimate.api.adapt import adapt
from acclimate.api.recipes import ResolvedRecipe, recipe
from acclimate.base.arguments import StrPath, path_of, path_text
from acclimate.base.digests import fingerprint
from acclimate.base.domains import SEEDS
from acclimate.base.errors import SettingError, unknown
from acclimate.base.files import read_toml, write_json
from acclimate.base.progress import Shown
from acclimate.base.text import columns
from acclimate.corpus import named_collections
from acclimate.corpus.collections import check_name, is_path
from acclimate.run.settings import Changes, as_text, merged, resolve, whole_number
from acclimate.stages.chain import STAGES

NAME = "reproduction.json"
_LONGEST_NAME = 60  # characters of a collection's name in its folder's name


@dataclass(frozen=True)
class Figures:
    """What a paper reports for a recipe.

    >>> acclimate.published("inpars-v2")[0].values["beir/scifact"]
    0.774
    """

    recipe: str
    measure: str
    system: str
    source: str
    differs: tuple[str, ...]  # where the recipe has to differ from the paper
    values: Mapping[str, float]  # collection -> value in [0, 1]

    def value(self, collection: str) -> float | None:
        """The value of a collection, by its usual name or by a folder that ends in it."""
        return self.values.get(collection, self.values.get(f"beir/{Path(collection).name}"))


@dataclass(frozen=True)
class Reproduced:
    """Results on one collection: our value for each seed, and the published ones.

    >>> row = acclimate.Reproduced("beir/scifact", "bm25+reranker@1000=1", "nDCG@10", {0: 0.75, 1: 0.76}, {"a": 0.77})
    >>> print(f"{row.mean:.3f}")
    0.755
    """

    collection: str
    system: str
    measure: str
    reached: Mapping[int, float]  # by seed
    published: Mapping[str, float]  # by source

    @property
    def mean(self) -> float:
        return statistics.fmean(self.reached.values())


@dataclass(frozen=True)
class Reproduction:
    """Our figures beside those of a paper, and how the runs differ from the paper's. As text, a table.

    >>> rows = (acclimate.Reproduced("beir/scifact", "bm25", "nDCG@10", {0: 0.66}, {"a paper": 0.68}),)
    >>> print(acclimate.Reproduction("inpars-v2", rows, ("scale: smaller",)))  # doctest: +NORMALIZE_WHITESPACE
    collection     measure  system  ours   a paper
    beir/scifact   nDCG@10  bm25    0.660  0.680 (-0.020)
    differs: scale: smaller
    """

    recipe: str
    rows: tuple[Reproduced, ...]
    differs: tuple[str, ...]

    def __str__(self) -> str:
        sources = list(dict.fromkeys(source for row in self.rows for source in row.published))
        lines = [["collection", "measure", "system", "ours", *sources]]
        for row in self.rows:
            spread = f" ± {statistics.stdev(row.reached.values()):.3f}" if len(row.reached) > 1 else ""
            theirs = [row.published.get(source) for source in sources]
            cells = ["-" if value is None else f"{value:.3f} ({row.mean - value:+.3f})" for value in theirs]
            lines.append([row.collection, row.measure, row.system, f"{row.mean:.3f}{spread}", *cells])
        table = columns(lines, "<" * len(lines[0]))
        return "\n".join([*table, *(f"differs: {difference}" for difference in self.differs)])


def published(recipe: str) -> list[Figures]:
    """Published figures for a recipe; empty for one of our own.

    >>> [figures.source for figures in acclimate.published("udapdr")][0]
    'arXiv 2303.00807, Table 5 (LoTTE test)'
    """
    return [figures for figures in _figures() if figures.recipe == recipe]


def reproduce(
    name: str,
    *,
    out: StrPath,
    collections: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    progress: Shown = "auto",
    settings: Changes = (),
) -> Reproduction:
    """Adapt with a recipe to every collection and seed, and compare with the published figures.

    Each run has a folder of its own in `out` and resumes there; `out/reproduction.json` holds the figures. name: a
    recipe with published figures, or one followed by others, as in `inpars-v2,embedded`. collections: usual names, or
    folders that end in one; by default all that have figures and can be obtained by name (the result says which
    cannot). settings: as for `adapt`; the result lists where they and the later recipes differ from the first one.
    Raises SettingError for a recipe without published figures, and what `adapt` raises.

    >>> acclimate.reproduce("quick", out="reproduction")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    acclimate.base.errors.SettingError: no recipe with published figures named 'quick'. There are: ...
    """
    first, folder = path_text(name, "name").partition(",")[0].strip(), path_of(out, "out")
    figures = published(first)
    if not figures:
        raise unknown("recipe with published figures", first, {each.recipe for each in _figures()})
    chosen = recipe(name)
    changed = replace(chosen, settings=resolve(STAGES, chosen.settings, settings))
    if changed.headline is None:
        raise SettingError(f"{name} has no system to compare; set it with --set evaluate.systems=...")
    left_out: list[str] = []
    if collections is None:
        collections, left_out = by_name(figures)
    collections = [collections] if isinstance(collections, str) else collections
    for collection in collections:
        check_name(path_text(collection, "collections"))
    seeds = [whole_number(seed, "seeds", SEEDS) for seed in ([seeds] if isinstance(seeds, int) else seeds)]
    changes = merged(settings, {"evaluate": {"measures": _measures(changed, figures)}})
    rows: list[Reproduced] = []
    for collection in collections:
        theirs = {each.source: value for each in figures if (value := each.value(collection)) is not None}
        reached: dict[int, float] = {}
        for seed in seeds:
            place = folder / folder_of(collection) / f"seed-{seed}"
            run = adapt(collection, out=place, recipe=name, seed=seed, settings=changes, progress=progress)
            systems = {system.name: system for system in run.report.systems}
            reached[seed] = systems[changed.headline].measures[figures[0].measure]
        rows.append(Reproduced(collection, changed.headline, figures[0].measure, reached, theirs))
    differs = _differences(recipe(first), changed, figures)
    if left_out:
        names = ", ".join(left_out)
        differs = (
            f"without {names}, not available by name: give folders whose names end like that as collections",
            *differs,
        )
    reproduction = Reproduction(name, tuple(rows), differs)
    write_json(folder / NAME, asdict(reproduction))
    return reproduction


def by_name(figures: Sequence[Figures]) -> tuple[list[str], list[str]]:
    """The collections of these figures: those that can be obtained by name, and those that cannot."""
    there: list[str] = []
    left_out: list[str] = []
    for collection in dict.fromkeys(collection for each in figures for collection in each.values):
        try:
            check_name(collection)
            there.append(collection)
        except SettingError:
            left_out.append(collection)
    return there, left_out


def folder_of(collection: str) -> str:
    """A unique folder name for a collection's runs, also where case does not count.

    Usual names are used as they are; others get a digest, since a/b and a-b would give the same name.
    """
    if named_collections.is_named(collection) and not is_path(collection):
        return named_collections.ir_datasets_id(collection).replace("/", "-")
    readable = re.sub(r"[^\w.-]+", "-", Path(collection).name).strip("-.")
    return f"{readable[:_LONGEST_NAME] or 'collection'}-{fingerprint(collection)[:8]}"


def _figures() -> list[Figures]:
    with resources.as_file(resources.files("acclimate.api") / "published.toml") as path:
        rows = read_toml(path)["figures"]
    return [Figures(**{**row, "differs": tuple(row["differs"])}) for row in rows]


def _measures(chosen: ResolvedRecipe, figures: Sequence[Figures]) -> list[str]:
    return list(dict.fromkeys([*chosen.settings["evaluate"]["measures"], *(each.measure for each in figures)]))


def _differences(first: ResolvedRecipe, chosen: ResolvedRecipe, figures: Sequence[Figures]) -> tuple[str, ...]:
    """Where the recipe has to differ from the paper, then what the caller changed in it, in words."""
    changes: list[Any] = [change for change in first.differences(chosen) if change.setting != "run.seed"]
    lines = [
        f"{setting} is {as_text(ours)}, and {as_text(theirs)} in {first.name}" for setting, theirs, ours in changes
    ]
    return (*dict.fromkeys(note for each in figures for note in each.differs), *lines)
