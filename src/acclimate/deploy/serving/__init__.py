"""The server: a run asked over HTTP, and the page to try it."""
