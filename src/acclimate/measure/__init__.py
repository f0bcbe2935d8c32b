"""How good a run is, and whether one is better than another: pure functions over records."""
