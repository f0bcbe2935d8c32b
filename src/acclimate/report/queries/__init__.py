"""Inspection of a run's synthetic queries: statistics, rejected answers, and a page."""
