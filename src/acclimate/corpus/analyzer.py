"""BM25's analyzer for documents and queries, with the stop words and stemming of a language.

Words are folded (see `words`). Words of scripts without blanks, and of Korean, which attaches particles, become
characters and overlapping bigrams, so no dictionary is needed, and single-character queries work. Words of one letter
are kept (C, R), but not the letters of abbreviations and elisions (e.g., it's).
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from acclimate.base.errors import unknown
from acclimate.base.words import characters_of, folded, runs_of

# language -> (bm25s' stop words, Snowball's stemmer); "none" neither drops nor stems
LANGUAGES: dict[str, tuple[str | None, str | None]] = {
    "en": ("EN", "english"),
    "ar": (None, "arabic"),
    "ca": (None, "catalan"),
    "cs": (None, "czech"),
    "da": ("DANISH", "danish"),
    "de": ("GERMAN", "german"),
    "el": (None, "greek"),
    "es": ("SPANISH", "spanish"),
    "et": (None, "estonian"),
    "eu": (None, "basque"),
    "fa": (None, "persian"),
    "fi": (None, "finnish"),
    "fr": ("FRENCH", "french"),
    "ga": (None, "irish"),
    "hi": (None, "hindi"),
    "hu": (None, "hungarian"),
    "hy": (None, "armenian"),
    "id": (None, "indonesian"),
    "it": ("ITALIAN", "italian"),
    "ja": (None, None),
    "km": (None, None),
    "ko": (None, None),
    "lo": (None, None),
    "lt": (None, "lithuanian"),
    "my": (None, None),
    "ne": (None, "nepali"),
    "nl": ("DUTCH", "dutch"),
    "no": ("NORWEGIAN", "norwegian"),
    "pl": (None, "polish"),
    "pt": ("PORTUGUESE", "portuguese"),
    "ro": (None, "romanian"),
    "ru": ("RUSSIAN", "russian"),
    "sr": (None, "serbian"),
    "sv": ("SWEDISH", "swedish"),
    "ta": (None, "tamil"),
    "th": (None, None),
    "tr": ("TURKISH", "turkish"),
    "yi": (None, "yiddish"),
    "zh": (None, None),
    "none": (None, None),
}

_LETTER_OF_MORE = re.compile(r"(?<=\w['’.])\w\b|\b\w(?=['’]\w\w|\.\w)")
_STEMS = 1 << 17  # size of the cache: most of a text are common words
_STOP_WORDS_TOO = {"en": ("i",)}  # of one letter, which bm25s' lists omit


class Analyzer:
    """Turns text into terms. Raises SettingError for an unknown language."""

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise unknown("language", language, LANGUAGES)
        self.language = language

    def __call__(self, text: str) -> list[str]:
        """The terms of a text, in order, with repetitions."""
        text = _LETTER_OF_MORE.sub("", folded(text, is_turkish=self.language == "tr"))
        stop_words, stem = self._stop_words, self._stem
        # Some words have an empty stem.
        words = [stem(word) or word for word in runs_of(text) if word not in stop_words]
        return words if text.isascii() else list(itertools.chain.from_iterable(map(_terms, words)))

    @cached_property
    def _stop_words(self) -> frozenset[str]:
        name = LANGUAGES[self.language][0]
        words = stop_words_of(name) if name else ()
        return frozenset(map(folded, (*words, *_STOP_WORDS_TOO.get(self.language, ()))))

    @cached_property
    def _stem(self) -> Callable[[str], str]:
        name = LANGUAGES[self.language][1]
        if name is None:
            return str
        import Stemmer

        return lru_cache(maxsize=_STEMS)(Stemmer.Stemmer(name).stemWord)


def _terms(word: str) -> list[str]:
    characters = characters_of(word)
    return [*characters, *map("".join, itertools.pairwise(characters))] if characters else [word]


@cache
def stop_words_of(name: str) -> Sequence[str]:
    """bm25s' stop words of that name, read from its file alone, as importing the library imports SciPy."""
    spec = importlib.util.find_spec("bm25s")
    assert spec
    assert spec.origin
    file = importlib.util.spec_from_file_location("bm25s_stopwords", Path(spec.origin).with_name("stopwords.py"))
    assert file
    assert file.loader
    lists = importlib.util.module_from_spec(file)
    file.loader.exec_module(lists)
    return getattr(lists, f"STOPWORDS_{name}", ())


@cache
def bm25s() -> Any:
    """The bm25s library, prevented from importing JAX, which would allocate most of a GPU's memory."""
    with _missing("jax"):
        import bm25s

    return bm25s


@contextmanager
def _missing(name: str) -> Iterator[None]:
    """Context in which importing this package fails as if it were not installed."""
    before = {key: sys.modules.pop(key) for key in [*sys.modules] if key.partition(".")[0] == name}
    sys.modules[name] = None  # pyright: ignore[reportArgumentType] (documented: an import of it fails)
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules.update(before)
