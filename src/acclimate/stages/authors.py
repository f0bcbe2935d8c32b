"""Which stages of a run an LLM had a part in: as a judge it favors what came of them."""

from __future__ import annotations

from acclimate.run.run import Run
from acclimate.search.scorers import named
from acclimate.stages.chain import Outputs
from acclimate.stages.label import named_scorers


def stages_with(llm: str, run: Run, outputs: Outputs) -> list[str]:
    """The stages in which this LLM wrote the queries, or taught the students."""
    asked = {stage: [name] for stage, name in run.llms.items() if stage in ("seed", "generate")}
    if "label" in outputs:
        asked["label"] = [named.model_of(name)[1] for name in named_scorers(run)]
    return [stage for stage, names in asked.items() if llm in names]
