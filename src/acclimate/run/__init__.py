"""One run: its settings, its folder, its input, and the models it loads."""
