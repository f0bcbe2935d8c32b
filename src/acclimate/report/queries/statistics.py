"""Statistics of synthetic queries: pure functions over answers and their outcomes.

No number here shows that queries are good; each detects a known way to be bad: words copied from the document
(overlap), the same phrase repeated (distinct-2, the most common beginning), the same query repeated (near-duplicates),
a query that other documents answer as well (the rank of its source).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from acclimate.base.draw import draw
from acclimate.base.words import words_of
from acclimate.corpus.near_duplicates import near_duplicate_queries
from acclimate.records import SyntheticQuery

EXAMPLES = 3  # of each reason
FOUND_AT = 20  # highest rank of a source that counts as found

QUESTION_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "da": "hvad hvem hvor hvordan hvorfor hvornår hvilken hvilket hvilke",
        "de": "was wer wem wen wessen wann wo woher wohin womit wofür warum wieso weshalb wie welche welcher welches",
        "en": "what who whom whose when where why which how",
        "es": "qué quién quiénes cuándo dónde cómo cuál cuáles cuánto cuánta cuántos cuántas",
        "fr": "quoi quel quelle quels quelles qui quand où pourquoi comment combien",
        "it": "cosa chi quando dove perché come quale quali quanto quanta quanti quante",
        "nl": "wat wie wiens wanneer waar waarom waarmee hoe hoeveel welk welke",
        "no": "hva hvem hvor hvordan hvorfor når hvilken hvilket hvilke",
        "pt": "que quê quem quando onde porque como qual quais quanto quanta quantos quantas",
        "ru": "что кто кого кому чей когда где куда откуда почему зачем как какой какая какое какие сколько",
        "sv": "vad vem vems när var vart varför hur vilken vilket vilka",
        "tr": "ne kim kimin nerede nereye neden niçin nasıl hangi kaç",
    }.items()
}


class Answer(NamedTuple):
    """What an LLM wrote for a document, and its outcome."""

    query: SyntheticQuery  # its text is the raw answer if that is not a query
    is_query: bool = True  # False: rejected as generated
    reason: str | None = None  # why it was rejected, as generated or by a filter; None: it was kept
    overlap: float | None = None  # share of its content words that are in its source doc, 0 to 1; see `overlap`
    scores: Mapping[str, float] = {}  # by name, finite; `rank` is the source doc's, from 1


class Statistics(NamedTuple):
    """Statistics of a group of answers. Shares are in [0, 1], and None if the group is empty."""

    answers: int
    queries: int
    kept: int  # queries that passed all filters
    words: float | None  # mean per query
    overlap: float | None  # mean over queries
    question_words: float | None  # share of queries with a question word; None also for unsupported languages
    question_marks: float | None  # share of queries ending in one
    distinct_2: float | None  # distinct bigrams / all bigrams (after Li et al., arXiv 1510.03055)
    common_start: float | None  # share of queries that begin with `start`
    start: str  # the most common first two words
    near_duplicates: float | None  # share of queries nearly equal to another one, which does not count
    searched: int  # queries that were searched with
    source_first: float | None  # share of those whose source doc is ranked first
    source_in_top: float | None  # share of those whose source doc is among the first FOUND_AT
    scores: dict[str, float]  # mean of each score over the queries that have it; without ranks


def statistics_of(answers: Iterable[Answer], *, language: str = "en", min_difference: float = 0.2) -> Statistics:
    """Statistics of these answers; independent of their order and of case.

    Fields from `words` on cover queries only, dropped ones included. distinct_2 falls with the number of queries, so
    compare groups of equal size. min_difference: as in `stages.filter.filter_queries`.
    """
    answers = list(answers)
    rows = [answer for answer in answers if answer.is_query]
    texts = [words_of(row.query.text) for row in rows]
    pairs = Counter(pair for words in texts for pair in itertools.pairwise(words))
    starts = Counter(" ".join(words[:2]) for words in texts if words)
    start, starting = min(starts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    asks = QUESTION_WORDS.get(language)
    ranks = [rank for row in rows if (rank := source_rank(row)) is not None]
    same = near_duplicate_queries([row.query for row in rows], min_difference)
    return Statistics(
        answers=len(answers),
        queries=len(rows),
        kept=sum(row.reason is None for row in rows),
        words=mean(map(len, texts)),
        overlap=mean(row.overlap for row in rows if row.overlap is not None),
        question_words=mean(not asks.isdisjoint(words) for words in texts) if asks else None,
        question_marks=mean(row.query.text.rstrip().endswith(("?", "？", "؟")) for row in rows),
        distinct_2=len(pairs) / pairs.total() if pairs else None,
        common_start=starting / len(rows) if rows else None,
        start=start,
        near_duplicates=mean(row.query.query_id in same for row in rows),
        searched=len(ranks),
        source_first=mean(rank == 1 for rank in ranks),
        source_in_top=mean(rank <= FOUND_AT for rank in ranks),
        scores={
            name: average
            for name in score_names(rows)
            if name != "rank" and (average := mean(scored(rows, name))) is not None
        },
    )


def by_prompt(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    """The answers of each prompt, sorted by prompt name."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.query.prompt, []).append(answer)
    return dict(sorted(groups.items()))


