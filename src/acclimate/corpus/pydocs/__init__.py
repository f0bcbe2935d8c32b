"""pydocs: a small labelled collection that needs no download, to try the pipeline on and to test it with.

The docs are the docstrings of the Python that runs this, read from the standard library as `help()` would, and the
topics of `help()`. The queries and judgments are data files of this package. docs/pydocs.md says how they were made.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import pkgutil
import re
import sys
import sysconfig
import types
import warnings
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from acclimate.base.errors import AcclimateError, unknown
from acclimate.corpus.formats import beir
from acclimate.records import Doc, Qrel, Query

MIN_CHARS = 80
"""Shorter docstrings are no documents: they mostly repeat the name."""
JUDGED_SPLITS = ("dev", "test")
ANSWER = 2
"""The grade of a doc that answers the query; a query needs one."""

# Modules that print, open something, are programs or tests, implement a module that has a better-known name, or
# (tkinter and turtle, 500 docs) are left out of many builds of the same Python, which would then have other scores.
_SKIPPED = frozenset(
    "antigravity distutils encodings.* ensurepip.* genericpath idlelib lib2to3 nt ntpath posix posixpath pydoc_data "
    "sre_compile sre_constants sre_parse test tests this tkinter turtle turtledemo".split()
)
_ONLY_A_SIGNATURE = re.compile(r"[\w.]+\([^()]*(\([^()]*\)[^()]*)*\)( -> \S+)?")
_HEADING = re.compile(r"(?P<title>[^\n]+)\n([*=\-~^])\2{2,}\n+")


def build() -> list[Doc]:
    """The docs, sorted by id, such as `json.dumps`, `str.split` (built-ins have no module), `topic:lambda`.

    The same installation gives the same docs; another version or platform of Python gives somewhat others. A text
    stands once, under its shortest id. A docstring belongs to the class that defines it, or when that one is private
    to its public child. Imports the standard library, in a second; modules that are missing here are passed over.
    """
    return list(_docs())


def queries() -> list[Query]:
    """The queries of both splits that have an answer, a doc of grade 2, among the docs of this Python.

    On the Python that was judged, CPython 3.11 on Linux, all have one.
    """
    answered = {qrel.query_id for split in JUDGED_SPLITS for qrel in qrels(split)}
    return [query for query in _all_queries() if query.query_id in answered]


def qrels(split: str) -> list[Qrel]:
    """The judgments of `dev` or `test`: 2 the answer, 1 helps, 0 judged not relevant; sorted by query and doc.

    Those of docs that this Python lacks are left out, and so are queries that have no answer without them. `train`
    is empty: there is nothing here to train on. Only `dev` may be used to choose anything.
    """
    if split == "train":
        return []
    if split not in JUDGED_SPLITS:
        raise unknown("split of pydocs", split, (*JUDGED_SPLITS, "train"))
    doc_ids = {doc.doc_id for doc in _docs()}
    kept = [qrel for qrel in _all_qrels(split) if qrel.doc_id in doc_ids]
    answered = {qrel.query_id for qrel in kept if qrel.relevance == ANSWER}
    return [qrel for qrel in kept if qrel.query_id in answered]


def _all_queries() -> list[Query]:
    with resources.as_file(resources.files(__name__) / "queries.jsonl") as path:
        return beir.read_queries(path)


def _all_qrels(split: str) -> list[Qrel]:
    with resources.as_file(resources.files(__name__) / "qrels" / f"{split}.tsv") as path:
        return beir.read_qrels(path)


@cache
def _docs() -> tuple[Doc, ...]:
    if sys.flags.optimize > 1:
        raise AcclimateError("pydocs is made of docstrings, and python -OO removes them; run without -OO")
    docs: dict[str, Doc] = {}  # by text
    with _silence():
        for doc in [*_docstrings(), *_topics()]:
            if len(doc.text) >= MIN_CHARS and not _ONLY_A_SIGNATURE.fullmatch(doc.text):
                docs[doc.text] = min(doc, docs.get(doc.text, doc), key=lambda doc: _plainness(doc.doc_id))
    return tuple(sorted(docs.values()))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress what modules print and warn while they are imported and inspected."""
    nowhere = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        yield


