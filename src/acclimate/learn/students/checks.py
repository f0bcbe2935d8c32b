"""Checks of students: which can be trained together, and which fit a base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acclimate.base.errors import SettingError
from acclimate.learn.students.choices import BATCH, CONTRASTIVE, CORPUS, LIST
from acclimate.search.names import STUDENT_KINDS

if TYPE_CHECKING:
    from acclimate.search.encoder import Encoder


def check_students(names: Sequence[str]) -> None:
    """Raises SettingError for two students that would have the same adapted name."""
    first: dict[str, str] = {}
    for name in names:
        if (kind := STUDENT_KINDS[name]) in first:
            raise SettingError(
                f"distill.student has {first[kind]} and {name}, and both would be {kind}:adapted; name one, "
                "and train the other in another run"
            )
        first[kind] = name


def check_negatives(
    n_ways: int, *, student: Sequence[str], negatives: str, batch_size: int, loss: str, **_: Any
) -> None:
    """Raises SettingError for negatives=corpus with trained document encoders, and if nothing would be contrasted.

    n_ways: documents per example.
    """
    others = [name for name in student if name not in ("dense-query", "static")]
    if negatives == CORPUS and others:
        raise SettingError(
            f"distill.negatives is corpus, but not all document vectors are available to {others[0]}; "
            "expected auto, list or batch"
        )
    needs_batch = negatives == BATCH or bool(others)  # the others are compared with the whole corpus
    if loss == CONTRASTIVE and n_ways == 1 and (negatives == LIST or (batch_size == 1 and needs_batch)):
        setting = "distill.negatives is list" if negatives == LIST else "distill.batch_size is 1"
        raise SettingError(
            f"mine.n_ways is 1 and {setting}, so a query's document is compared with no other; set mine.n_ways=8, "
            "or let a batch have negatives"
        )


def check_fits(names: Sequence[str], base: str, *, is_late_interaction: bool) -> None:
    """Raises SettingError for students that a late-interaction base cannot start."""
    others = [name for name in names if STUDENT_KINDS[name] != "late-interaction"]
    if is_late_interaction and others:
        raise SettingError(
            f"{base} is a late-interaction model, which cannot be the base of a {others[0]} student; set "
            "distill.student=late-interaction-query, or late-interaction"
        )


def check_encoder(names: Sequence[str], base: str, encoder: Encoder) -> None:
    """Raises SettingError for students that this encoder cannot start. base: its name."""
    check_fits(names, base, is_late_interaction=encoder.is_late_interaction)
    if "static" in names and encoder.dim != encoder.token_dim:
        raise SettingError(
            f"{base} makes vectors of {encoder.dim} components of tokens with {encoder.token_dim}, which no static "
            "student begins from; leave static out of distill.student"
        )


def check_dims(dim: int, matryoshka: Sequence[int], whole: int) -> None:
    """Raises SettingError for lengths to which vectors of `whole` components cannot be truncated."""
    for name, value in (("dim", dim or whole), *(("matryoshka", value) for value in matryoshka)):
        if not 0 < value <= whole:
            raise SettingError(f"distill.{name} is {value}; the base's vectors have {whole} components")


def check_scale(*, is_raw: bool, contrastive: float, mask_above: float, **_: Any) -> None:
    """Raises SettingError for settings that take shares of scores if scores are raw."""
    if is_raw and contrastive and mask_above < 1:
        raise SettingError(
            f"distill.mask_above is {mask_above:g}, a share of scores in [0, 1], and label.normalize is none; set "
            "label.normalize=percentile, or distill.mask_above=1"
        )