def overlap(query: str, doc_text: str, stop_words: Collection[str] = ()) -> float | None:
    """Share of the query's distinct content words that are in the doc, 0 to 1; None if it has none.

    Content words are those that are not stop words, without stemming.
    """
    words = set(words_of(query)).difference(stop_words)
    return len(words.intersection(words_of(doc_text))) / len(words) if words else None


def source_rank(answer: Answer) -> float | None:
    """Rank of the source doc in a search with the query, from 1; inf if not found, None if not searched."""
    # A query dropped before the search has no rank either, but another reason.
    return answer.scores.get("rank", math.inf if answer.reason == "round-trip" else None)


def funnel(answers: Sequence[Answer], filters: Sequence[str] = ()) -> list[tuple[str, int]]:
    """(step, number left after it): all answers, queries among them, then each filter in order."""
    reasons = Counter(answer.reason for answer in answers if answer.is_query)
    left = sum(answer.is_query for answer in answers)
    steps = [("answers", len(answers)), ("queries", left)]
    for name in dict.fromkeys([*filters, *sorted(filter(None, reasons))]):
        left -= reasons[name]
        steps.append((name, left))
    return steps


def reasons(answers: Iterable[Answer], *, seed: int = 0) -> list[tuple[str, int, list[Answer]]]:
    """(reason, count, examples) of rejections: as generated first, then by filters; most common first."""
    groups: dict[tuple[bool, str], list[Answer]] = {}
    for answer in answers:
        if answer.reason is not None:
            groups.setdefault((answer.is_query, answer.reason), []).append(answer)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1]))
    return [(reason, len(group), draw_answers(group, EXAMPLES, seed=seed)) for (_, reason), group in ordered]


def draw_answers(answers: Iterable[Answer], count: int, *, seed: int = 0) -> list[Answer]:
    """Draw at most `count` answers uniformly, by seed, ids and texts; a smaller draw is a prefix of a larger one."""

    def key(answer: Answer) -> tuple[int, str, str]:
        query = answer.query
        return draw(seed, "inspect", query.query_id), query.prompt, query.text

    return sorted(answers, key=key)[:count]


def score_names(answers: Iterable[Answer]) -> list[str]:
    """The names of all scores, in order of first appearance."""
    return list(dict.fromkeys(name for answer in answers for name in answer.scores))


def scored(answers: Iterable[Answer], name: str) -> list[float]:
    """The values of one score, of the answers that have it."""
    return [answer.scores[name] for answer in answers if name in answer.scores]


def mean(values: Iterable[float]) -> float | None:
    """The mean; None if empty. Bit-identical for every order."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else None
