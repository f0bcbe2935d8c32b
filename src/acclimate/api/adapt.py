"""The whole chain, and the report that ends it."""

from __future__ import annotations

from typing import Any

from acclimate.base import distributed
from acclimate.report import assemble
from acclimate.run.run import Run
from acclimate.stages import chain


def adapt(run: Run, *, until: str = "evaluate") -> dict[str, Any] | None:
    """Run every stage up to `until`; the report after the last one, else None. Raises what `chain.adapt` does."""
    made = chain.adapt(run, until=until)
    return assemble.write(run, made) if "evaluate" in made and distributed.is_main() else None
