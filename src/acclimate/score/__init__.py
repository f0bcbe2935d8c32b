"""Scorers: models that rate a (query, document) pair."""
