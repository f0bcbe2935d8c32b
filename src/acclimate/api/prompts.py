"""The prompts that ask an LLM for queries."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.base.arguments import StrPath, path_text
from acclimate.records import PromptExample

if TYPE_CHECKING:
    from acclimate.llm.prompts import Prompt

# Placeholders for prompts that show the user's own examples.
_STAND_INS = [PromptExample(str(n), str(n), f"{{query {n}}}", f"{{document {n}}}") for n in (1, 2, 3)]


def prompts() -> dict[str, str]:
    """The built-in values of `generate.prompt`, each with its purpose.

    >>> "inpars" in acclimate.prompts()
    True
    """
    from acclimate.llm import prompts

    return {name: prompts.template(name).description for name in prompts.names()}


def prompt(name: StrPath) -> Prompt:
    """A prompt by name, or from a TOML file; placeholders stand for examples of your own.

    Its `render` returns what an LLM reads. Raises SettingError for an unknown name, DataError for an invalid file.

    >>> print(acclimate.prompt("inpars").render("A document."))  # doctest: +ELLIPSIS
    Example 1:
    ...
    Document: A document.
    Relevant Query:
    """
    from acclimate.llm import prompts

    text = path_text(name, "name")
    return prompts.load(Path(text) if isinstance(name, PathLike) else text, _STAND_INS)
