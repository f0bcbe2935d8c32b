"""The interface of students in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import torch

    from acclimate.learn.students.similarities import Similarities
    from acclimate.records import NWay


class Learner(Protocol):
    """Holder of a student's trainable weights: an encoder, or tables beside one."""

    @property
    def model(self) -> torch.nn.Module: ...


class Student(Protocol):
    """A retriever in training. `kind` is dense, late-interaction, sparse or static."""

    kind: ClassVar[str]
    keeps_index: ClassVar[bool]  # True if document vectors do not change

    @property
    def encoder(self) -> Learner: ...

    @property
    def negatives(self) -> str: ...

    def read(self, batch: Sequence[NWay]) -> Any:
        """Read a batch before any computation, without weights or device; safe to call in a thread."""
        ...

    def similarities(self, read: Any) -> list[Similarities]:
        """Similarities of each example's documents, and of others in their softmax."""
        ...

    def penalty(self) -> torch.Tensor | float:
        """A term to add to the loss of the last batch; 0 if none."""
        ...
