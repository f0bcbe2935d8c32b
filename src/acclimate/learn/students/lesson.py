"""What every student has in common: the lesson that it reads, and what training asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import torch

    from acclimate.records import Doc, NWay
    from acclimate.search.members import Ids
    from acclimate.search.vectors import Vectors


@dataclass(frozen=True)
class Lesson:
    """What every student reads: the texts of queries and documents, and the vectors of the index."""

    queries: Mapping[str, str]  # query_id -> text
    corpus: Mapping[str, Doc]
    ids: Ids
    vectors: Vectors


class Learner(Protocol):
    """What holds a student's weights: an encoder, or tables beside one."""

    @property
    def model(self) -> torch.nn.Module: ...


class Student(Protocol):
    """A retriever that is being trained. `kind` is dense, late-interaction, sparse or static."""

    kind: ClassVar[str]
    keeps_index: ClassVar[bool]  # True when document vectors do not change
    sees_corpus: ClassVar[bool]  # True when its softmax covers every document, not the batch's alone

    @property
    def encoder(self) -> Learner: ...

    def log_probs(self, batch: Sequence[NWay]) -> list[torch.Tensor]:
        """Per example: (n_ways,) log-probabilities of its documents, in its order, with gradients.

        They add to less than 1 where the softmax covers other documents too.
        """
        ...

    def penalty(self) -> torch.Tensor | float:
        """What is added to the loss of the batch that was asked for last; 0 where nothing is."""
        ...
