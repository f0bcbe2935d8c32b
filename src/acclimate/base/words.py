"""Splitting text into words in any script; BM25, near-duplicates, cleaning and statistics all use it.

Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without spaces, so there each character counts as a word,
with its combining marks. Elsewhere combining marks are part of the word: Python's `\\w` would split words of Indian
scripts at each vowel sign.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable
from functools import cache

from acclimate.base.digests import text_digest

# Scripts without spaces: Thai, Lao, Burmese, Khmer, Japanese, Chinese; combining marks among them are not letters.
UNSPACED = (
    "\u0e01-\u0e4e\u0e81-\u0ecd\u0edc-\u0edf\u1000-\u103f\u1050-\u109f\u1780-\u17d3\u17dc"
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\uff66-\uff9f"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
SENTENCE_MARKS = "。！？｡؟۔।॥։።፧။។៕།"  # end a sentence whatever follows, in scripts other than Latin
HANGUL = "\u1100-\u11ff\ua960-\ua97c\uac00-\ud7fb"
_WIDE = re.compile(
    "[\u3005-\u3007\u3041-\u30ff\u3105-\u31ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]"
)
_WIDE_LETTERS = 3  # Latin letters that a Chinese, Japanese or Korean character is worth: words have about two of them
# Vowel points of Hebrew and Arabic, which most texts omit, and the Arabic stretching character.
_POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]"
)
_ASCII_WORD = re.compile(r"\w+", re.ASCII)


def folded(text: str, *, is_turkish: bool = False) -> str:
    """Normalize a text for comparison: NFKC, case-folded, without vowel points and invisible characters.

    is_turkish: lower-case I as ı, not i.
    """
    if text.isascii() and not is_turkish:
        return text.lower()
    text = unicodedata.normalize("NFKC", _invisible().sub("", text))
    if is_turkish:
        text = text.replace("I", "ı")
    text = text.casefold()
    # Case folding undoes some compositions, and leaves a combining dot from the Turkish capital İ.
    return _POINTS.sub("", unicodedata.normalize("NFKC", text).replace("i\u0307", "i"))


def normalized(text: str) -> str:
    """`folded` with single spaces: equal for texts that differ only in spacing, case and encoding of characters."""
    return " ".join(folded(text).split())


def normalized_key(text: str) -> bytes:
    """16 bytes, equal for texts that are equal when `normalized`."""
    return text_digest(normalized(text))


def words_of(text: str) -> list[str]:
    """The words of a text, folded; in scripts without spaces, its characters."""
    text = folded(text)
    return _ASCII_WORD.findall(text) if text.isascii() else _words().findall(text)


def query_key(text: str) -> str:
    """The same for queries that differ only in punctuation, spacing, case and encoding: people ask for one thing."""
    return " ".join(words_of(text)) or normalized(text)


def spans_of(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word in the unfolded text."""
    return [match.span() for match in (_ASCII_WORD if text.isascii() else _words()).finditer(text)]


def spans_between_blanks(text: str) -> list[tuple[int, int]]:
    """(start, end) of each piece between spaces, punctuation included; in scripts without spaces, of each character."""
    return [match.span() for match in _between_blanks().finditer(text)]


def runs_of(text: str) -> list[str]:
    """The words of a folded text, keeping runs of Korean and of scripts without spaces in one piece."""
    return _ASCII_WORD.findall(text) if text.isascii() else _runs().findall(text)


def characters_of(run: str) -> list[str]:
    """The characters, with their marks, of a run in Korean or a script without spaces; [] for any other word."""
    return _characters().findall(run) if run > "\u0e00" else []


def length_of(text: str) -> int:
    """Length of a text in Latin letters: a Chinese, Japanese or Korean character counts as three."""
    return len(text) if text.isascii() else len(text) + (_WIDE_LETTERS - 1) * len(_WIDE.findall(text))


@cache
def _words() -> re.Pattern[str]:
    marks = _marks()
    return re.compile(f"[{_letters(UNSPACED)}][{marks}]*|{_spaced(UNSPACED)}")


@cache
def _between_blanks() -> re.Pattern[str]:
    letters = _letters(UNSPACED)
    return re.compile(rf"[{letters}][{_marks()}]*|[^\s{letters}]+")


@cache
def _runs() -> re.Pattern[str]:
    marks, letters = _marks(), _letters(UNSPACED + HANGUL)
    return re.compile(f"[{letters}][{letters}{marks}]*|{_spaced(UNSPACED + HANGUL)}")


@cache
def _characters() -> re.Pattern[str]:
    return re.compile(f"[{_letters(UNSPACED + HANGUL)}][{_marks()}]*")


def _spaced(excluded: str) -> str:
    """Pattern of a word in other scripts than `excluded`: a letter, then letters and marks."""
    return rf"[^\W{excluded}]+(?:[{_marks()}]+[^\W{excluded}]*)*"


@cache
def _letters(ranges: str) -> str:
    """The characters of these ranges that are not combining marks, as a character class."""
    return _class(char for char in map(chr, _points(ranges)) if unicodedata.category(char)[0] != "M")


@cache
def _marks() -> str:
    return _class(char for char in map(chr, range(0x300, 0x20000)) if unicodedata.category(char)[0] == "M")


@cache
def _invisible() -> re.Pattern[str]:
    """Format characters (soft hyphens, zero widths, directions), variation selectors and fillers."""
    formats = _class(char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char) == "Cf")
    fillers = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
    return re.compile(f"[{formats}{fillers}]")


def _points(ranges: str) -> Iterable[int]:
    """The code points of ranges written as in a character class."""
    for first, last in re.findall("(.)(?:-(.))?", ranges):
        yield from range(ord(first), ord(last or first) + 1)


def _class(chars: Iterable[str]) -> str:
    """Ascending characters as ranges for a character class."""
    ranges: list[list[str]] = []
    for char in chars:
        if ranges and ord(char) == ord(ranges[-1][1]) + 1:
            ranges[-1][1] = char
        else:
            ranges.append([char, char])
    return "".join(f"{first}-{last}" for first, last in ranges)
