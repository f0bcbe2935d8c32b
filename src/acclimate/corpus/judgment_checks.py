"""Check judgments: unknown queries or documents are refused with their line, as they make every system look bad."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import islice

from acclimate.base.text import counted
from acclimate.corpus.documents import Corpus
from acclimate.corpus.formats.fields import Place
from acclimate.records import Qrel, Query


def check_judgments(rows: list[tuple[Place, Qrel]], queries: Sequence[Query], corpus: Corpus) -> None:
    """Raises DataError for judgments of unknown documents or queries, and if nothing is relevant."""
    if not queries:
        raise rows[0][0].error(
            "a judgment, but there are no queries; expected a queries.jsonl beside the corpus, or --queries"
        )
    known_queries = {query.query_id for query in queries}
    _refuse_unknown("document", "corpus", [(place, qrel.doc_id) for place, qrel in rows], corpus, corpus)
    _refuse_unknown("query", "queries", [(place, q.query_id) for place, q in rows], known_queries, known_queries)
    if all(qrel.relevance <= 0 for _, qrel in rows):
        raise rows[0][0].error(
            f"none of the {counted(len(rows), 'judgment')} here is above 0: nothing can be measured on them; give "
            "what is relevant a grade of 1 or more, or leave them out"
        )


def _refuse_unknown(
    what: str, where: str, judged_ids: list[tuple[Place, str]], known: Container[str], examples: Iterable[str]
) -> None:
    first: dict[str, Place] = {}
    for place, name in judged_ids:
        first.setdefault(name, place)
    unknown = [name for name in first if name not in known]
    if not unknown:
        return
    place, listed = first[unknown[0]], ", ".join(map(repr, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
    message = f"{what} {unknown[0]!r} is judged here and is not in the {where}"
    if len(unknown) < len(first):
        n = f"{len(unknown)} of {len(first)} judged ids are unknown: {listed}"
        raise place.error(f"{message}; {n}. Remove their lines, or add what is missing to the {where}")
    known_ids = ", ".join(map(repr, islice(examples, 3)))
    raise place.error(
        f"{message}, nor is any of the judged ids ({listed}), while the {where} would know {known_ids}; "
        "do the files match?"
    )
