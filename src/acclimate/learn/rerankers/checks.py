"""Checks of the settings of `train` before work begins."""

from __future__ import annotations

from typing import Any

from acclimate.base.errors import SettingError
from acclimate.learn.rerankers.groups import n_parts
from acclimate.learn.rerankers.steps import queries_of_a_step
from acclimate.search import scorers
from acclimate.search.scorers.adapter import check_peft, is_adapter

_MOST_READ = 100_000_000  # queries; their order takes 800 MB


def check_steps(*, max_steps: int, **settings: Any) -> None:
    """Raises SettingError if all steps together read an absurd number of queries."""
    if (n_read := max_steps * queries_of_a_step(**settings)) > _MOST_READ:
        raise SettingError(
            f"train.max_steps, of batch_size x gradient_accumulation queries each, would read {n_read:,} queries; "
            f"expected {_MOST_READ:,} at most"
        )


def check_base(*, base: str, template: str, loss: str, lora_rank: int, rerankers: str, merge: str, **_: Any) -> None:
    """Raises SettingError for settings that do not fit the base, and MissingExtra, without reading its weights."""
    kind = scorers.kind_of(base)
    if kind == "cross-encoder" and loss == "token":
        raise SettingError("train.loss is token, and a cross-encoder outputs no tokens; expected bce")
    if kind == "monot5":
        scorers.check_asked(base, template)
    if kind == "decoder" and (lora_rank or is_adapter(base)):
        check_peft()
    if kind == "decoder" and lora_rank:
        if is_adapter(base):
            raise SettingError(
                f"train.base, {base}, is an adapter, and adapters cannot be stacked; set train.lora_rank=0, or name "
                "its own base"
            )
        if merge != "none" and n_parts(rerankers) != 1 and rerankers != "one":
            raise SettingError(
                f"train.merge is {merge}, and adapters cannot be merged; set train.lora_rank=0 or train.merge=none"
            )
