"""The command line: a command is a few lines over a function of the package. Options of stages are theirs.

Results go to stdout, progress and errors to stderr. Exit codes: 0 success, 2 a mistake that a message explains, 3 a
budget was reached (state kept), 130 interrupted, 143 terminated, 129 hung up (state kept).
"""

from __future__ import annotations

import io
import json as json_format
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter

import acclimate
from acclimate.base import distributed, signals
from acclimate.base.errors import FILE_ERRORS, AcclimateError, is_out_of_memory
from acclimate.base.secrets import redacted
from acclimate.base.text import on_one_line, shortened
from acclimate.cli import shell, stage_commands
from acclimate.cli.adapt_command import adapt
from acclimate.cli.command_groups import GROUPS
from acclimate.cli.convert_commands import convert
from acclimate.cli.export_command import export
from acclimate.cli.file_commands import compare, evaluate_run, rerank
from acclimate.cli.forgetting_command import forgetting
from acclimate.cli.judge_command import judge
from acclimate.cli.model_commands import convert_model
from acclimate.cli.options import (
    Count,
    Counts,
    Flag,
    K,
    Name,
    Seed,
    Text,
    check_arguments,
    unwrapped,
)
from acclimate.cli.recipe_commands import reproduce
from acclimate.cli.serve_command import feedback, serve
from acclimate.cli.stage_commands import show
from acclimate.cli.update_command import update

_HELP = """Tune a search engine to documents that have no labels.

An LLM writes the queries that people might ask of your documents; bad ones are filtered out; rerankers and fast
retrievers learn from the rest; and a paired comparison with the untouched systems says whether it helped.

Start with: acclimate adapt FOLDER --out run
"""
app = App(
    name="acclimate",
    version=acclimate.__version__,
    help=unwrapped(_HELP),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)

for group in GROUPS:
    app.command(group)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function, with its docstring as help."""
    function.__doc__ = unwrapped(function.__doc__ or "")
    app.command(function)
    return function


stage_commands.register(app)
for command_elsewhere in (
    adapt,
    judge,
    forgetting,
    compare,
    evaluate_run,
    rerank,
    convert,
    convert_model,
    export,
    reproduce,
    update,
):
    command(command_elsewhere)
for command_elsewhere in (serve, feedback):
    command(command_elsewhere)


@command
def report(run_dir: Path) -> None:
    """Print the report of a finished run again, and write report.json and report.html anew. No stage is made.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    """
    show(acclimate.open(run_dir).write_report())


@command
def status(run_dir: Path, *, json: Flag = False) -> None:
    """Say what a run is doing, from any terminal: the stage at work, how far it is and the time left; or how it ended.

    RUN-DIR/run.log has every line that was said since the run was begun.

    Parameters
    ----------
    run_dir
        Folder of a run, begun or finished.
    json
        As JSON, for programs.
    """
    state = acclimate.status(run_dir)
    if json:
        print(json_format.dumps({**state._asdict(), "stages": [stage._asdict() for stage in state.stages]}, indent=2))
    else:
        print(state)


@command
def inspect(run_dir: Path, *, sample: Count = 50, seed: Seed = 0, prompt: Name = None, reason: Text = None) -> None:
    """Show the synthetic queries of a run: what they are like, what was turned down and why; and a sample, as a page.

    Parameters
    ----------
    run_dir
        Folder of a run in which queries are generated.
    sample
        Answers of the LLM to show on the page, rejected ones among them.
    seed
        Of the draw of the sample and of the examples.
    prompt
        Draw the sample only from the answers to this prompt.
    reason
        Draw the sample only from what was turned down for this reason.
    """
    page = acclimate.open(run_dir).inspect(sample=sample, seed=seed, prompt=prompt, reason=reason)
    print(page)
    print(f"Page: {page.path}")


@command
def search(run_dir: Path, query: str, *, k: K = 10, system: Name = None) -> None:
    """Search the corpus of a run with the system that it recommends.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    query
        What to search for.
    k
        Documents to show.
    system
        Another system of the run, by name.
    """
    if hits := acclimate.open(run_dir).search(query, k, system):
        print(*hits, sep="\n")
    else:
        _say("no document has a word of the query")


@command
def curve(run_dir: Path, *, queries: Counts = None, lists: Counts = None) -> None:
    """Show how search gets better with more synthetic queries and more labelled lists, so that you know when to stop.

    Trains anew on parts of what a run has: rerankers on synthetic queries, students on the lists that its teacher
    labelled; the teacher stays as it is. Each part lies within the next larger one. Every point is measured on the
    held-out queries that choices are made on, and on those that measure the run: they chose nothing, so only they say
    what is more than chance. Each is kept in RUN-DIR/curve, so an interrupted command goes on; the run stays as it is,
    and its report has the curves from then on.

    Read the sentence below the table first. To get more queries, raise sample.n_docs or generate.per_doc; to train the
    reranker on more of them, train.max_queries.

    Parameters
    ----------
    run_dir
        Folder of a run that is labelled: acclimate label RUN-DIR is enough.
    queries
        Numbers of synthetic queries to train rerankers on, such as 100,200,400; none leaves them out. By default 100,
        then double as many each time, up to all.
    lists
        Numbers of labelled lists to train the students on, in the same way.
    """
    page = acclimate.open(run_dir).curve(queries=queries, lists=lists)
    print(page)
    print(f"Page: {page.path}")


@command
def doctor() -> None:
    """Say what is installed, which devices there are, what is missing, and the command that installs it."""
    print("\n".join(map(str, acclimate.doctor())))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code."""
    shell.prepare()
    if not distributed.is_main():
        sys.stdout = io.StringIO()  # the first process says it
    try:
        shell.check_folder()
        tokens = sys.argv[1:] if arguments is None else arguments
        check_arguments(tokens)
        with shell.log_on_stderr():
            app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except (AcclimateError, CycloptsError) as error:
        _say(str(error))
        return getattr(error, "exit_code", 2)
    except KeyboardInterrupt as stop:
        return signals.stopped(stop)
    except BrokenPipeError:
        return 0
    except (OSError, RuntimeError, MemoryError) as error:
        if getattr(error, "errno", None) not in FILE_ERRORS and not is_out_of_memory(error):
            raise
        _say(f"{str(error) or 'out of memory'}; what is made is kept, and the same command goes on")
        return 2
    distributed.leave()
    return 0


def _say(message: str) -> None:
    """A line on stderr."""
    print(f"acclimate: {shortened(redacted(on_one_line(message)))}", file=sys.stderr)
