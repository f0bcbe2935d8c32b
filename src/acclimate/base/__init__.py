"""Foundations: errors, files, models, processes, progress. Nothing here depends on runs, stages or queries."""
