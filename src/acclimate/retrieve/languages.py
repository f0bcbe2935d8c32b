"""Languages whose words BM25 knows."""

from __future__ import annotations

# language -> (bm25s' stop words, Snowball's stemmer); "none" neither drops nor stems
LANGUAGES: dict[str, tuple[str | None, str | None]] = {
    "en": ("en", "english"),
    "de": ("de", "german"),
    "nl": ("nl", "dutch"),
    "fr": ("fr", "french"),
    "es": ("es", "spanish"),
    "pt": ("pt", "portuguese"),
    "it": ("it", "italian"),
    "ru": ("ru", "russian"),
    "sv": ("sv", "swedish"),
    "no": ("no", "norwegian"),
    "none": (None, None),
}
