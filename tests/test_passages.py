"""Passages: nothing of a document is lost, none is too long, and a ranking of passages is one of documents."""

from __future__ import annotations

import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from acclimate.base.errors import DataError, SettingError
from acclimate.base.testing import FakeRetriever
from acclimate.base.words import spans_between_blanks
from acclimate.corpus import collections
from acclimate.corpus.documents import Corpus
from acclimate.corpus.passages import parents, split
from acclimate.llm.lengths import cut_at
from acclimate.measure.measures import per_query
from acclimate.records import Doc, PromptExample, Qrel, Query, ScoredDoc
from acclimate.search.candidates import Candidates
from acclimate.search.max_passage import MaxPassage
from acclimate.search.members import Ids
from acclimate.search.weights import Relevance, mean_ndcg, ndcg_of_weights
from acclimate.stages.sample import sample

texts = st.text("ab.! \n\t\"'\u3042\u4e16\u3002", max_size=120) | st.text(max_size=60)
lengths = st.integers(1, 12).flatmap(lambda words: st.tuples(st.just(words), st.integers(0, words - 1)))


def words_of(text: str) -> list[str]:
    return [text[start:end] for start, end in spans_between_blanks(text)]


# Splitting


@given(texts, st.integers(1, 12))
@example("", 1)
@example("  \n", 1)
@example(" a b ", 1)
def test_the_passages_of_a_document_joined_are_its_text(text, words):
    assert "".join(one.text for one in split(Doc("d", text, "T"), words)) == text


@given(texts, lengths)
def test_no_passage_is_longer_than_asked_nor_empty_and_each_has_the_title(text, numbers):
    words, overlap = numbers
    found = split(Doc("a#b", text, "T"), words, overlap)
    if len(words_of(text)) <= words:
        assert found == [Doc("a#b", text, "T")]
        return
    assert [one.doc_id for one in found] == [f"a#b#{n}" for n in range(len(found))]
    assert {one.title for one in found} == {"T"}
    assert all(1 <= len(words_of(one.text)) <= words for one in found)


@given(texts, lengths)
def test_each_passage_begins_with_the_last_words_of_the_one_before(text, numbers):
    words, overlap = numbers
    found = [words_of(one.text) for one in split(Doc("d", text), words, overlap)]
    for one, following in pairwise(found):
        assert one[len(one) - overlap :] == following[:overlap]
        assert len(following) > overlap
    assert found[0] + [word for one in found[1:] for word in one[overlap:]] == words_of(text)


@given(st.lists(st.integers(3, 12), min_size=1, max_size=20), st.integers(24, 40))
def test_passages_end_where_sentences_end_when_one_is_near(sentences, words):
    text = "  ".join(" ".join(f"w{n}" for n in range(length - 1)) + " end." for length in sentences)
    *found, _ = split(Doc("d", text), words)
    assert all(one.text.rstrip().endswith("end.") for one in found)


@pytest.mark.parametrize("letters", ["ภาษาไทย", "ພາສາລາວ", "မြန်မာ", "ភាសាខ្មែរ", "日本語", "ｶﾀｶﾅ", "中文", "𠀀𠀁"])
def test_a_text_without_blanks_is_split_between_characters_with_their_marks(letters):
    text = letters * 50
    found = [one.text for one in split(Doc("d", text), 20)]
    assert all(len(words_of(piece)) <= 20 for piece in found)
    assert len(found) >= 5 and all(unicodedata.category(piece[0])[0] != "M" for piece in found)


@pytest.mark.parametrize("mark", ["।", "۔", "؟", "።", "។", "။", "。", "։"])
def test_a_sentence_ends_with_the_mark_of_its_script(mark):
    """Where a passage ends, and where a document is cut for an LLM."""
    sentence = "शब्द शब्द शब्द" + mark
    found = split(Doc("d", " ".join([sentence] * 4)), 5)
    assert [one.text.strip() for one in found] == [sentence] * 4
    assert cut_at(f"{sentence} {sentence}", len(sentence) + 5) == sentence


def test_a_paragraph_is_as_good_an_end_as_a_full_stop():
    text = "one two three four\n\nfive six seven eight nine ten"
    assert [one.text for one in split(Doc("d", text), 6)] == ["one two three four\n\n", text.partition("\n\n")[2]]


@given(st.integers(9, 200), st.integers(8, 30), st.integers(0, 7))
def test_no_scrap_is_left_at_the_end(count, words, overlap):
    found = split(Doc("d", " ".join(f"w{n}" for n in range(count))), words, overlap)
    assert len(found) == 1 or min(len(words_of(one.text)) for one in found) >= words // 4


@pytest.mark.parametrize(("words", "overlap"), [(-1, 0), (5, -1), (5, 5), (5, 9)])
def test_numbers_that_cannot_be_are_refused(words, overlap):
    with pytest.raises(SettingError, match="passage_"):
        split(Doc("d", "text"), words, overlap)


# Corpora


LONG = " ".join(f"word{n}" for n in range(30))
DOCS = [Doc("a", LONG, "A"), Doc("b", "short"), Doc("c#0", "its own id"), Doc("c#1", LONG + " too", "C")]


