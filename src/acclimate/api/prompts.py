"""The prompts that ask an LLM for queries."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.records import PromptExample

if TYPE_CHECKING:
    from acclimate.llm.prompts import Prompt

# For prompts that show examples of the user's own.
_STAND_INS = [PromptExample(str(n), str(n), f"{{query {n}}}", f"{{document {n}}}") for n in (1, 2, 3)]


def prompts() -> dict[str, str]:
    """The names that `generate.prompt` may have, each with what it is for.

    >>> "inpars" in acclimate.prompts()
    True
    """
    from acclimate.llm import prompts

    return {name: prompts.template(name).description for name in prompts.names()}


def prompt(name: str | PathLike[str]) -> Prompt:
    """A prompt by name, or from a TOML file; where it shows examples of your own, others stand in for them.

    Its `render` gives what an LLM reads. Raises SettingError for an unknown name, DataError for a file that is no
    prompt.

    >>> print(acclimate.prompt("inpars").render("A document."))  # doctest: +ELLIPSIS
    Example 1:
    ...
    Document: A document.
    Relevant Query:
    """
    from acclimate.llm import prompts

    return prompts.load(Path(name) if isinstance(name, PathLike) else name, _STAND_INS)
