"""`acclimate forgetting`: what adapting cost on another collection."""

from __future__ import annotations

from pathlib import Path

import acclimate


def forgetting(run_dir: Path, collection: str) -> None:
    """Say what the adapted retrievers of a run lost, or gained, on a labelled collection outside of it.

    The collection is indexed with the untouched base and with each student, and both are measured on its labelled
    queries. The report says it, too, from then on.

    Parameters
    ----------
    run_dir
        Folder of a finished run.
    collection
        A labelled collection, as adapt takes it: a BEIR folder, or one by name.
    """
    print(acclimate.forgetting(run_dir, collection))
