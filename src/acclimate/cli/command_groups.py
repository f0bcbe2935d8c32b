"""The commands that come in groups; those of `acclimate prompts ...` and `acclimate cache ...` are here."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

import acclimate
from acclimate.base.errors import DataError
from acclimate.base.text import on_one_line, printable, single_spaced
from acclimate.cli.inpars_commands import inpars_app
from acclimate.cli.options import FilePath
from acclimate.cli.recipe_commands import recipes_app

prompts_app = App(name="prompts", help="The prompts that ask an LLM for queries.", help_format="plaintext")
cache_app = App(name="cache", help="The answers of LLMs that a run keeps.", help_format="plaintext")
GROUPS = (prompts_app, cache_app, recipes_app, inpars_app)


@prompts_app.command(name="list")
def list_prompts() -> None:
    """The prompts that generate.prompt may name, each with what it is for."""
    prompts = acclimate.prompts()
    labelled = [name for name in prompts if name.startswith("promptagator-")]
    width = max(len(name) for name in prompts if name not in labelled)
    for name, description in prompts.items():
        if name not in labelled:
            print(f"{name:{width}}  {description}")
    collections = ", ".join(name.removeprefix("promptagator-") for name in labelled)
    print(f"\npromptagator-NAME takes the labels of another collection: {collections}")


@prompts_app.command(name="show")
def show_prompt(prompt: str, *, document: str = "{document}") -> None:
    """Print a prompt as an LLM reads it.

    Parameters
    ----------
    prompt
        A name from `acclimate prompts list`, or a TOML file.
    document
        Text to show in place of a document.
    """
    print(printable(acclimate.prompt(prompt).render(document)))


@prompts_app.command(name="check")
def check_prompt(path: Path) -> None:
    """Say whether a TOML file is a prompt, and what it comes to.

    Parameters
    ----------
    path
        The file.
    """
    from acclimate.llm.lengths import CHARACTERS_PER_TOKEN

    prompt = acclimate.prompt(path)
    tokens = len(prompt.render("")) // CHARACTERS_PER_TOKEN
    ends = ", ".join(map(repr, prompt.stop))
    cue = prompt.target.rpartition("{document}")[2]
    size = f"{path}: {prompt.name}, about {tokens:,} tokens around a document"
    print(on_one_line(f"{size}; {cue!r} asks, and {ends} ends an answer"))


@cache_app.command(name="stats")
def cache_stats(run_dir: Path, *, prices: FilePath = None) -> None:
    """What the LLM's answers kept with a run come to: how many, of whom, for how much.

    Parameters
    ----------
    run_dir
        Folder of a run.
    prices
        TOML file with the prices of LLMs; see adapt.
    """
    from acclimate.report.formatting import usd

    answers = acclimate.Answers(run_dir)
    spending = answers.spending(prices)
    print(f"{len(answers):,} answers, {answers.path.stat().st_size / 1e6:.1f} MB")
    for row in spending:
        tokens = f"{row.prompt_tokens:,} tokens read, {row.completion_tokens:,} written"
        price = "cost not known" if row.cost_usd is None else usd(row.cost_usd)
        print(f"{row.stage}: {single_spaced(row.llm)} asked {row.calls:,} times, {tokens}, {price}")


@cache_app.command(name="verify")
def verify_cache(run_dir: Path) -> None:
    """Read every kept answer; exit code 2 when some cannot be read.

    Parameters
    ----------
    run_dir
        Folder of a run.
    """
    answers = acclimate.Answers(run_dir)
    damaged = answers.damaged()
    print(f"{len(answers):,} answers, {damaged:,} damaged")
    if damaged:
        raise DataError(f"damaged answers; remove them with: acclimate cache prune {run_dir}", path=run_dir)


@cache_app.command(name="prune")
def prune_cache(run_dir: Path) -> None:
    """Remove the answers that cannot be read; a run asks for them again if it needs them.

    Parameters
    ----------
    run_dir
        Folder of a run.
    """
    answers = acclimate.Answers(run_dir)
    print(f"{answers.prune():,} answers removed, {len(answers):,} kept")


@cache_app.command(name="fill")
def fill_cache(run_dir: Path, results: Path) -> None:
    """Take in the results of a batch that `adapt --batch` wrote the requests of.

    Parameters
    ----------
    run_dir
        Folder of the run.
    results
        What the batch endpoint gave back: JSON Lines with custom_id and response.
    """
    taken = acclimate.Answers(run_dir).fill(results)
    print(f"{taken.kept:,} answers taken in, {sum(taken.failed.values()) + sum(taken.refused.values()):,} failed")
    for reason, count in {**taken.failed, **taken.refused}.items():
        print(f"  {count:,}: {single_spaced(reason)}")
    if taken.refused:
        print(f"{sum(taken.refused.values()):,} of them are refused for good: their documents are passed over.")
    if taken.failed:
        without = f", without {' and '.join(taken.left_out)}" if taken.left_out else ""
        print(f"What failed is asked for again by the next batch{without}.")
