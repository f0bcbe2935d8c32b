"""SQLite: one file with documents, vectors and BM25's weights; the system as one SELECT; and a reader in Python.

Vectors are blobs of little-endian float32, which both sqlite-vec and NumPy read. BM25 is exact: a document's score is a
sum of weights that the index holds. FTS5 indexes the words too, for phrases and snippets; its own bm25() analyzes and
weighs differently. Documents are numbered in the order of their ids (see `fusion_sql`).
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from acclimate.base.database import refuse_long_path
from acclimate.base.files import write_text
from acclimate.deploy.exports import queries
from acclimate.deploy.exports.check import check, line
from acclimate.deploy.exports.formats import Written
from acclimate.deploy.exports.fusion_sql import Fragment, fused, identifier
from acclimate.deploy.exports.postings import postings_of
from acclimate.deploy.exports.readers import sqlite as reader
from acclimate.deploy.exports.source import BM25, DENSE, LATE_INTERACTION, LEXICAL, SPARSE, Part, Source

_DOCUMENTS = """
create table if not exists finished (step text primary key);
create table if not exists documents (
  number integer primary key, id text not null unique, document text not null, title text not null, text text not null);
create virtual table if not exists words
  using fts5(title, text, content='documents', content_rowid='number', tokenize='{tokenizer}');
"""
_POSTINGS = """
create table if not exists {name}_terms (term integer primary key, word text not null);
create table if not exists {name}_postings (
  term integer, doc integer, weight real not null, primary key (term, doc)) without rowid;
"""
_TABLES = {
    BM25: _POSTINGS,
    SPARSE: _POSTINGS,
    DENSE: "create table if not exists {name}_vectors (doc integer primary key, vector blob not null);",
    LATE_INTERACTION: "create table if not exists {name}_tokens (\n"
    "  doc integer primary key, tokens blob not null, scales blob not null);",
}
_COUNTED = {BM25: "postings", SPARSE: "postings", DENSE: "vectors", LATE_INTERACTION: "tokens"}


def write(source: Source, folder: Path) -> Written:
    """See the package."""
    refuse_long_path(folder / "search.sqlite")
    queries.save(source, folder / "query")
    with closing(sqlite3.connect(folder / "search.sqlite", isolation_level=None)) as database:
        _fill(database, source)
        selects = {"documents": "count(*) from documents"}
        for name, kind in source.kinds.items():
            # A row has all tokens of a document, with a scale of four bytes each.
            number = "total(length(scales)) / 4" if kind == LATE_INTERACTION else "count(*)"
            selects[f"{name} {_COUNTED[kind]}"] = f"{number} from {identifier(name)}_{_COUNTED[kind]}"
        counts = {what: int(database.execute(f"select {rest}").fetchone()[0]) for what, rest in selects.items()}
    write_text(folder / "search.sql", select(source))
    shutil.copyfile(reader.__file__, folder / "search.py")
    search = reader.open_index(folder)
    checked = check(source, search)
    return Written(counts, {"check": checked}, [line(checked, "SQLite")])


def _fill(database: sqlite3.Connection, source: Source) -> None:
    """Fill all tables step by step; finished steps are not repeated."""
    tokenizer = "porter unicode61" if source.run.settings["index"]["language"] == "en" else "unicode61"
    database.execute("pragma synchronous = off")  # a killed process loses nothing; after a power failure start anew
    database.executescript(_DOCUMENTS.format(tokenizer=tokenizer))
    for name, kind in source.kinds.items():
        database.executescript(_TABLES[kind].format(name=identifier(name)))
    for part in source.parts():
        with _step(database, f"documents {part.number}") as is_new:
            if is_new:
                _insert_documents(database, source, part)
    for name in source.members:
        if source.kinds[name] in LEXICAL:
            _insert_postings(database, source, name)
    with _step(database, "words") as is_new:
        if is_new:
            database.execute("insert into words(words) values ('rebuild')")
            database.execute("analyze")


@contextmanager
def _step(database: sqlite3.Connection, name: str) -> Iterator[bool]:
    """A transaction for a step; yields whether the step is still to be done."""
    database.execute("begin immediate")
    try:
        yield database.execute("insert or ignore into finished values (?)", (name,)).rowcount == 1
    except BaseException:
        if database.in_transaction:  # SQLite itself rolls back when the disk is full
            database.execute("rollback")
        raise
    database.execute("commit")


def _insert_documents(database: sqlite3.Connection, source: Source, part: Part) -> None:
    database.executemany("insert into documents values (?, ?, ?, ?, ?)", part.documents)
    numbers = [document.number for document in part.documents]
    for name, kind in source.kinds.items():
        if kind == DENSE:
            vectors = (vector.tobytes() for vector in source.dense_vectors(name, part))
            rows = zip(numbers, vectors, strict=True)
            database.executemany(f"insert into {identifier(name)}_vectors values (?, ?)", rows)
        elif kind == LATE_INTERACTION:
            tokens = source.token_vectors(name, part).in_bytes()
            rows = ((number, *blobs) for number, blobs in zip(numbers, tokens, strict=True))
            database.executemany(f"insert into {identifier(name)}_tokens values (?, ?, ?)", rows)


def _insert_postings(database: sqlite3.Connection, source: Source, name: str) -> None:
    postings, table = postings_of(source.system.members[name]), identifier(name)
    with _step(database, f"{name} terms") as is_new:
        if is_new:
            words = ((number, word) for number, word in enumerate(postings.words) if word)
            database.executemany(f"insert into {table}_terms values (?, ?)", words)
    for block, entries in enumerate(postings.blocks()):
        with _step(database, f"{name} postings {block}") as is_new:
            if is_new:
                columns = entries.terms, source.numbers[entries.rows], entries.weights
                rows = zip(*(column.tolist() for column in columns), strict=True)
                database.executemany(f"insert into {table}_postings values (?, ?, ?)", rows)


def select(source: Source) -> str:
    """The system as one SELECT of documents. Its parameters are the encoded query of each member, by name, and :k."""
    system = source.system
    fragments = {name: _fragment(identifier(name), kind, system.depth) for name, kind in source.kinds.items()}
    tables = ",\n".join(fused(system, fragments))
    return f"""with {tables}
select document, max(fused.score) as score, title, text
from fused join documents on documents.number = fused.doc
group by document
order by score desc, document
limit :k
"""


def _fragment(name: str, kind: str, depth: int) -> Fragment:
    if kind in LEXICAL:
        scored = (
            f"  select doc, sum(weight * asked.value) as score\n  from json_each(:{name}) as asked"
            f" join {name}_postings on term = cast(asked.key as integer)\n  group by doc"
        )
        named = f"  select doc, score from {name}_scored where score > 0 order by score desc, doc limit {depth}"
        return Fragment(scored, named, f"left join {name}_scored using (doc)", f"coalesce({name}_scored.score, 0)")
    if kind == DENSE:
        score = f"1 - coalesce(vec_distance_cosine(vector, :{name}), 1)"
        named = f"  select doc, {score} as score from {name}_vectors order by score desc, doc limit {depth}"
        score = score.replace("vector,", f"{name}_vectors.vector,")
        return Fragment("", named, f"join {name}_vectors using (doc)", score)
    tokens = f"{name}_tokens"
    return Fragment("", "", f"join {tokens} using (doc)", f"max_sim({tokens}.tokens, {tokens}.scales, :{name})")