def _plainness(doc_id: str) -> tuple[int, str, str]:
    """Sort key for an object's ids; the least is kept: `asyncio.gather` before `asyncio.tasks.gather`, and
    `socket.socket` before `SocketType`."""
    return doc_id.count("."), doc_id.lower(), doc_id


def _topics() -> Iterator[Doc]:
    """The language reference that `help()` carries; a title is the topic's heading."""
    from pydoc_data.topics import topics

    for name, text in topics.items():
        text = inspect.cleandoc(text)
        heading = _HEADING.match(text)
        title = heading["title"].replace('"', "") if heading else name
        yield Doc(f"topic:{name}", (text[heading.end() :] if heading else text).strip(), title)


def _docstrings() -> Iterator[Doc]:
    """Every public name of every module: short texts and repeated ones too."""
    for module in _modules():
        prefix = "" if module.__name__ == "builtins" else f"{_name(module)}."
        yield _doc(_name(module), module)
        for name, value in _public(module):
            yield _doc(prefix + name, value)
            for member, function in _members(value):
                yield _doc(f"{prefix}{name}.{member}", function)


def _doc(name: str, value: Any) -> Doc:
    """The value's own docstring, clean; empty for none and for an instance that has only its class'."""
    text = getattr(value, "__doc__", None)
    if not isinstance(text, str) or (not inspect.isclass(value) and text == type(value).__doc__):
        text = ""
    return Doc(name, inspect.cleandoc(text).strip(), name)


def _name(module: types.ModuleType) -> str:
    return "os.path" if module is sys.modules["os.path"] else module.__name__


def _modules() -> Iterator[types.ModuleType]:
    """The public modules of the standard library, parents first, each only if it comes from the library's folder."""
    names = sorted(name for name in sys.stdlib_module_names if name == "__future__" or name[0] != "_")
    names.append("os.path")
    while names:
        name = names.pop(0)
        if not _SKIPPED.isdisjoint({*name.split("."), f"{name.rpartition('.')[0]}.*"}):
            continue
        module = _import(name)
        if module is None:
            continue
        yield module
        for child in pkgutil.iter_modules(getattr(module, "__path__", [])):
            if child.name[0] != "_":
                names.append(f"{name}.{child.name}")


def _import(name: str) -> types.ModuleType | None:
    """The module; None if it is missing, cannot be loaded, or is shadowed by another project's."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is None or not _is_in_the_library(spec.origin):
            return None
        return importlib.import_module(name)
    except (Exception, SystemExit):  # modules raise anything where they cannot run
        return None


def _is_in_the_library(origin: str | None) -> bool:
    if origin in ("built-in", "frozen"):
        return True
    paths = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib")]
    file = Path(origin or "/").resolve()
    return any(file.is_relative_to(path) for path in paths) and "site-packages" not in file.parts


def _public(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """A module's own names, each once: those in its `__all__`, defined in it or, if it has no `__all__`, in C."""
    exported = set(getattr(module, "__all__", ()))
    for name in sorted(exported | vars(module).keys()):
        try:
            value = getattr(module, name)
        except Exception:  # missing on this platform, or fails on first access
            continue
        home = getattr(value, "__module__", None)
        is_own = name in exported or home == module.__name__ or (not exported and str(home).startswith("_"))
        if name[0] != "_" and is_own and not inspect.ismodule(value) and _is_standard(home):
            first_name = getattr(value, "__name__", name)
            is_alias = first_name != name and getattr(module, str(first_name), None) is value
            if not is_alias or (name in exported and first_name not in exported):
                yield name, value


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines, itself or in a private parent."""
    if not inspect.isclass(value):
        return
    parents = [base for base in value.__mro__ if base is value or base.__module__[0] == "_" or base.__name__[0] == "_"]
    for name in sorted({name for base in parents for name in vars(base) if name[0] != "_"}):
        member = inspect.getattr_static(value, name)
        member = getattr(member, "__func__", member)
        if not inspect.isclass(member) and _is_standard(getattr(member, "__module__", None)):
            yield name, member


def _is_standard(module_name: Any) -> bool:
    """True if a `__module__` belongs to the standard library; other projects add names to its modules."""
    return not isinstance(module_name, str) or module_name.partition(".")[0] in sys.stdlib_module_names
