"""A run, as the engines and libraries that people have take it."""
