"""The ground: errors, files, models, processes, progress. Nothing here knows what a run, a stage or a query is."""
