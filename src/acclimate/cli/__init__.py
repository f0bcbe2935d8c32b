"""The command line: each command is a few lines over a function that programs call too."""

from acclimate.base import signals


def entry() -> None:
    """The console script of those who installed an earlier version and have not installed this one yet."""
    from acclimate.cli.main import main

    signals.run(main)
