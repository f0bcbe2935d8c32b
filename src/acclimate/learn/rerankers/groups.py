"""Group the training queries by reranker: one for all, one per prompt, or one per part.

UDAPDR (arXiv 2303.00807) trains one per prompt: its gain needs several rerankers and several prompts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from acclimate.base.draw import draw
from acclimate.base.errors import SettingError
from acclimate.base.text import counted
from acclimate.records import NWay
from acclimate.search.names import RERANKER

ONE, PROMPT = "one", "prompt"
NAME = RERANKER  # of the only one, and how the names of several begin
_OTHERS = "others"


class Group(NamedTuple):
    """A reranker to train, with its training and held-out examples."""

    name: str
    examples: list[NWay]
    dev: list[NWay]
    prompts: tuple[str, ...] = ()  # prompts of its queries, if rerankers are per prompt


def n_parts(rerankers: str) -> int:
    """The number of parts in `train.rerankers`; 0 for `one` and `prompt`."""
    return 0 if rerankers in (ONE, PROMPT) else int(rerankers)


def group_queries(
    examples: Sequence[NWay],
    dev: Sequence[NWay],
    prompts: Mapping[str, str],
    *,
    rerankers: str,
    min_queries: int,
    seed: int,
) -> list[Group]:
    """The rerankers to train, by name; each query belongs to one of them.

    prompts: query_id -> the prompt that asked for it. Prompts with fewer than `min_queries` queries share one reranker;
    if they are still too few, the largest other group takes them. A prompt's reranker is checked on held-out queries of
    that prompt if there are any, so it does not change when prompts are added. Parts are drawn by query id, and checked
    on all held-out queries. Raises SettingError for parts that are too small.
    """
    parts = n_parts(rerankers)
    if rerankers == ONE or parts == 1:
        return [Group(NAME, list(examples), list(dev))]
    if parts:
        return _drawn(examples, dev, parts, min_queries, seed)
    of_prompt: dict[tuple[str, ...], list[NWay]] = {}
    for example in examples:
        of_prompt.setdefault((prompts.get(example.query_id, ""),), []).append(example)
    small = sorted(key for key, taught in of_prompt.items() if len(taught) < min_queries)
    together = [example for key in small for example in of_prompt.pop(key)]
    names = tuple(name for key in small for name in key)
    if together and len(together) < min_queries and of_prompt:
        largest = min(of_prompt, key=lambda key: (-len(of_prompt[key]), key))
        of_prompt[(*largest, *names)] = of_prompt.pop(largest) + together
    elif together:
        of_prompt[names] = together
    if len(of_prompt) == 1:
        return [Group(NAME, list(examples), list(dev), tuple(sorted(next(iter(of_prompt)))))]
    groups: dict[str, Group] = {}
    for key, taught in sorted(of_prompt.items()):
        checks = [example for example in dev if prompts.get(example.query_id, "") in key]
        name = f"{NAME}-{_slug(key[0] if key != names else _OTHERS)}"
        while name in groups:
            name += "-"
        groups[name] = Group(name, taught, checks or list(dev), key)
    return list(groups.values())


def _drawn(examples: Sequence[NWay], dev: Sequence[NWay], parts: int, min_queries: int, seed: int) -> list[Group]:
    split: list[list[NWay]] = [[] for _ in range(parts)]
    for example in examples:
        split[draw(seed, example.query_id) % parts].append(example)
    if min(map(len, split)) < min_queries:
        raise SettingError(
            f"train.rerankers is {parts} and there are {counted(len(examples), 'query')} to learn from: a part has "
            f"{min(map(len, split))}; expected {min_queries} (train.min_queries) for each: ask for fewer parts"
        )
    return [Group(f"{NAME}-{number}", part, list(dev)) for number, part in enumerate(split, 1)]


def _slug(prompt: str) -> str:
    """A prompt's name made safe for a folder name."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", prompt).strip("-")[:60] or "unnamed"
