"""The synthetic queries of a run, to look at: what was written, what became of it, and the page that shows it."""
