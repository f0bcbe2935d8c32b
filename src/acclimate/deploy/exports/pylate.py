"""PyLate: late-interaction members as `models.ColBERT` loads them, queries and documents apart."""

from __future__ import annotations

from pathlib import Path

from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.late_interaction import write_members
from acclimate.deploy.exports.late_interaction_folders import write_pylate
from acclimate.deploy.exports.source import Source

_LOADING = (
    "from pylate import models",
    "",
    'queries = models.ColBERT("query").encode(["a text"], is_query=True)',
    'documents = models.ColBERT("document").encode(["a text"], is_query=False)',
    "# Where a bi-encoder is the base, the run does not compare [CLS] and [SEP] of queries:",
    "queries = [vectors[1:-1] for vectors in queries]",
)


def write(source: Source, folder: Path) -> Written:
    """See `late_interaction.write_members`."""
    return write_members(source, folder, write_pylate, _LOADING)
