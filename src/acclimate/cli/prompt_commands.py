"""Commands on prompts: `acclimate prompts ...`."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

import acclimate
from acclimate.base.text import counted, on_one_line, printable

prompts_app = App(name="prompts", help="Prompts that ask an LLM for queries.", help_format="plaintext")


@prompts_app.command(name="list")
def list_prompts() -> None:
    """List the prompts that generate.prompt accepts."""
    prompts = acclimate.prompts()
    labelled = [name for name in prompts if name.startswith("promptagator-")]
    width = max(len(name) for name in prompts if name not in labelled)
    for name, description in prompts.items():
        if name not in labelled:
            print(f"{name:{width}}  {description}")
    collections = ", ".join(name.removeprefix("promptagator-") for name in labelled)
    print(f"\npromptagator-NAME shows labelled examples of another collection: {collections}")


@prompts_app.command(name="show")
def show_prompt(prompt: str, *, document: str = "{document}") -> None:
    """Print a prompt as the LLM sees it.

    Parameters
    ----------
    prompt
        A name from `acclimate prompts list`, or a TOML file.
    document
        Text to insert as the document.
    """
    print(printable(acclimate.prompt(prompt).render(document)))


@prompts_app.command(name="check")
def check_prompt(path: Path) -> None:
    """Check a prompt file and summarize it.

    Parameters
    ----------
    path
        TOML file.
    """
    from acclimate.llm.lengths import CHARACTERS_PER_TOKEN

    prompt = acclimate.prompt(path)
    tokens = len(prompt.render("")) // CHARACTERS_PER_TOKEN
    ends = ", ".join(map(repr, prompt.stop))
    cue = prompt.target.rpartition("{document}")[2]
    size = f"{path}: {prompt.name}, about {counted(tokens, 'token')} around a document"
    print(on_one_line(f"{size}; {cue!r} asks, and {ends} ends an answer"))
