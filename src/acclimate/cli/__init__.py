"""The command line: each command is a few lines over a function of the Python API."""

from acclimate.base import signals


def entry() -> None:
    """Entry point of console scripts installed by earlier versions."""
    from acclimate.cli.main import main

    signals.run(main)
