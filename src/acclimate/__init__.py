"""acclimate tunes a search engine to a collection of documents that has no labels."""

__version__ = "0.1.0"
