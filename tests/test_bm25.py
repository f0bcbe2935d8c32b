"""BM25's index: the files of bm25s, whatever the blocks it was built in, and memory that does not hold the corpus."""

from __future__ import annotations

import random
import tracemalloc

import bm25s
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.search.bm25 import BM25

WORDS = "ash lava crust tide moon the curds of cheese".split()
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), min_size=1, max_size=12)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def by_bm25s(texts, folder, k1, b):
    """Its files, where it is given all terms at once."""
    rows, vocabulary = [], {}
    for text in texts:
        rows.append([vocabulary.setdefault(word, len(vocabulary)) for word in text.split()])
    for row in rows:
        if not row:
            row.append(vocabulary.setdefault("", len(vocabulary)))
    index = bm25s.BM25(k1=k1, b=b)
    index.index((rows, vocabulary), show_progress=False)
    index.save(folder, show_progress=False)
    return files(folder)


@settings(max_examples=25)
@given(TEXTS, st.integers(1, 30), st.sampled_from([(0.9, 0.4), (0.0, 0.0), (2.0, 1.0)]))
def test_the_files_are_those_of_bm25s_whatever_the_blocks(tmp_path_factory, texts, block, parameters):
    folder, (k1, b) = tmp_path_factory.mktemp("bm25"), parameters
    expected = by_bm25s(texts, folder / "theirs", k1, b)
    for scratch in (None, folder / "scratch"):
        built = BM25.build(texts, language="none", k1=k1, b=b, block=block, scratch=scratch)
        assert built.without_terms == texts.count("")
        built.save(folder / "ours")
        assert {**expected, "language.json": b'"none"\n'} == files(folder / "ours")
    assert not list((folder / "scratch").iterdir())  # or it was never made
    opened, whole = BM25.open(folder / "ours"), BM25.build(texts, language="none", k1=k1, b=b)
    reference = bm25s.BM25.load(folder / "theirs")
    for query in (["ash", "ash", "lava"], ["the", "cheese", "ash", "of"]):
        scores = (
            reference.get_scores(query) if set(query) & set(" ".join(texts).split()) else np.zeros(len(texts), "f4")
        )
        assert opened.scores(" ".join(query)).tobytes() == whole.scores(" ".join(query)).tobytes() == scores.tobytes()
    assert not opened.scores("nothing").any()


def most_memory(n_docs, folder):
    """Bytes that building takes at most."""
    draw, words = random.Random(0), [f"word{number}" for number in range(500)]
    texts = (" ".join(draw.choices(words, k=20)) for _ in range(n_docs))
    tracemalloc.start()
    BM25.build(texts, language="none", scratch=folder, block=4096)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_the_memory_that_building_takes_is_of_a_block(tmp_path):
    few, many = most_memory(1_000, tmp_path), most_memory(4_000, tmp_path)
    assert many - few < 40 * 3_000  # bytes of each document more; its terms alone take 80 of a list


def test_an_opened_index_is_read_where_a_query_needs_it(tmp_path):
    BM25.build(["red fox", "dog"], language="none").save(tmp_path)
    postings = BM25.open(tmp_path).postings
    assert all(isinstance(part, np.memmap) for part in (postings.starts, postings.rows, postings.weights))


def test_what_scores_otherwise_has_another_fingerprint():
    ways = [{}, {"language": "none"}, {"k1": 2.0}, {"b": 0.1}]
    assert len({BM25.build(["a red fox", "dog"], **way).fingerprint for way in ways}) == len(ways)
