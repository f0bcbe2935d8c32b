"""The command line: assembles all commands, and turns exceptions into exit codes.

Results go to stdout, progress and errors to stderr. Exit codes: 0 success, 2 user error explained by a message, 3
budget reached (state kept), 130 interrupted, 143 terminated, 129 hung up (state kept).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

import acclimate
from acclimate.base import distributed, signals
from acclimate.base.errors import AcclimateError, remedy
from acclimate.cli import shell, stage_commands
from acclimate.cli.adapt_command import adapt
from acclimate.cli.cache_commands import cache_app
from acclimate.cli.convert_commands import convert, convert_model
from acclimate.cli.file_commands import compare, evaluate_run, rerank
from acclimate.cli.inpars_commands import inpars_app
from acclimate.cli.judge_command import judge
from acclimate.cli.options import check_arguments, unwrapped
from acclimate.cli.prompt_commands import prompts_app
from acclimate.cli.recipe_commands import recipes_app, reproduce
from acclimate.cli.run_commands import curve, export, forgetting, inspect, report, search, status, update
from acclimate.cli.serve_command import feedback, serve
from acclimate.cli.usage import explained

_HELP = """Adapt a search engine to your documents without labelled data.

An LLM writes queries for your documents; bad ones are filtered out; rerankers and fast retrievers are trained on the
rest; and a paired comparison with the systems you already have shows whether it helped.

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


def doctor() -> None:
    """Show what is installed, which devices are available, what is missing, and how to install it."""
    print("\n".join(map(str, acclimate.doctor())))


for group in (prompts_app, cache_app, recipes_app, inpars_app):
    app.command(group)
stage_commands.register(app)
for command in (
    adapt, judge, forgetting, compare, evaluate_run, rerank, convert, convert_model, export, reproduce, update,
    serve, feedback, report, status, inspect, search, curve, doctor,
):  # fmt: skip
    command.__doc__ = unwrapped(command.__doc__ or "")
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code."""
    shell.prepare()
    if not distributed.is_main():
        sys.stdout = io.StringIO()  # only the first process prints
    try:
        shell.check_surroundings()
        tokens = sys.argv[1:] if arguments is None else arguments
        check_arguments(tokens)
        with shell.log_on_stderr(), signals.not_hidden():
            app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        shell.say(explained(error))
        return 2
    except AcclimateError as error:
        shell.say(str(error))
        return error.exit_code
    except KeyboardInterrupt as stop:
        return signals.stopped(stop)
    except (BrokenPipeError, SystemExit):  # nobody reads any more; Rich, which prints help, makes it an exit of 1
        return 0
    except (OSError, RuntimeError, MemoryError, ImportError) as error:
        if (what_to_do := remedy(error)) is None:
            raise
        shell.say(f"{str(error) or 'out of memory'}; {what_to_do}")
        return 2
    distributed.leave()
    return 0
