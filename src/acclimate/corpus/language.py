"""Detect the language of a text by its letters and most frequent words: enough to notice a wrong one.

The answer is None when unsure: keyword queries have no frequent words, and a name may be in any script.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

from acclimate.base.words import folded, words_of
from acclimate.corpus import analyzer
from acclimate.corpus.analyzer import stop_words_of

LANGUAGES = {
    "en": "english",
    "da": "danish",
    "de": "german",
    "es": "spanish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ru": "russian",
    "sv": "swedish",
    "tr": "turkish",
}
_OWN_NAMES = {
    "deutsch": "de",
    "español": "es",
    "français": "fr",
    "italiano": "it",
    "nederlands": "nl",
    "svenska": "sv",
    "русский": "ru",
    "中文": "zh",
    "日本語": "ja",
    "한국어": "ko",
    "العربية": "ar",
    "فارسی": "fa",
}
_OF_OTHER_SCRIPTS = {  # code -> English name, and script
    "ar": ("arabic", "ARABIC"),
    "el": ("greek", "GREEK"),
    "fa": ("persian", "ARABIC"),
    "hi": ("hindi", "DEVANAGARI"),
    "hy": ("armenian", "ARMENIAN"),
    "ja": ("japanese", "CJK"),
    "km": ("khmer", "KHMER"),
    "ko": ("korean", "HANGUL"),
    "lo": ("lao", "LAO"),
    "my": ("burmese", "MYANMAR"),
    "ru": ("russian", "CYRILLIC"),
    "ta": ("tamil", "TAMIL"),
    "th": ("thai", "THAI"),
    "zh": ("chinese", "CJK"),
}
_ONE_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}  # Japanese is written in all three
_MANY = 0.6  # share of letters that determines the script of a text
_LETTERS_OF_CJK = 3  # Latin letters that a character is worth: half of the letters of a page may be names in code
_OF_SCRIPT = {  # script -> the only one of these languages that is written in it
    script: code for code, (_, script) in _OF_OTHER_SCRIPTS.items() if script not in ("ARABIC", "CJK", "CYRILLIC")
}
_KANA = re.compile("[\u3041-\u30fa]")
_PERSIAN, _URDU = re.compile("[\u06a9\u06cc]"), re.compile("[\u0679\u0688\u0691\u06ba\u06d2]")
DETECTABLE = {*LANGUAGES, *_OF_OTHER_SCRIPTS}  # by frequent words, or by letters


def code_of(name: str) -> str | None:
    """The code of a language that can be detected, from its code or name: `German` is de."""
    name = name.strip().casefold()
    codes = {english: code for code, english in LANGUAGES.items()} | _OWN_NAMES
    codes |= {english: code for code, (english, _) in _OF_OTHER_SCRIPTS.items()}
    return name if name in DETECTABLE else codes.get(name)


def english_name(language: str) -> str:
    """The English name of a language that is given by its code: de is `German`. Any other text stays as it is."""
    names = {code: name for code, (_, name) in analyzer.LANGUAGES.items()}
    names |= {code: english for code, (english, _) in _OF_OTHER_SCRIPTS.items()}
    name = names.get(language.strip().casefold())
    return name.capitalize() if name else language


def script_written(code: str) -> str:
    """The script, as of `script_of`, of a language that can be detected."""
    return _OF_OTHER_SCRIPTS[code][1] if code in _OF_OTHER_SCRIPTS else "LATIN"


def language_of(text: str) -> str | None:
    """The code of the language of a text's frequent words: at least two different ones, and twice as many as of any
    other language."""
    counts = Counter(code for word in set(words_of(text)) for code in _languages_of().get(word, ()))
    if not counts:
        return None
    (best, most), second = counts.most_common(1)[0], counts.most_common(2)[1:]
    return best if most >= 2 and (not second or most >= 2 * second[0][1]) else None


def language_of_most(texts: Iterable[str]) -> str | None:
    """The code of the language of at least half of the texts, by letters or frequent words."""
    counts = Counter(_language_by_letters(text) or language_of(text) for text in texts)
    code, count = counts.most_common(1)[0] if counts else (None, 0)
    return code if 2 * count >= counts.total() else None


def script_of(text: str) -> str | None:
    """The script of most letters, such as LATIN, CYRILLIC or CJK; None for few or mixed letters."""
    return _most(scripts_of(text))


@cache
def stop_words(code: str) -> frozenset[str]:
    """The stop words of a language, folded; none for an unknown language."""
    name = "EN_PLUS" if code == "en" else LANGUAGES.get(code, "").upper()
    return frozenset(map(folded, stop_words_of(name)))


def scripts_of(text: str) -> Counter[str]:
    """The number of letters of each script in a text."""
    named = (unicodedata.name(char, "?").split()[0] for char in text if char.isalpha())
    return Counter(_ONE_SCRIPT.get(script, script) for script in named)


def _most(scripts: Counter[str]) -> str | None:
    if scripts.total() < 4:
        return None
    script, count = scripts.most_common(1)[0]
    return script if count >= _MANY * scripts.total() else None


def _language_by_letters(text: str) -> str | None:
    scripts = scripts_of(text)
    scripts["CJK"] *= _LETTERS_OF_CJK
    script = _most(scripts)
    if script == "CJK":
        return "ja" if _KANA.search(text) else "zh"
    if script == "ARABIC":
        return None if _URDU.search(text) else "fa" if _PERSIAN.search(text) else "ar"
    return _OF_SCRIPT.get(script or "")


@cache
def _languages_of() -> dict[str, tuple[str, ...]]:
    """Frequent word -> the languages that have it."""
    words: dict[str, tuple[str, ...]] = {}
    for code in LANGUAGES:
        for word in stop_words(code):
            words[word] = (*words.get(word, ()), code)
    return words
