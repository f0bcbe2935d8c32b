"""A run as a PyTerrier transformer (Macdonald and others, CIKM 2021), from a frame of queries to a frame of results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from acclimate.base.errors import MissingExtra


def transformer(run: Callable[..., Any], k: int, system: str | None) -> Any:
    """A transformer that replaces each row with `qid` and `query` by at most `k` rows with docno, score, rank."""
    try:
        import pandas
        import pyterrier  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtra("A PyTerrier transformer", "pip install 'acclimate[terrier]'") from None

    class Acclimate(pyterrier.Transformer):
        """One system of a run."""

        def transform(self, inp: Any) -> Any:
            pyterrier.validate.query_frame(inp, extra_columns=["query"])
            hits = run(zip(inp["qid"], inp["query"], strict=True), k, system)
            results = pandas.DataFrame(hits, columns=["qid", "docno", "score"])
            results["rank"] = results.groupby("qid").cumcount()
            queries = inp.drop(columns=["score", "rank"], errors="ignore")  # of another retriever
            return queries.merge(results.astype({"qid": inp["qid"].dtype}), on="qid")

        def __repr__(self) -> str:
            return f"{run!r}.terrier({k}, {system!r})"

    return Acclimate()
