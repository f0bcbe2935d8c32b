"""Prompts: the text around a document that makes an LLM write a query. `files.py` describes their files.

Everything but the target is the same for all documents and comes first, so an LLM computes it once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from acclimate.base.digests import fingerprint
from acclimate.base.draw import draw, uniform
from acclimate.base.errors import DataError, SettingError, unknown
from acclimate.base.files import is_file
from acclimate.base.text import quoted
from acclimate.corpus.language import english_name
from acclimate.corpus.query_log import NO_LOG, QueryLog
from acclimate.llm.prompts import files
from acclimate.llm.prompts.files import HERE, Template, fill, filled, shots_of
from acclimate.records import PromptExample

JUDGES = HERE / "judges"
ADAPTED = "adapted"  # the prompts that the seed stage made from the corpus


@dataclass(frozen=True)
class Prompt:
    """A template with its examples."""

    name: str
    description: str
    instruction: str
    example: str  # format of an example
    shots: tuple[Mapping[str, str], ...] = field(hash=False)  # values for each example
    target: str  # contains {document}; {number} is already replaced
    stop: tuple[str, ...] = ("\n",)
    chat: bool = False
    hints: str = ""  # put first: task, language, style, real queries

    @cached_property
    def prefix(self) -> str:
        """Instruction and examples: the same for every document unless shuffled."""
        return self.instruction + filled(self.example, self.shots)

    def shuffled(self, seed: int, doc_id: str) -> Prompt:
        """The prompt with its examples shuffled by seed and document id."""
        order = sorted(range(len(self.shots)), key=lambda place: (draw(seed, "shot", place, doc_id), place))
        return replace(self, shots=tuple(self.shots[place] for place in order))

    def render(self, document: str, query: str = "") -> str:
        """The filled prompt, for a document, and a query if it asks about one.

        Both are inserted verbatim, except for trailing blanks of a document that ends the prompt.
        """
        hints = f"{self.hints}\n\n" if self.hints else ""
        document = document.rstrip() if self.target.endswith("{document}") else document
        return hints + self.prefix + fill(self.target, {"document": document, "query": query})

    @property
    def fingerprint(self) -> str:
        """Of everything that the LLM sees, not of name and description."""
        return fingerprint(self.hints, self.prefix, self.target, self.stop, self.chat)


@dataclass(frozen=True)
class Mix:
    """Prompts with the shares of documents that they get."""

    prompts: tuple[Prompt, ...]
    shares: tuple[float, ...]  # above 0

    @property
    def fingerprint(self) -> str:
        """Of the prompts, their names and their shares, in order."""
        return fingerprint([(p.name, p.fingerprint, s) for p, s in zip(self.prompts, self.shares, strict=True)])

    def share_out(self, doc_id: str, n: int = 1) -> list[tuple[Prompt, int]]:
        """The `n` prompts for this document, each with how often it was used before.

        They are drawn by share, each once before any is used again, and depend on the document's id alone, so that
        other documents do not matter.
        """
        chosen: list[tuple[Prompt, int]] = []
        for number in range(n):
            times, place = divmod(number, len(self.prompts))
            had = [prompt.name for prompt, _ in chosen[number - place :]]
            left = [(p, share) for p, share in zip(self.prompts, self.shares, strict=True) if p.name not in had]
            point = uniform("prompt", number, doc_id) if number else uniform("prompt", doc_id)
            chosen.append((_prompt_at(point, left), times))
        return chosen


def _prompt_at(point: float, shared: Sequence[tuple[Prompt, float]]) -> Prompt:
    """The prompt whose interval of [0, 1) contains the point."""
    below, total = 0.0, sum(share for _, share in shared)
    for prompt, share in shared:
        below += share / total
        if point < below:
            return prompt
    return shared[-1][0]


class Material(NamedTuple):
    """What a run provides for prompts."""

    examples: Sequence[PromptExample] = ()  # task examples
    adapted: Sequence[Path] = ()  # files for the name `adapted`
    collection: str = ""  # whose labels prompts use if they have them
    log: QueryLog = NO_LOG  # real queries


NO_MATERIAL = Material()


def hints(task: str = "", language: str = "", style: str = "", searches: Sequence[str] = ()) -> str:
    """Text to put before a prompt. language: name or code. searches: real queries, as examples of how people ask."""
    sentences = {
        "The queries serve this purpose: {}.": task,
        "Write them in {}.": english_name(language),
        "Their style: {}.": style,
    }
    wishes = " ".join(sentence.format(value.rstrip(".")) for sentence, value in sentences.items() if value)
    queries = [f"- {query}" for query in searches]
    return "\n".join([*([wishes] if wishes else []), *(["People here ask like this:", *queries] if queries else [])])


def load_mix(entries: Sequence[str], material: Material = NO_MATERIAL, *, hints: str = "") -> Mix:
    """Load prompts by name or path, each with an optional `:SHARE`; hints as in `load`.

    Raises SettingError for an unknown name, a share that is not above 0 and two prompts of one name; DataError for an
    invalid file.
    """
    loaded: list[Prompt] = []
    shares: list[float] = []
    for entry in entries:
        name, share = _share(entry)
        if name == ADAPTED and not material.adapted:
            raise SettingError(f"generate.prompt: {ADAPTED!r} stands for what the seed stage makes, which has not run")
        paths = [str(path) for path in material.adapted] if name == ADAPTED else [name]
        loaded += [load(path, material.examples, collection=material.collection, hints=hints) for path in paths]
        shares += [share / len(paths)] * len(paths)
    if not loaded or len({prompt.name for prompt in loaded}) < len(loaded):
        raise SettingError(f"generate.prompt is {quoted(','.join(entries))}; expected one or more prompts, each once")
    return Mix(tuple(loaded), tuple(shares))


def plain_names(entries: Sequence[str]) -> list[str]:
    """Names or paths of a setting, without shares."""
    return [_share(entry)[0] for entry in entries]


def _share(entry: str) -> tuple[str, float]:
    name, colon, number = entry.rpartition(":")
    if not (colon and re.fullmatch(r"-?\d+(\.\d+)?", number)):
        return entry, 1.0
    if float(number) <= 0:
        raise SettingError(
            f"generate.prompt: {quoted(entry)} has no share; expected NAME or NAME:SHARE with a share above 0"
        )
    return name, float(number)


def names() -> list[str]:
    """The built-in prompts."""
    return sorted(_built_in())


@cache
def _built_in() -> dict[str, tuple[Path, str]]:
    """Name -> (file, collection); a file has a name for itself and one for each collection that it has labels for."""
    named: dict[str, tuple[Path, str]] = {}
    for path in HERE.glob("*.toml"):
        if path != files.POOL:
            named[path.stem] = path, ""
            for collection in files.read(path).labels.keys() - {"default"}:
                named[f"{path.stem}-{collection}"] = path, collection
    return named


def template(name_or_path: str | Path, *, collection: str = "") -> Template:
    """A built-in prompt by name, or a file by path, with a collection's labels if it has any.

    FILE.yaml#NAME is one of the InPars templates in a file. Raises SettingError for an unknown name, DataError for an
    invalid file.
    """
    name = str(name_or_path)
    if name in _built_in():
        path, named = _built_in()[name]
        return files.read(path).labelled(named or collection)
    file, _, entry = name.rpartition("#")
    if not file.lower().endswith((".yaml", ".yml")):  # a folder may have # in its name
        file, entry = name, ""
    path = Path(file)
    if path.suffix.lower() in (".toml", ".yaml", ".yml", ".txt") or is_file(path):
        return files.read(path, entry).labelled(collection)
    raise unknown("prompt (or file)", name, names())


def judge(name_or_path: str | Path) -> Prompt:
    """A prompt about a query and a document, by name or path. Raises as `template` does."""
    judge_names = sorted(path.stem for path in JUDGES.glob("*.toml"))
    path = JUDGES / f"{name_or_path}.toml" if name_or_path in judge_names else Path(name_or_path)
    if path.suffix.lower() != ".toml":
        raise unknown("prompt of a judge (or file)", str(name_or_path), judge_names)
    judge_template = files.read(path)
    if "{query}" not in judge_template.target:
        raise DataError("target has no {query}; a judge is asked about a query and a document", path=path)
    if judge_template.examples is None:
        raise DataError("examples is 'yours', and a judge has none; write them into the file", path=path)
    return _prompt(judge_template, judge_template.examples)


def load(
    name_or_path: str | Path, examples: Sequence[PromptExample] = (), *, collection: str = "", hints: str = ""
) -> Prompt:
    """Load a prompt with its examples.

    examples: for prompts that need examples of the task. collection: whose labels to use, if it has any. hints: put
    first. Raises as `template` does, and SettingError if examples are needed and missing.
    """
    unfilled = template(name_or_path, collection=collection)
    if unfilled.examples is None and not examples:
        raise SettingError(
            f"the prompt {unfilled.name} shows the LLM examples of your task: name a file of them, or a collection's "
            "training queries, with --set sample.examples=FILE or sample.examples=train"
        )
    return _prompt(unfilled, shots_of(unfilled, examples), hints)


def _prompt(unfilled: Template, shots: tuple[Mapping[str, str], ...], hints: str = "") -> Prompt:
    return Prompt(
        name=unfilled.name,
        description=unfilled.description,
        instruction=unfilled.instruction,
        example=unfilled.example,
        shots=shots,
        target=fill(unfilled.target, {"number": str(len(shots) + 1)}),
        stop=unfilled.stop,
        chat=unfilled.chat,
        hints=hints,
    )
