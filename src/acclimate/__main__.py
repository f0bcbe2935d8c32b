"""`python -m acclimate`."""

from acclimate.cli import entry

entry()
