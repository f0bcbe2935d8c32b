"""What chooses is graded by nearness and agreement and weighted by a log; what measures, by nearness alone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from acclimate.base.testing import DOCS, QUERIES
from acclimate.corpus.judged_queries import LOG
from acclimate.records import Doc, Query, SyntheticQuery
from acclimate.search.bm25 import BM25
from acclimate.search.candidates import Candidates
from acclimate.search.members import Ids
from acclimate.search.neighbors import Neighbors
from acclimate.search.vectors import Vectors
from acclimate.stages.steer import steer

FEW, MANY = "shares few words", "shares many words"
EMPTY = np.empty(0)
SYNTHETIC = [
    SyntheticQuery(f"s{doc.doc_id}", query.text, doc.doc_id, -1.0) for doc, query in zip(DOCS, QUERIES, strict=True)
]
DEV, TEST = SYNTHETIC[:25], SYNTHETIC[25:]
ASKED = [Query("l0", "how hot is lava"), Query("l1", "which bird keeps eggs on its feet"), Query("l2", "moon")]


def draw(*parts):
    return np.random.default_rng(list(hashlib.sha256("|".join(parts).encode()).digest()))


class Index:
    """An index of few documents: BM25, vectors that are drawn, and what each retriever thinks of a query."""

    def __init__(self, docs=DOCS, parents=None, language="en"):
        self.corpus = {doc.doc_id: doc for doc in docs}
        self.ids = Ids(list(self.corpus), parents or {})
        self.bm25 = BM25.build((doc.default_text() for doc in docs), language=language)
        pooled = np.array([draw("vector", doc.doc_id).normal(size=4) for doc in docs], np.float32)
        self.vectors = Vectors(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), EMPTY, EMPTY, EMPTY)
        self.neighbors = Neighbors(self.ids, self.corpus, self.bm25, self.vectors)
        self.scores = {
            "bm25": self.bm25.scores,
            "dense": lambda text: np.array([draw(text, doc.doc_id).random() for doc in docs], np.float32),
            "late-interaction": lambda text: np.array([draw(doc.doc_id, text).random() for doc in docs], np.float32),
        }

    def find(self, queries, also=()):
        rows = np.arange(len(self.corpus))
        for query in queries:
            scores = {name: score(query.text) for name, score in self.scores.items()}
            named = {"bm25": self.ids.best(scores["bm25"], 10, above=0.0), "dense": self.ids.best(scores["dense"], 10)}
            yield Candidates(query, rows, scores, *self.ids.documents_of(rows), named)

    def steer(self, dev=DEV, test=TEST, log=(), **settings):
        return steer(dev, test, log, self.find, self.neighbors, **settings)


@pytest.fixture(scope="module")
def index():
    return Index()


def grades_of(queries):
    return {query.query.query_id: query.grades for query in queries}


def weights_of(queries, group=None):
    return [query.weight for query in queries if group is None or query.group == group]


def test_what_measures_is_the_source_and_its_neighbors_and_no_agreement_counts(index):
    steered = index.steer(neighbors=8)
    assert [query.query.query_id for query in steered.measuring] == [query.query_id for query in TEST]
    assert any(len(query.grades) > 1 for query in steered.measuring)
    for query, synthetic in zip(steered.measuring, TEST, strict=True):
        around = index.neighbors.of(index.ids.row[synthetic.doc_id], 8)
        assert query.grades == {**{index.ids.doc_ids[row]: 1 for row in around}, synthetic.doc_id: 2}
        assert (query.weight, query.group) == (1.0, "")
    for settings in ({"agreement": 0}, {"agreement": 40}, {"log": ASKED}):
        assert index.steer(neighbors=8, **settings).measuring == steered.measuring


def test_what_chooses_counts_nearness_twice_and_what_retrievers_agree_on(index):
    near = grades_of(index.steer(neighbors=8, agreement=0).choosing)
    chosen = grades_of(index.steer(neighbors=8, agreement=6).choosing)
    agreed_on = 0
    for candidates in index.find([query.as_query() for query in DEV]):
        counts = dict.fromkeys(index.ids.doc_ids, 0)
        for name, scores in candidates.scores.items():
            best = index.ids.best(scores, 6, above=0.0 if name == "bm25" else None)
            for row in best.tolist():
                counts[index.ids.doc_ids[row]] += 1
        query_id = candidates.query.query_id
        expected = {
            doc_id: near[query_id].get(doc_id, 0) + max(0, count - 1)
            for doc_id, count in counts.items()
            if doc_id in near[query_id] or count > 1
        }
        assert chosen[query_id] == expected
        agreed_on += len(expected) - len(near[query_id])
        assert set(near[query_id].values()) <= {2, 4}
    assert agreed_on > 0


def test_without_neighbors_and_agreement_the_source_alone_is_relevant(index):
    steered = index.steer(log=ASKED, neighbors=0, agreement=0)
    assert grades_of(steered.choosing) == {query.query_id: {query.doc_id: 4} for query in DEV}
    assert grades_of(steered.measuring) == {query.query_id: {query.doc_id: 2} for query in TEST}


def test_without_a_log_queries_of_both_groups_count_the_same(index):
    for log in ((), []):
        steered = index.steer(log=log)
        assert weights_of(steered.choosing) == [1 / len(DEV)] * len(DEV)
        assert {query.group for query in steered.choosing} == {FEW, MANY}
        assert set(steered.seen) == {"synthetic"}
    few, many = ([query for query in steered.choosing if query.group == group] for group in (FEW, MANY))
    assert len(few) <= len(many)
    shares = {
        name: np.mean([shared(index, query.query) for query in some]) for name, some in ((FEW, few), (MANY, many))
    }
    assert shares[FEW] < shares[MANY]


def shared(index, query):
    """The share of its words that stand in the document it was written for."""
    terms = {*index.bm25.analyzer(query.text)}
    return len(terms & {*index.bm25.analyzer(index.corpus[query.query_id[1:]].default_text())}) / len(terms)


def test_fifty_queries_of_a_log_count_as_much_as_all_synthetic_ones_and_fewer_count_less(index):
    steered = index.steer(log=ASKED)
    logged = [query for query in steered.choosing if query.group == LOG]
    assert [query.query for query in logged] == ASKED
    assert sum(weights_of(logged)) == pytest.approx(len(ASKED) / (len(ASKED) + 50))
    fifty = index.steer(log=[Query(f"l{number:02}", ASKED[0].text) for number in range(50)])
    assert sum(weights_of(fifty.choosing, LOG)) == pytest.approx(0.5)
    assert len({*weights_of(logged)}) == 1
    assert sum(weights_of(steered.choosing)) == pytest.approx(1)
    assert all(query.grades and {*query.grades.values()} <= {1, 2} for query in logged)
    assert set(steered.seen) == {"synthetic", "as_weighted", "log"}


def test_synthetic_queries_that_look_like_the_log_count_more(index):
    short = [Query(f"l{number}", query.text.split()[-1]) for number, query in enumerate(QUERIES)]
    steered = index.steer(log=short)
    seen = steered.seen
    assert seen["log"]["words"] < seen["as_weighted"]["words"] < seen["synthetic"]["words"]
    assert seen["synthetic"]["effective_queries"] == len(DEV) > seen["as_weighted"]["effective_queries"] > 1
    synthetic = [query for query in steered.choosing if query.group != LOG]
    by_length = sorted(synthetic, key=lambda query: len(query.query.text.split()))
    assert sum(weights_of(by_length[:8])) > sum(weights_of(by_length[-8:]))


def test_a_logged_query_that_nothing_is_agreed_on_does_not_choose(index):
    class Divided(Index):
        def find(self, queries, also=()):
            for candidates in super().find(queries, also):
                apart = {
                    name: np.roll(np.arange(len(self.corpus), dtype=np.float32), 10 * place)
                    for place, name in enumerate(candidates.scores)
                }
                yield candidates._replace(scores=apart) if candidates.query.text == "moon" else candidates

    steered = Divided().steer(log=ASKED, agreement=5)
    assert [query.query.query_id for query in steered.choosing if query.group == LOG] == ["l0", "l1"]
    assert sum(weights_of(steered.choosing, LOG)) == pytest.approx(2 / 52)


def test_a_query_that_finds_nothing_changes_no_other_and_is_no_error(index):
    class Empty(Index):
        def find(self, queries, also=()):
            for candidates in super().find(queries, also):
                if candidates.query.text.startswith("?"):
                    candidates = candidates.select(np.empty(0, np.int64))
                    candidates = candidates._replace(rows_by_source=dict.fromkeys(("bm25", "dense"), candidates.rows))
                yield candidates

    odd = SyntheticQuery("odd", "?!", "d03", -1.0)
    steered = Empty().steer(dev=[*DEV, odd], log=[*ASKED, Query("none", "?")])
    assert [query.query.query_id for query in steered.choosing if query.group == LOG] == ["l0", "l1", "l2"]
    grades = grades_of(steered.choosing)
    assert grades["odd"]["d03"] == 4
    assert {query_id: grades[query_id] for query_id in (query.query_id for query in DEV)} == grades_of(
        index.steer().choosing
    )
    assert np.isfinite(weights_of(steered.choosing)).all()


def test_nothing_depends_on_the_order_of_the_corpus(index):
    for log in ((), ASKED):
        again = Index(DOCS[::-1]).steer(log=log)
        assert again == index.steer(log=log)


def test_documents_are_graded_where_passages_were_drawn():
    docs = [
        Doc(f"{doc.doc_id}#{half}", " ".join(doc.text.split()[half::2]), doc.title) for doc in DOCS for half in (0, 1)
    ]
    parents = {doc.doc_id: doc.doc_id[:3] for doc in docs}
    drawn = [query._replace(doc_id=f"{query.doc_id}#{number % 2}") for number, query in enumerate(SYNTHETIC)]
    steered = Index(docs, parents).steer(drawn[:25], drawn[25:], ASKED)
    for query in (*steered.choosing, *steered.measuring):
        assert query.grades.keys() <= {*parents.values()}
    assert [query.grades[synthetic.doc_id] for query, synthetic in zip(steered.measuring, TEST, strict=True)] == [
        2
    ] * 15
    # A document counts once per retriever, however many of its passages are found.
    assert {grade for query in steered.choosing if query.group == LOG for grade in query.grades.values()} <= {1, 2}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_of_chinese_queries_are_counted_and_shared(language):
    texts = ["东京今天有雨", "大阪城在日本", "北京是中国的首都", "上海有很多人", "广州的天气很热", "苹果和梨都是水果",
             "猫喜欢吃鱼", "狗喜欢吃骨头"]  # fmt: skip
    index = Index([Doc(f"d{number}", text) for number, text in enumerate(texts)], language=language)
    dev = [SyntheticQuery(f"s{number}", text[:4], f"d{number}", -1.0) for number, text in enumerate(texts)]
    steered = index.steer(dev[:5], dev[5:], [Query("l0", "北京"), Query("l1", "猫吃什么鱼")])
    assert steered.seen["synthetic"]["words"] == 4
    assert steered.seen["synthetic"]["shared_words"] > 0.2
    assert steered.seen["log"]["shared_words"] > 0.2
    assert sum(weights_of(steered.choosing)) == pytest.approx(1)


@pytest.mark.parametrize("n_dev", [0, 1, 2])
@pytest.mark.parametrize("n_log", [0, 1])
def test_few_queries_and_few_documents_are_no_error(n_dev, n_log):
    index = Index(DOCS[:8])
    steered = index.steer(SYNTHETIC[:n_dev], SYNTHETIC[7:8], ASKED[:n_log])
    assert len(steered.choosing) == n_dev + n_log
    assert len(steered.measuring) == 1
    assert sum(weights_of(steered.choosing)) == pytest.approx(n_log / 51 + (1 - n_log / 51) * (n_dev > 0))


def test_progress_ends_where_it_said(index):
    steps = []
    index.steer(log=ASKED, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1]
    assert len({total for _, total in steps}) == 1


# What others read of it
