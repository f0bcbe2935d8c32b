"""acclimate tunes a search engine to a collection of documents that has no labels.

    import acclimate

    run = acclimate.adapt("docs/", out="run", sample={"n_docs": 500})
    run.report
    run.search("how do I reset the thing", k=5)

Importing loads nothing: each name comes from its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from acclimate.base.version import __version__ as __version__

if TYPE_CHECKING:
    from acclimate.api.adapt import adapt, plan
    from acclimate.api.answers import Answers, Spending
    from acclimate.api.compare import compare
    from acclimate.api.convert import convert
    from acclimate.api.convert_model import convert_model
    from acclimate.api.doctor import Check, doctor
    from acclimate.api.evaluate_run import evaluate_run
    from acclimate.api.forgetting import Forgetting, forgetting
    from acclimate.api.judge import Judgment
    from acclimate.api.page import Page
    from acclimate.api.prompts import prompt, prompts
    from acclimate.api.recipes import ResolvedRecipe, SettingDifference, recipe, recipes
    from acclimate.api.reproduce import Figures, Reproduced, Reproduction, published, reproduce
    from acclimate.api.rerank import rerank
    from acclimate.api.run import Run, open
    from acclimate.api.stages import distill, evaluate, filter, generate, index, label, mine, sample, seed, steer, train
    from acclimate.api.status import StageStatus, Status, status
    from acclimate.base.errors import (
        AcclimateError,
        BatchWritten,
        BudgetExceeded,
        DataError,
        LLMError,
        MissingExtra,
        SettingError,
    )
    from acclimate.corpus.conversion import Conversion, formats
    from acclimate.deploy.exports.export import Exported
    from acclimate.deploy.searchers import Hit
    from acclimate.deploy.serving.limits import Limits
    from acclimate.deploy.updating.update import Updated
    from acclimate.measure.compare import Comparison
    from acclimate.measure.compared_runs import Compared, Comparisons
    from acclimate.measure.evaluated_runs import EvaluatedRun, EvaluatedRuns
    from acclimate.records import Doc, NWay, Qrel, Query, ScoredDoc, SyntheticQuery
    from acclimate.report.report import MeasuredSystem, Report

_HOMES = {
    "acclimate.api.adapt": "adapt plan",
    "acclimate.api.answers": "Answers Spending",
    "acclimate.api.compare": "compare",
    "acclimate.api.convert": "convert",
    "acclimate.api.convert_model": "convert_model",
    "acclimate.api.doctor": "Check doctor",
    "acclimate.api.evaluate_run": "evaluate_run",
    "acclimate.api.forgetting": "Forgetting forgetting",
    "acclimate.api.judge": "Judgment",
    "acclimate.api.page": "Page",
    "acclimate.api.prompts": "prompt prompts",
    "acclimate.api.recipes": "ResolvedRecipe SettingDifference recipe recipes",
    "acclimate.api.rerank": "rerank",
    "acclimate.api.reproduce": "Figures Reproduced Reproduction published reproduce",
    "acclimate.api.run": "Run open",
    "acclimate.deploy.searchers": "Hit",
    "acclimate.deploy.serving.limits": "Limits",
    "acclimate.api.stages": "distill evaluate filter generate index label mine sample seed steer train",
    "acclimate.api.status": "StageStatus Status status",
    "acclimate.base.errors": "AcclimateError BatchWritten BudgetExceeded DataError LLMError MissingExtra SettingError",
    "acclimate.corpus.conversion": "Conversion formats",
    "acclimate.deploy.exports.export": "Exported",
    "acclimate.deploy.updating.update": "Updated",
    "acclimate.measure.compare": "Comparison",
    "acclimate.measure.evaluated_runs": "EvaluatedRun EvaluatedRuns",
    "acclimate.measure.compared_runs": "Compared Comparisons",
    "acclimate.records": "Doc NWay Qrel Query ScoredDoc SyntheticQuery",
    "acclimate.report.report": "MeasuredSystem Report",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AcclimateError",
    "Answers",
    "BatchWritten",
    "BudgetExceeded",
    "Check",
    "Compared",
    "Comparison",
    "Comparisons",
    "Conversion",
    "DataError",
    "Doc",
    "EvaluatedRun",
    "EvaluatedRuns",
    "Exported",
    "Figures",
    "Forgetting",
    "Hit",
    "Judgment",
    "LLMError",
    "Limits",
    "MeasuredSystem",
    "MissingExtra",
    "NWay",
    "Page",
    "Qrel",
    "Query",
    "Report",
    "Reproduced",
    "Reproduction",
    "ResolvedRecipe",
    "Run",
    "ScoredDoc",
    "SettingDifference",
    "SettingError",
    "Spending",
    "StageStatus",
    "Status",
    "SyntheticQuery",
    "Updated",
    "adapt",
    "compare",
    "convert",
    "convert_model",
    "distill",
    "doctor",
    "evaluate",
    "evaluate_run",
    "filter",
    "forgetting",
    "formats",
    "generate",
    "index",
    "label",
    "mine",
    "open",
    "plan",
    "prompt",
    "prompts",
    "published",
    "recipe",
    "recipes",
    "reproduce",
    "rerank",
    "sample",
    "seed",
    "status",
    "steer",
    "train",
]


if not TYPE_CHECKING:  # who checks types sees the imports above, and which names there are not

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(_HOME_OF[name]), name)
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
