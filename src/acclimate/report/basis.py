"""The basis of a run's verdict: people's judgments, an LLM's grades, or synthetic queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from acclimate.corpus.judged_queries import SYNTHETIC
from acclimate.stages import judge

if TYPE_CHECKING:
    from acclimate.run.run import Run
    from acclimate.stages.chain import Outputs


class Basis(NamedTuple):
    """The best available basis."""

    name: str  # qrels, judge or synthetic
    measured: Mapping[str, Any]  # the systems' measures by it, and the verdict
    judgment: judge.Graded | None  # an LLM's grades, if any, even if they do not decide

    @classmethod
    def of(cls, run: Run, outputs: Outputs) -> Basis:
        """Choose the basis: an LLM's grades decide if nobody labelled queries and the LLM is a usable judge."""
        evaluated, judgment = outputs["evaluate"], judge.current(run, outputs)
        if evaluated.notes["split"] != SYNTHETIC:
            return cls("qrels", evaluated.measured, judgment)
        if judgment and judgment.measured["usable"]:
            return cls("judge", judgment.evaluation, judgment)
        return cls("synthetic", evaluated.measured, judgment)
