"""Commands on stored LLM answers: `acclimate cache ...`."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

import acclimate
from acclimate.base.errors import DataError
from acclimate.base.text import command, counted, single_spaced
from acclimate.cli.options import FilePath

cache_app = App(name="cache", help="Manage the LLM answers that a run stores.", help_format="plaintext")


@cache_app.command(name="stats")
def cache_stats(run_dir: Path, *, prices: FilePath = None) -> None:
    """Show how many LLM answers a run stores, from which LLMs, and what they cost.

    Parameters
    ----------
    run_dir
        Folder of a run.
    prices
        TOML file with LLM prices; see adapt.
    """
    from acclimate.report.formatting import usd

    answers = acclimate.Answers(run_dir)
    spending = answers.spending(prices)
    print(f"{counted(len(answers), 'answer')}, {answers.path.stat().st_size / 1e6:.1f} MB")
    for row in spending:
        tokens = f"{counted(row.prompt_tokens, 'token')} read, {row.completion_tokens:,} written"
        price = "cost not known" if row.cost_usd is None else usd(row.cost_usd)
        print(f"{row.stage}: {single_spaced(row.llm)} asked {counted(row.calls, 'time')}, {tokens}, {price}")


@cache_app.command(name="verify")
def verify_cache(run_dir: Path) -> None:
    """Check every stored answer. The exit code is 2 if any is damaged.

    Parameters
    ----------
    run_dir
        Folder of a run.
    """
    answers = acclimate.Answers(run_dir)
    damaged = answers.damaged()
    print(f"{counted(len(answers), 'answer')}, {damaged:,} damaged")
    if damaged:
        raise DataError(f"damaged answers; remove them with: {command('cache', 'prune', run_dir)}", path=run_dir)


@cache_app.command(name="prune")
def prune_cache(run_dir: Path) -> None:
    """Remove damaged answers; a run asks for them again if it needs them.

    Parameters
    ----------
    run_dir
        Folder of a run.
    """
    answers = acclimate.Answers(run_dir)
    print(f"{counted(answers.prune(), 'answer')} removed, {len(answers):,} kept")


@cache_app.command(name="fill")
def fill_cache(run_dir: Path, results: Path) -> None:
    """Load the results of a batch whose requests `adapt --batch` wrote. The exit code is 2 if none is an answer.

    Parameters
    ----------
    run_dir
        Folder of the run.
    results
        Output of the batch endpoint: JSON Lines with custom_id and response.
    """
    read = acclimate.Answers(run_dir).fill(results)
    print(f"{counted(read.kept, 'answer')} taken in, {sum(read.failed.values()) + sum(read.refused.values()):,} failed")
    for reason, count in (*read.failed.items(), *read.refused.items()):
        print(f"  {count:,}: {single_spaced(reason)}")
    if read.refused:
        refused = counted(sum(read.refused.values()), "of them is", "of them are")
        print(f"{refused} refused for good: their documents are passed over.")
    if read.failed:
        without = f", without {' and '.join(read.left_out)}" if read.left_out else ""
        print(f"What failed is asked for again by the next batch{without}.")
    if not read.kept:
        raise DataError("none of these results is an answer", path=results)
