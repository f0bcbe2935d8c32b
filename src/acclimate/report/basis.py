"""What the verdict of a finished run rests on: people's judgments, an LLM's grades, or synthetic queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from acclimate.corpus.judged import SYNTHETIC
from acclimate.stages import judge

if TYPE_CHECKING:
    from acclimate.run.run import Run
    from acclimate.stages.chain import Outputs


class Basis(NamedTuple):
    """The best that there is."""

    name: str  # qrels, judge or synthetic
    measured: Mapping[str, Any]  # what the systems reach by it, and the verdict
    judgment: judge.Graded | None  # where an LLM graded, whether it decides or not

    @classmethod
    def of(cls, run: Run, outputs: Outputs) -> Basis:
        """An LLM's grades decide where nobody labelled queries, and it is a judge at all."""
        evaluated, judgment = outputs["evaluate"], judge.current(run, outputs)
        if evaluated.notes["split"] != SYNTHETIC:
            return cls("qrels", evaluated.measured, judgment)
        if judgment and judgment.measured["usable"]:
            return cls("judge", judgment.evaluation, judgment)
        return cls("synthetic", evaluated.measured, judgment)
