"""The command line parser's errors in the words of acclimate: what is missing or too much, and where to read on."""

from __future__ import annotations

import re

from cyclopts import CycloptsError, MissingArgumentError, UnusedCliTokensError

from acclimate.base.text import command, quoted


def explained(error: CycloptsError) -> str:
    """What is wrong with a command line, and the command that shows how it is used."""
    return f"{_what(error)} For help: {command(*error.command_chain or (), '--help')}"


def _what(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"found {quoted(error.unused_tokens[0])} after the last argument; put quotes around a text with blanks."
    if not isinstance(error, MissingArgumentError) or not (argument := error.argument):
        return str(error)
    suggestion = re.search(r" Did you mean .*", str(error))
    if error.keyword:
        missing = f"{error.keyword} needs a value."
    elif argument.field_info.is_positional:  # named as in the line of usage
        missing = f"{argument.name.removeprefix('--').upper()} is missing."
    else:
        missing = f"{argument.name} is missing."
    return missing + (suggestion[0] if suggestion else "")
