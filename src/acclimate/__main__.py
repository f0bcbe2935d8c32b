"""`acclimate`, and `python -m acclimate`. All else is imported where a signal is understood already."""

import gc

from acclimate.base import signals, streams


def entry() -> None:
    """The console script."""
    signals.run(_main)


def _main() -> int:
    streams.prepare()
    gc.disable()
    from acclimate.cli.main import main

    gc.freeze()  # what is imported stays: to look through it for garbage is a tenth of what help takes
    gc.enable()
    return main()


if __name__ == "__main__":
    entry()