def test_only_what_was_split_has_a_parent():
    """`c#0` is a document here, not a passage of a document `c`."""
    corpus = Corpus.of(DOCS)
    ids = [one.doc_id for doc in DOCS for one in split(doc, 20)]
    assert ids == ["a#0", "a#1", "b", "c#0", "c#1#0", "c#1#1"]
    assert parents(ids, corpus) == {"a#0": "a", "a#1": "a", "c#1#0": "c#1", "c#1#1": "c#1"}


def test_a_corpus_is_split_once_and_again_when_it_or_the_numbers_change(tmp_path):
    one = Corpus.build(DOCS, tmp_path / "one.arrow", source="here")
    assert collections.passages(one, tmp_path, words=0, overlap=0) is one
    made = collections.passages(one, tmp_path, words=20, overlap=3)
    assert list(made.values()) == [passage for doc in DOCS for passage in split(doc, 20, 3)]
    assert made.source == "here"
    assert made.fingerprint != one.fingerprint
    assert collections.passages(one, tmp_path, words=20, overlap=3).path == made.path
    other = Corpus.build(DOCS[::-1], tmp_path / "other.arrow")
    paths = {
        collections.passages(corpus, tmp_path, words=words, overlap=overlap).path
        for corpus, words, overlap in [(one, 20, 3), (one, 20, 2), (one, 21, 3), (other, 20, 3)]
    }
    assert len(paths) == 4
    with pytest.raises(SettingError, match="passage_words"):
        collections.passages(one, tmp_path, words=-5, overlap=0)


