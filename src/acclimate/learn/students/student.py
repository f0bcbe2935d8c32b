"""What training asks of a student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import torch

    from acclimate.learn.students.similarities import Similarities
    from acclimate.records import NWay


class Learner(Protocol):
    """What holds a student's weights: an encoder, or tables beside one."""

    @property
    def model(self) -> torch.nn.Module: ...


class Student(Protocol):
    """A retriever that is being trained. `kind` is dense, late-interaction, sparse or static."""

    kind: ClassVar[str]
    keeps_index: ClassVar[bool]  # True when document vectors do not change

    @property
    def encoder(self) -> Learner: ...

    @property
    def negatives(self) -> str: ...

    def read(self, batch: Sequence[NWay]) -> Any:
        """What it reads of a batch before it computes: no weights, and nothing of a device. A thread may call this."""
        ...

    def similarities(self, read: Any) -> list[Similarities]:
        """What it says of each example's documents, and of those that share their softmax."""
        ...

    def penalty(self) -> torch.Tensor | float:
        """What is added to the loss of the batch that was asked for last; 0 where nothing is."""
        ...
