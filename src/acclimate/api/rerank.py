"""Rerank a TREC run with any scorer."""

from __future__ import annotations

from pathlib import Path

from acclimate.api.partial import partial_folder
from acclimate.base.arguments import StrPath, path_of, path_text
from acclimate.base.domains import AtLeast
from acclimate.base.errors import SettingError
from acclimate.base.progress import Progress, Shown, shown
from acclimate.base.targets import refuse_replacing, refuse_unwritable
from acclimate.base.text import quoted
from acclimate.corpus import collections
from acclimate.corpus.formats import read_run, registry, write_run
from acclimate.corpus.formats.source import Source
from acclimate.corpus.overwriting import refuse_replacing_collection
from acclimate.records import Query
from acclimate.run.settings import whole_number
from acclimate.search.rerank_run import check as check_run
from acclimate.search.rerank_run import rerank_run
from acclimate.search.scorers import named
from acclimate.search.scorers.cached import CachedScorer
from acclimate.search.value_cache import ValueCache

_FEWEST_TOKENS = 8  # a pair's special tokens take up to four


def rerank(
    run: StrPath,
    model: StrPath,
    out: StrPath,
    *,
    corpus: StrPath,
    queries: StrPath | None = None,
    depth: int = 1000,
    max_tokens: int = 512,
    tag: str | None = None,
    progress: Shown = "auto",
) -> Path:
    """Write `out`, a TREC run, with the first `depth` documents of each query of `run` reranked by a model.

    Reranked documents have the model's scores; deeper ones follow in their old order, with lower scores. An interrupted
    call loses one batch: the same call resumes from `OUT.partial`, which is removed at the end. The run is read twice,
    as a stream; documents are read from disk.

    run: a TREC run or a ColBERT ranking, also .gz. model: a reranker by path (also a folder written by train) or
    Hugging Face id, or KIND:MODEL with KIND one of cross-encoder, monot5, decoder, yes-no and likelihood. corpus:
    documents, as for `adapt`; a BEIR folder brings queries. queries: a file of other queries, in any format.
    max_tokens: of query and document together. tag: of the run; by default the model's name. Raises DataError for
    queries and documents of the run without text, and SettingError for a model that cannot score.

    >>> path = acclimate.rerank(
    ...     "run/evaluate/runs/bm25.trec", "run/train/reranker", "reranked.trec",
    ...     corpus="docs/", queries="queries.jsonl", depth=5, progress=None,
    ... )  # doctest: +SKIP
    """
    depth = whole_number(depth, "depth", AtLeast(1))
    max_tokens = whole_number(max_tokens, "max_tokens", AtLeast(_FEWEST_TOKENS))
    source, target = path_of(run, "run"), path_of(out, "out")
    name, documents = path_text(model, "model"), path_text(corpus, "corpus")
    query_file = None if queries is None else path_of(queries, "queries")
    if not isinstance(tag, str | None):
        raise SettingError(f"tag is {quoted(tag)}; expected text")
    refuse_unwritable(target)
    refuse_replacing(target, source, *([query_file] if query_file else []))
    refuse_replacing_collection(target, documents)
    named.check_is_reranker(name)
    with partial_folder(target) as partial:
        collection = collections.load(documents, partial)
        asked = collection.queries if query_file is None else _queries(query_file)
        texts = {query.query_id: query for query in asked}
        if not texts:
            raise SettingError(
                f"{corpus} has no queries; expected a collection with queries, such as a BEIR folder, or a file of "
                "them (acclimate rerank --queries)"
            )
        n_queries = check_run(read_run(source), source, texts, collection.corpus, depth)
        scorer = named.load_reranker(name, collection.corpus, max_tokens=max_tokens)
        with ValueCache(partial / "scores.sqlite") as kept, shown(progress):
            tell = Progress("rerank", "queries")
            hits = rerank_run(
                read_run(source),
                texts,
                CachedScorer(scorer, kept, collection.corpus.fingerprint),
                depth=depth,
                progress=lambda done: tell(done, n_queries),
            )
            write_run(target, hits, tag=tag or name)
    return target


def _queries(path: Path) -> list[Query]:
    """The queries of a file in any format. Raises DataError for an id with two texts."""
    content = registry.recognize(path, (registry.QUERIES, registry.SYNTHETIC, registry.COLLECTIONS)).read(path)
    return [row.record for row in Source(content, path).queries()]