def test_a_passage_never_takes_the_id_of_a_document(tmp_path):
    corpus = Corpus.build([*DOCS, Doc("a#1", "in the way")], tmp_path / "c.arrow", source="c.jsonl")
    with pytest.raises(DataError, match=r"c\.jsonl: document 'a' is longer than 20 words, and 'a#1'"):
        collections.passages(corpus, tmp_path, words=20, overlap=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.arrow", "c.arrow.sha256"]


def test_passages_of_one_document_are_on_one_side():
    docs = [Doc(f"d{n}#{part}", f"{LONG} {n} {part * 'again '}") for n in range(200) for part in range(3)]
    of = {doc.doc_id: doc.doc_id.partition("#")[0] for doc in docs}
    drawn = sample({doc.doc_id: doc for doc in docs}, 0.3, parents=of, near_duplicates=1, n_docs=1000).splits
    sides = {document: {drawn[f"{document}#{part}"] for part in range(3)} for document in of.values()}
    assert {len(found) for found in sides.values()} == {1}
    assert {side for found in sides.values() for side in found} == {"train", "dev", "test"}


# Rankings


def ranked(query: Query, scores: dict[str, float]) -> FakeRetriever:
    return FakeRetriever({query.text: scores})


QUERY = Query("q", "what?")
OF = {f"{doc}#{n}": doc for doc in "abc" for n in range(30)}


def test_a_document_ranks_where_its_best_passage_does():
    scores = {"a#1": 0.3, "a#0": 0.9, "b#2": 0.8, "x#1": 0.7, "c#0": 0.1}
    folded = MaxPassage(ranked(QUERY, scores), OF)
    assert folded.search([QUERY], 9) == [
        ScoredDoc("q", doc, score) for doc, score in [("a", 0.9), ("b", 0.8), ("x#1", 0.7), ("c", 0.1)]
    ]
    assert [hit.doc_id for hit in folded.passages([QUERY], 2)] == ["a#0", "b#2"]


def test_as_many_documents_are_found_as_asked_for_however_many_passages_come_first():
    scores = {f"a#{n}": 9.0 + n for n in range(30)} | {f"b#{n}": 5.0 + n / 9 for n in range(30)} | {"c#7": 1.0}
    folded = MaxPassage(ranked(QUERY, scores), OF)
    assert [hit.doc_id for hit in folded.search([QUERY], 3)] == ["a", "b", "c"]
    assert [hit.doc_id for hit in folded.search([QUERY], 2)] == ["a", "b"]
    assert [hit.doc_id for hit in folded.search([QUERY], 50)] == ["a", "b", "c"]  # there are no more


def test_documents_with_equal_scores_rank_by_their_own_ids():
    folded = MaxPassage(ranked(QUERY, {"a#9": 1.0, "a!": 1.0, "a#10": 1.0}), OF)
    assert [hit.doc_id for hit in folded.search([QUERY], 5)] == ["a", "a!"]


@given(st.lists(st.integers(0, 2), min_size=20, max_size=40), st.integers(1, 4))
def test_the_first_documents_are_certain_however_few_passages_are_looked_at(scores, k):
    """Passages of equal scores come by their own ids, documents by theirs, which is the other order."""
    of = {f"p{n:02}": f"d{9 - n // 4}" for n in range(40)}
    passages = {f"p{n:02}": float(score) for n, score in enumerate(scores)}
    best: dict[str, float] = {}
    for name, score in passages.items():
        best[of[name]] = max(score, best.get(of[name], 0.0))
    expected = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
    found = MaxPassage(ranked(QUERY, passages), of).search([QUERY], k)
    assert [(hit.doc_id, hit.score) for hit in found] == expected


def test_queries_do_not_depend_on_each_other():
    other = Query("p", "and?")
    found = {"what?": {f"a#{n}": 9.0 - n / 100 for n in range(30)} | {"b#0": 0.1}, "and?": {"c#0": 1.0}}
    folded = MaxPassage(FakeRetriever(found), OF)
    assert folded.search([QUERY, other], 2) == folded.search([QUERY], 2) + folded.search([other], 2)
    assert folded.search([Query("none", "nothing")], 2) == []


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d#1", "e"]), st.floats(0, 1)), st.integers(1, 7))
def test_without_passages_a_folded_run_is_the_run(scores, k):
    first = ranked(QUERY, scores)
    assert MaxPassage(first, {}).search([QUERY], k) == first.search([QUERY], k)


# Choosing by documents


def test_a_row_stands_for_each_document():
    ids = Ids(["b", "a#0", "a#1", "c#1"], {"a#0": "a", "a#1": "a"})
    assert ids.document_row == {"b": 0, "a": 1, "c#1": 3}
    assert ids.documents is not None
    assert ids.documents.tolist() == [0, 1, 1, 3]
    assert Ids(["b", "c#1"]).documents is None


def test_the_candidates_of_some_sources_keep_their_scores_and_documents():
    ids, rows = Ids(["b#1", "a#0", "a#1", "b#0"], {"a#0": "a", "a#1": "a", "b#0": "b", "b#1": "b"}), np.arange(4)
    by_source = {"bm25": np.array([3, 1]), "dense": np.array([0])}
    one = Candidates(QUERY, rows, {"x": np.array([4.0, 5.0, 6.0, 7.0])}, *ids.documents_of(rows), by_source)
    part = one.named_by(["bm25"], 2)
    assert (part.rows.tolist(), part.scores["x"].tolist()) == ([1, 2, 3], [5.0, 6.0, 7.0])
    documents, ranks = ids.documents_of(part.rows)
    assert np.array_equal(part.document_rows, documents) and np.array_equal(part.document_ranks, ranks)
    assert part.rows_by_source is not None
    assert [*part.rows_by_source] == ["bm25"]


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 1, width=32)), min_size=1, max_size=30), st.data())
def test_weights_are_chosen_by_what_is_measured_of_folded_runs(passages, data):
    """nDCG@10 of the candidates is that of the run of documents."""
    scores = np.argsort(np.argsort([score for _, score in passages])).astype(np.float32)
    names = [f"{document}#{n}" for n, (document, _) in enumerate(passages)]
    ids = Ids(names, {name: name.partition("#")[0] for name in names})
    assert ids.documents is not None
    relevant = {
        document: data.draw(st.integers(1, 3))
        for document in sorted({str(d) for d, _ in passages})
        if int(document) % 2
    }
    answers = Relevance.equal([{ids.document_row[document]: grade for document, grade in relevant.items()}])
    one = Candidates(QUERY, np.arange(len(names)), {"x": scores}, ids.documents)
    found = mean_ndcg([one], answers, "x")
    assert found == float(ndcg_of_weights([one], answers, ["x"], np.ones((1, 1))).mean())
    if relevant:
        retriever = MaxPassage(ranked(QUERY, dict(zip(names, map(float, scores), strict=True))), ids.parents)
        qrels = [Qrel("q", document, grade) for document, grade in relevant.items()]
        measured = per_query(retriever.search([QUERY], 100), qrels, ["nDCG@10"])
        assert found == pytest.approx(measured["nDCG@10"]["q"])
    else:
        assert found == 0


def test_passages_of_an_example_s_document_get_no_query_and_of_others_as_many_as_allowed():
    docs = [
        Doc(f"{name}#{n}", f"passage {n} of {name} says something else at length " * 3)
        for name in "abc"
        for n in range(4)
    ]
    parents = {doc.doc_id: doc.doc_id[0] for doc in docs}
    shown = [PromptExample("q", "a", "a query", "the whole of a")]
    settings = {"examples": "file", "dev_share": 0, "max_per_source": 2, "near_duplicates": 1}
    drawn = sample({doc.doc_id: doc for doc in docs}, 0.0, lambda _: shown, parents=parents, **settings)
    assert sorted(parents[doc_id] for doc_id in drawn.splits) == ["b", "b", "c", "c"]
    assert (drawn.dropped["example of a prompt"], drawn.dropped["source is full"], drawn.dropped["not drawn"]) == (
        4,
        4,
        0,
    )


def test_of_a_folder_as_many_files_are_drawn_as_allowed():
    docs = [
        Doc(f"{folder}{n}.txt", f"{LONG} file {n} of {folder or 'none'}")
        for folder in ("a/", "a/b/", "")
        for n in range(4)
    ]
    drawn = sample({doc.doc_id: doc for doc in docs}, dev_share=0, max_per_source=2, near_duplicates=1).splits
    assert Counter(doc_id.rpartition("/")[0] for doc_id in drawn) == {"a": 2, "a/b": 2, "": 4}
