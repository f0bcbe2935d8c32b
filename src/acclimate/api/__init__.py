"""The public functions, as called by commands and by programs."""
