"""`acclimate`, and `python -m acclimate`. All else is imported where a signal is understood already."""

from acclimate.base import signals


def entry() -> None:
    """The console script."""
    signals.run(_main)


def _main() -> int:
    from acclimate.cli.main import main

    return main()


if __name__ == "__main__":
    entry()
