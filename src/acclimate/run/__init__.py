"""One run: its settings, its folder, and what it works with."""
