"""Updates of a finished run with documents that are new, changed or gone."""
