"""Everything acclimate raises on purpose. The command line prints one line of it and exits with `exit_code`.

AcclimateError
├── DataError        a file or a record is not what it should be
├── SettingError     a setting, name or option is unknown or impossible
├── MissingExtra     an optional package is needed
├── LLMError         an LLM's server refused, or did not answer
├── OutOfMemory      the smallest part of some work has no room
├── BatchWritten     --batch: what an LLM is to answer is in a file; no mistake
└── BudgetExceeded   --max-cost or --max-tokens stopped the run; its state is kept
"""

from __future__ import annotations

import difflib
import errno
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from acclimate.base.text import command, on_one_line, quoted, shortened

# What files and disks may be: no name, no place, no permission. Any other error of the system is ours.
FILE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP}
FILE_ERRORS |= {errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.EFBIG}
# What allocators say that raise no type of their own: the CPU's, MPS, cuBLAS and cuDNN.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "failed to allocate", "alloc_failed", "not enough memory")
_CLOSE = 0.75  # of their letters that two names share in order, at least: one in four may be wrong
_BEGINNING = 4  # letters that say which name they begin, if there is only one


class AcclimateError(Exception):
    """A mistake that its reader can mend; the message says in one line where, what was found and what to do.

    >>> try:
    ...     acclimate.open("nowhere")
    ... except acclimate.AcclimateError as error:
    ...     print(error)
    nowhere: no run here; make one with: acclimate adapt CORPUS --out nowhere
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(shortened(on_one_line(message)))


class DataError(AcclimateError):
    """A file or record that cannot be used: `path:line: message`.

    >>> print(acclimate.DataError("no text", path="corpus.jsonl", line=2))
    corpus.jsonl:2: no text
    """

    def __init__(self, message: str, *, path: str | Path | None = None, line: int | None = None) -> None:
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(where + message)


class SettingError(AcclimateError):
    """A setting or name that does not exist, or a value that it cannot have.

    >>> acclimate.mine("run", n_ways="many")
    Traceback (most recent call last):
    ...
    acclimate.base.errors.SettingError: mine.n_ways is 'many'; expected a whole number: 1 to 100,000
    """


class MissingExtra(AcclimateError):
    """Something optional is not installed; the message ends with the command that installs it.

    >>> print(acclimate.MissingExtra("A chart", "pip install charts"))
    A chart needs an optional package: pip install charts
    """

    def __init__(self, what: str, command: str) -> None:
        super().__init__(f"{what} needs an optional package: {command}")


class LLMError(AcclimateError):
    """A server's LLM did not answer, however often it was asked, or will not; what it answered before is kept.

    >>> issubclass(acclimate.LLMError, acclimate.AcclimateError)
    True
    """


class OutOfMemory(AcclimateError):
    """The smallest part of some work has no room in memory."""


class BatchWritten(AcclimateError):
    """A stage's requests went into a file, so the run cannot go on before their results are there.

    >>> acclimate.BatchWritten.exit_code  # it is no mistake
    0
    """

    exit_code = 0

    def __init__(self, stage: str, requests: int, again: int, path: Path, run: Path) -> None:
        before = f" ({again:,} of them were in an earlier batch, too)" if again else ""
        super().__init__(
            f"{stage}: {requests:,} requests are in {path}{before}; have them answered, then: "
            f"{command('cache', 'fill', run, 'RESULTS')}, and the same command without --batch"
        )


class BudgetExceeded(AcclimateError):
    """The run reached its budget; what was paid for is kept and the same command goes on.

    >>> acclimate.BudgetExceeded.exit_code
    3
    """

    exit_code = 3


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the GPU or of the machine."""
    torch = sys.modules.get("torch")  # which raised nothing where it is not imported
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error).lower() for message in _OUT_OF_MEMORY)


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """The name that a misspelled or shortened one stands for, whatever its case and hyphens; None where it would be a
    guess."""
    by_letters = {_letters(each): each for each in known}
    letters = _letters(name)
    matches = difflib.get_close_matches(letters, by_letters, n=1, cutoff=_CLOSE)
    if not matches and len(letters) >= _BEGINNING:
        longer = [each for each in by_letters if each.startswith(letters)]
        matches = longer if len(longer) == 1 else []
    return by_letters[matches[0]] if matches else None


def _letters(name: str) -> str:
    return re.sub(r"[\s_-]", "", name[:100].casefold())


def unknown(kind: str, name: object, known: Iterable[str]) -> SettingError:
    """The error for a name that is not in `known`: it says which was meant, if one is close, and which exist."""
    names = sorted(known)
    meant = closest_name(str(name), names)
    hint = f" Did you mean {meant!r}?" if meant else ""
    return SettingError(f"no {kind} named {quoted(name)}.{hint} There are: {', '.join(names) or 'none'}")
