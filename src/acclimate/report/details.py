"""Further content of the report page, which is too large for `report.json` or is in other files of the run.

Read from what a finished run stores (runs, judgments, answers, curves), so no model is loaded.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from acclimate.base.errors import DataError
from acclimate.base.files import read_json, read_text
from acclimate.base.text import command
from acclimate.corpus.formats.trec import read_qrels, read_run, read_top
from acclimate.measure import graded
from acclimate.measure.before_after import SystemRun, before_after
from acclimate.measure.measures import MAIN, measured
from acclimate.report import curves
from acclimate.report.queries import answers, statistics
from acclimate.run.provided import option
from acclimate.search.measuring import RUNS, run_file
from acclimate.stages.chain import Outputs
from acclimate.stages.judge import Graded

if TYPE_CHECKING:
    from acclimate.run.run import Run

QUERIES_SHOWN = 200
_DEPTH = int(MAIN.partition("@")[2])


def details(run: Run, outputs: Outputs, judgment: Graded | None) -> dict[str, Any]:
    """Additional keys for `html.render`. judgment: an LLM's grades, if the verdict rests on them.

    Raises DataError for an invalid `curve.json`.
    """
    return {
        **_query_by_query(run, outputs, judgment),
        "turned_down": answers.rejected_rows(statistics.reasons(answers.read(run).answers, seed=run.seed)),
        "curves": _curves(run),
        "command": _command(run),
        "recipe_toml": _recipe(run),
    }


def _query_by_query(run: Run, outputs: Outputs, judgment: Graded | None) -> dict[str, Any]:
    """Each query's gain, and both rankings of those that changed, evenly spaced if there are many."""
    by = judgment or outputs["evaluate"]
    qrels = read_qrels(by.folder / "qrels.trec")
    query_ids = {qrel.query_id for qrel in qrels}
    runs = by.folder if (by.folder / RUNS).is_dir() else outputs["evaluate"].folder
    read, measure = (read_run, graded.values_of) if judgment else (partial(read_top, depth=_DEPTH), measured)

    def ranked(name: str) -> SystemRun:
        hits = [hit for hit in read(run_file(runs, name)) if hit.query_id in query_ids]
        return SystemRun(name, hits, measure(hits, qrels, [MAIN])[MAIN])

    before, after = (ranked(by.measured[role]) for role in ("baseline", "candidate"))
    queries = judgment.queries if judgment else outputs["steer"].measuring(run, outputs["sample"]).queries
    return {
        "deltas": [after.values[query_id] - value for query_id, value in before.values.items()],
        "examples": before_after(
            before, after, queries, qrels, run.input.documents, run.base.bm25.analyzer, most=QUERIES_SHOWN
        ),
    }


def _curves(run: Run) -> Any:
    path = run.workspace.folder / "curve.json"
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        curves.template_values(content)
    except (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError):
        raise DataError(
            f"learning curves of another version; draw them again with: {command('curve', run.workspace.folder)}",
            path=path,
        ) from None
    return content


def _command(run: Run) -> str:
    """The command that reproduces the run."""
    provided = [(option(name), value) for name, value in asdict(run.provided).items() if value is not None]
    recipe = run.workspace.folder / "recipe.toml"
    words = (word for pair in provided for word in pair)
    return command("adapt", run.input.source, "--out", "again", "--recipe", recipe, *words)


def _recipe(run: Run) -> str:
    path = run.workspace.folder / "recipe.toml"
    return read_text(path) if path.is_file() else ""
