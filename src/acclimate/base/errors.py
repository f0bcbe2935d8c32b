"""The exceptions of acclimate. The command line prints the message on one line and exits with `exit_code`.

AcclimateError
├── DataError        a file or a record is unusable
├── SettingError     a setting, name or option is unknown or impossible
├── MissingExtra     an optional package is needed
├── LLMError         an LLM server refused, or did not answer
├── OutOfMemory      not even a batch of one fits into memory
├── BatchWritten     --batch: the LLM requests were written to a file (not a failure)
└── BudgetExceeded   --max-cost or --max-tokens stopped the run; its state is kept
"""

from __future__ import annotations

import difflib
import errno
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from acclimate.base.text import command, counted, on_one_line, quoted, shortened

# Errors of the user's files, disks and limits, with what to do. Any other OSError is a bug of ours.
_AGAIN = "completed work is kept; run the same command again to resume"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE), _AGAIN),
    **dict.fromkeys((errno.ELOOP, errno.ENOTDIR, errno.EISDIR), _AGAIN),
    errno.ENAMETOOLONG: "choose a shorter name",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "change its permissions, or use another folder"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), f"raise the limit of open files (ulimit -n); {_AGAIN}"),
}
_NO_THREAD = "can't start new thread"
# Messages of allocators that raise a plain RuntimeError (CPU, MPS, cuBLAS and cuDNN), and of imports (ulimit -v).
_OUT_OF_MEMORY = tuple(
    "can't allocate memory|out of memory|failed to allocate|alloc_failed|not enough memory|failed to map".split("|")
)
_MIN_SIMILARITY = 0.75  # of a misspelled name: about one letter in four may be wrong
_MIN_PREFIX = 4  # letters that identify a name by its unique prefix


class AcclimateError(Exception):
    """Base class: an error that the user can fix; its one-line message says where, what was found and what to do.

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
    """An unknown setting or name, or an invalid value.

    >>> acclimate.mine("run", n_ways="many")
    Traceback (most recent call last):
    ...
    acclimate.base.errors.SettingError: mine.n_ways is 'many'; expected a whole number: 1 to 100,000
    """


class MissingExtra(AcclimateError):
    """An optional package is not installed, or too old; the message ends with the command that installs it.

    >>> print(acclimate.MissingExtra("A chart", "pip install charts"))
    A chart needs an optional package: pip install charts
    """

    def __init__(self, what: str, command: str, needs: str = "an optional package") -> None:
        super().__init__(f"{what} needs {needs}: {command}")


class LLMError(AcclimateError):
    """An LLM server refused a request or failed after all retries; earlier completions are kept.

    >>> issubclass(acclimate.LLMError, acclimate.AcclimateError)
    True
    """


class OutOfMemory(AcclimateError):
    """Not even a batch of one fits into memory."""


class BatchWritten(AcclimateError):
    """A stage's LLM requests were written to a file; the run continues once their results are available.

    >>> acclimate.BatchWritten.exit_code  # not a failure
    0
    """

    exit_code = 0

    def __init__(self, stage: str, requests: int, again: int, path: Path, run: Path) -> None:
        before = f" ({again:,} of them were in an earlier batch, too)" if again else ""
        super().__init__(
            f"{stage}: {counted(requests, 'request is', 'requests are')} in {path}{before}; get them answered, then "
            f"run: {command('cache', 'fill', run, 'RESULTS')}, and the same command without --batch"
        )


class BudgetExceeded(AcclimateError):
    """The run reached its budget; everything paid for is kept, and the same command continues.

    >>> acclimate.BudgetExceeded.exit_code
    3
    """

    exit_code = 3


def is_out_of_memory(error: BaseException) -> bool:
    """True if the error means that GPU or main memory ran out."""
    torch = sys.modules.get("torch")  # not imported: it cannot have raised the error
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError | ImportError) and any(
        message in str(error).lower() for message in _OUT_OF_MEMORY
    )


def remedy(error: Exception) -> str | None:
    """What to do about an error of this machine: of its files, disks, memory or limits; None for any other error."""
    if is_out_of_memory(error):
        return _AGAIN
    if _NO_THREAD in str(error):
        return f"raise the limit of processes (ulimit -u, or a container's); {_AGAIN}"
    return _REMEDIES.get(error.errno or 0) if isinstance(error, OSError) else None


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelled or abbreviated one stands for, ignoring case and hyphens; None if unclear."""
    by_letters = {_letters(each): each for each in known}
    letters = _letters(name)
    matches = difflib.get_close_matches(letters, by_letters, n=1, cutoff=_MIN_SIMILARITY)
    if not matches and len(letters) >= _MIN_PREFIX:
        longer = [each for each in by_letters if each.startswith(letters)]
        matches = longer if len(longer) == 1 else []
    return by_letters[matches[0]] if matches else None


def _letters(name: str) -> str:
    return re.sub(r"[\s_-]", "", name[:100].casefold())


def unknown(kind: str, name: object, known: Iterable[str]) -> SettingError:
    """The error for a name that is not in `known`: suggests the closest one and lists them all."""
    names = sorted(known)
    meant = closest_name(str(name), names)
    hint = f" Did you mean {meant!r}?" if meant else ""
    return SettingError(f"no {kind} named {quoted(name)}.{hint} There are: {', '.join(names) or 'none'}")
