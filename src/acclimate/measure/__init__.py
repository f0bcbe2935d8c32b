"""Evaluate runs and compare systems: pure functions over records."""
