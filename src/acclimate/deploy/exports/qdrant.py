"""Qdrant: a collection with dense, sparse and multivectors, as parts that a script loads into a server or a folder.

BM25's weights are a sparse vector, so Qdrant's inner product is BM25. Late interaction is a multivector under MaxSim,
in 16 bits; it is a sum where the run takes a mean, which ranks alike. Qdrant can fuse by rank (RRF with k = 61 equals
the run's), but cannot scale scores by a query's minimum and maximum, so the reader fuses scores.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

from acclimate.base.errors import AcclimateError, DataError
from acclimate.base.progress import Progress
from acclimate.base.text import counted
from acclimate.deploy.exports import arrays, queries
from acclimate.deploy.exports.check import check, line
from acclimate.deploy.exports.client import Fusion
from acclimate.deploy.exports.formats import Written, needed
from acclimate.deploy.exports.source import Source

_READER = Path(__file__).parent / "readers" / "qdrant.py"  # importing it needs the library


def write(source: Source, folder: Path) -> Written:
    """See the package."""
    queries.save(source, folder / "query")
    Fusion.save(source, folder)
    (folder / "parts").mkdir(exist_ok=True)
    n_docs = arrays.write(source, folder / "parts")
    shutil.copyfile(_READER, folder / "search.py")
    how = "load it with: python search.py URL, or with --url URL (or a folder), which also checks the results"
    return Written({"documents": n_docs}, lines=[how])


def load(source: Source, folder: Path, *, url: str) -> dict[str, Any]:
    """Load it into a server, or into a local folder, and check what Qdrant finds."""
    needed("qdrant_client", "Loading into Qdrant", "qdrant")
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException

    from acclimate.deploy.exports.readers import qdrant as reader

    is_server = "://" in url  # a folder has no HNSW
    engines = {"exact": "Qdrant without HNSW", "indexed": "Qdrant with HNSW"} if is_server else {"exact": "Qdrant"}
    try:
        with closing(reader.connect(url)) as client:
            n_docs, progress = len(source.corpus), Progress("export", "documents loaded")
            if (count := reader.load(client, folder, lambda done: progress(done, n_docs))) != n_docs:
                raise DataError(f"{counted(count, 'point')} in Qdrant; expected {n_docs:,}", path=folder)
            searchers = {how: reader.searcher(client, folder, exact=is_server and how == "exact") for how in engines}
            checks = {how: check(source, search) for how, search in searchers.items()}
    except (OSError, RuntimeError, ValueError, AssertionError, ApiException, QdrantException) as error:
        raise AcclimateError(f"Qdrant at {url.rpartition('@')[2]}: {error}") from None
    return {**checks, "lines": [line(checked, engines[how]) for how, checked in checks.items()]}
