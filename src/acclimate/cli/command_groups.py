"""The commands that come in groups: `acclimate prompts ...` and `acclimate cache ...`."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from acclimate.base.errors import DataError
from acclimate.base.text import on_one_line, printable, single_spaced
from acclimate.records import PromptExample

prompts_app = App(name="prompts", help="The prompts that ask an LLM for queries.", help_format="plaintext")
cache_app = App(name="cache", help="The answers of LLMs that a run keeps.", help_format="plaintext")

# For prompts that show examples of the user's own.
_STAND_INS = [PromptExample(str(n), str(n), f"{{query {n}}}", f"{{document {n}}}") for n in (1, 2, 3)]


@prompts_app.command(name="list")
def list_prompts() -> None:
    """The prompts that generate.prompt may name, each with what it is for."""
    from acclimate.llm import prompts

    shown = [name for name in prompts.names() if not name.startswith("promptagator-")]
    for name in shown:
        print(f"{name:{max(map(len, shown))}}  {prompts.template(name).description}")
    others = [name.removeprefix("promptagator-") for name in prompts.names() if name not in shown]
    print(f"\npromptagator-NAME takes the labels of another collection: {', '.join(others)}")


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
    from acclimate.llm import prompts

    print(printable(prompts.load(prompt, _STAND_INS).render(document)))


@prompts_app.command(name="check")
def check_prompt(path: Path) -> None:
    """Say whether a TOML file is a prompt, and what it comes to.

    Parameters
    ----------
    path
        The file.
    """
    from acclimate.llm import prompts
    from acclimate.llm.decoding import CHARACTERS_PER_TOKEN

    prompt = prompts.load(path, _STAND_INS)
    tokens = len(prompt.render("")) // CHARACTERS_PER_TOKEN
    ends = ", ".join(map(repr, prompt.stop))
    cue = prompt.target.rpartition("{document}")[2]
    found = f"{path}: {prompt.name}, about {tokens:,} tokens around a document"
    print(on_one_line(f"{found}; {cue!r} asks, and {ends} ends an answer"))


@cache_app.command(name="stats")
def cache_stats(run_dir: Path, *, prices: Path | None = None) -> None:
    """What the LLM's answers kept with a run come to: how many, of whom, for how much.

    Parameters
    ----------
    run_dir
        Folder of a run.
    prices
        TOML file with the prices of LLMs; see adapt.
    """
    from acclimate.llm.prices import Budget, read_prices
    from acclimate.report.formatting import usd

    if prices is not None:
        read_prices(prices)
    with _completions(run_dir) as kept:
        print(f"{len(kept):,} answers, {kept.path.stat().st_size / 1e6:.1f} MB")
        for (stage, llm), used in kept.ledger().items():
            cost = Budget(prices=prices).cost(llm, {"prompt": used.prompt_tokens, "completion": used.completion_tokens})
            tokens = f"{used.prompt_tokens:,} tokens read, {used.completion_tokens:,} written"
            price = "cost not known" if cost is None else usd(cost)
            print(f"{stage}: {single_spaced(llm)} asked {used.calls:,} times, {tokens}, {price}")


@cache_app.command(name="verify")
def verify_cache(run_dir: Path) -> None:
    """Read every kept answer; exit code 2 when some cannot be read.

    Parameters
    ----------
    run_dir
        Folder of a run.
    """
    with _completions(run_dir) as kept:
        damaged = len(kept.damaged())
        print(f"{len(kept):,} answers, {damaged:,} damaged")
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
    from acclimate.run.workspace import Workspace

    with _completions(run_dir) as kept, Workspace(run_dir).lock():
        print(f"{kept.prune():,} answers removed, {len(kept):,} kept")


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
    from acclimate.llm.batches import read_results

    with _completions(run_dir) as kept:
        taken = read_results(kept, results)
    print(f"{taken.kept:,} answers taken in, {sum(taken.failed.values()) + sum(taken.refused.values()):,} failed")
    for reason, count in {**taken.failed, **taken.refused}.items():
        print(f"  {count:,}: {single_spaced(reason)}")
    if taken.refused:
        print(f"{sum(taken.refused.values()):,} of them are refused for good: their documents are passed over.")
    if taken.failed:
        without = f", without {' and '.join(taken.left_out)}" if taken.left_out else ""
        print(f"What failed is asked for again by the next batch{without}.")


def _completions(folder: Path):
    """The completion cache that is in the folder of a run."""
    from acclimate.llm.completions import Completions

    path = folder / "completions.sqlite"
    if not path.exists():
        raise DataError("no answers of an LLM are kept here", path=folder)
    return Completions(path)
