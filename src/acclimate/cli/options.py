"""Types of command-line options, with domains like those of stage settings, and checks of all arguments."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from acclimate.base.domains import SEEDS, AtLeast, Between, Domain
from acclimate.base.errors import SettingError
from acclimate.base.text import quoted
from acclimate.run.settings import Setting, check


def _option(kind: Any, domain: Domain, **named: Any) -> Parameter:
    """A parameter parsed like a setting, with the same errors."""

    def convert(_: Any, tokens: Sequence[Any]) -> Any:
        text, name = tokens[0].value, tokens[0].keyword
        if kind == tuple[int, ...] and text == "none":
            return ()
        return check(text, Setting(name, kind, None, "", domain), name)

    return Parameter(converter=convert, n_tokens=1, **named)


Changes = Annotated[
    list[str] | None,
    Parameter(name="--set", metavar="STAGE.SETTING=VALUE", help="Change a setting; repeatable. See docs/settings.md."),
]
Where = Annotated[list[str] | None, Parameter(metavar="FIELD=VALUE")]
Dollars = Annotated[list[str] | None, Parameter(metavar="USD")]
Tokens = Annotated[list[str] | None, Parameter(metavar="N")]
Text = Annotated[str | None, Parameter(metavar="TEXT")]
Name = Annotated[str | None, Parameter(metavar="NAME")]
File = Annotated[str | None, Parameter(metavar="FILE")]
Model = Annotated[str | None, Parameter(metavar="MODEL")]
Executor = Annotated[str | None, Parameter(metavar="ray[://HOST:PORT]")]
FilePath = Annotated[Path | None, Parameter(metavar="FILE")]
Recipe = Annotated[str, Parameter(metavar="NAME|FILE")]
Measure = Annotated[str, Parameter(metavar="NAME@K")]
Measures = Annotated[str, Parameter(metavar="NAMES")]
Flag = Annotated[bool, Parameter(show_default=False)]
Seed = Annotated[int, _option(int, SEEDS)]
Count = Annotated[int, _option(int, AtLeast(0))]
Positive = Annotated[int, _option(int, AtLeast(1))]
K = Annotated[int, _option(int, Between(1, 100_000), alias="-k")]
Port = Annotated[int, _option(int, Between(0, 65_535))]
Seconds = Annotated[float, _option(float, Between(0, 86_400))]
Counts = Annotated[tuple[int, ...] | None, _option(tuple[int, ...], AtLeast(1), metavar="N,N,...")]  # none: ()


def _folder(_: Any, tokens: Sequence[Any]) -> Path:
    if not tokens[0].value:  # such as an unset shell variable; Path("") would be the current folder
        raise SettingError(f"{tokens[0].keyword or 'the folder of the run'} is empty; expected a folder")
    return Path(tokens[0].value)


Folder = Annotated[Path, Parameter(converter=_folder, n_tokens=1, metavar="DIR")]  # output folder


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise SettingError for an argument that is not UTF-8 text or contains a zero byte."""
    for text in arguments:
        try:
            broken = "\0" in text.encode().decode()
        except UnicodeEncodeError:
            broken = True
        if broken:
            raise SettingError(f"{quoted(text)} is not UTF-8 text; expected arguments in UTF-8, without zero bytes")


def unwrapped(docstring: str) -> str:
    """A docstring with each paragraph on one line, so that help wraps it to the terminal's width."""
    lines: list[str] = []
    is_summary = True
    for line in inspect.cleandoc(docstring).splitlines():
        is_summary = is_summary and line != "Parameters"
        continues = bool(lines and lines[-1].strip() and line.strip()) and (is_summary or line.startswith(" "))
        if continues and _indent(lines[-1]) == _indent(line):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
