"""ColBERT's own checkpoints: late-interaction members that began as one, queries and documents apart."""

from __future__ import annotations

from pathlib import Path

from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.late_interaction import write_members
from acclimate.deploy.exports.late_interaction_folders import write_colbert
from acclimate.deploy.exports.source import Source

_LOADING = (
    "from colbert.infra import ColBERTConfig",
    "from colbert.modeling.checkpoint import Checkpoint",
    "",
    'queries = Checkpoint("query", colbert_config=ColBERTConfig()).queryFromText(["a text"])',
    'documents = Checkpoint("document", colbert_config=ColBERTConfig()).docFromText(["a text"])',
)


def write(source: Source, folder: Path) -> Written:
    """See `late_interaction.write_members`. Raises DataError for a base that is no ColBERT."""
    return write_members(source, folder, write_colbert, _LOADING)
