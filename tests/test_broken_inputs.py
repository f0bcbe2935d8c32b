"""Files of every kind, broken in every way: each is read or refused in one line that names it; nothing else happens.

A kind of file is a row of `KINDS` (input_kinds.py): a valid one, and who reads it. A way to break one is a function in
`MUTATIONS`. What is drawn follows from a seed, so that whatever is found can be made again:
`python tests/test_broken_inputs.py SEED N` tries N files of each kind.
"""

from __future__ import annotations

import gzip
import random
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from input_kinds import KINDS, QRELS, RUN, Kind, valid_corpus, written

from acclimate.base.errors import AcclimateError
from acclimate.base.text import on_one_line
from acclimate.cli.main import main

SECONDS = 30  # that one file may take, on a machine that does much besides
EACH = 60  # files of each kind


# Mutations


VALUES = [
    b"9" * 5000, b"1e999", b"-1e999", b"NaN", b"nan", b"-Infinity", b"inf", b"-1", b"0", b"99999999999999999999",
    b"null", b"true", b"[]", b"{}",
    b"[" * 5000 + b"]" * 5000, b'{"a":' * 5000, b'""', b'"\\ud800"', b'"\\u0000"', b'"\x1b[31m"',
    b"2024-13-45", b"2024-01-01", b"*a", b"&a [*a, *a]", b"!!python/object:os.system", b'"' + b"x" * 100_000 + b'"',
    b"{1: 2}", b'["a", 1]', b"'", b'"', b"a.b.c = 1", b"<<: 1", b"\xff", b"{document}", b"../../etc/passwd", b"0x1F",
]  # fmt: skip
VALUE = re.compile(rb'"[^"\n]*"|-?\d+(?:\.\d+)?(?:e-?\d+)?|\btrue\b|\bfalse\b|[^\s,\t]+')


def somewhere(rng, data: bytes) -> int:
    return rng.randrange(len(data) + 1)


def inserted(data: bytes, at: int, part: bytes) -> bytes:
    return data[:at] + part + data[at:]


def swapped(rng, data: bytes) -> bytes:
    """One value is another."""
    found = list(VALUE.finditer(data)) or [re.match(b"", data)]
    chosen = rng.choice(found)
    return data[: chosen.start()] + rng.choice(VALUES) + data[chosen.end() :]


def flipped(rng, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 3, 20]) if data else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def of_lines(change: Callable[[random.Random, list[bytes]], list[bytes]]) -> Callable[[random.Random, bytes], bytes]:
    return lambda rng, data: b"".join(change(rng, data.splitlines(keepends=True)))


def recoded(data: bytes, encoding: str) -> bytes:
    return data.decode("latin-1").replace("e", "é").encode(encoding, "replace")


MUTATIONS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "valid": lambda rng, data: data,
    "empty": lambda rng, data: b"",
    "blank": lambda rng, data: b" \n\r\n\t\n",
    "truncated": lambda rng, data: data[: somewhere(rng, data)],
    "beheaded": lambda rng, data: data[somewhere(rng, data) :],
    "flipped": flipped,
    "swapped": swapped,
    "swapped twice": lambda rng, data: swapped(rng, swapped(rng, data)),
    "zero bytes": lambda rng, data: inserted(data, somewhere(rng, data), b"\0" * rng.choice([1, 1000])),
    "high bytes": lambda rng, data: inserted(data, somewhere(rng, data), bytes([rng.randrange(128, 256)])),
    "controls": lambda rng, data: inserted(data, somewhere(rng, data), b"\x1b]0;x\x07\xc2\x9b31m\xe2\x80\xae"),
    "surrogate": lambda rng, data: inserted(data, somewhere(rng, data), b"\xed\xa0\x80"),
    "deep": lambda rng, data: inserted(data, somewhere(rng, data), rng.choice([b"[", b"{", b"(", b"<b>"]) * 20_000),
    "long": lambda rng, data: inserted(
        data, somewhere(rng, data), rng.choice([b"x", b"9", b"-", b"&", b'"']) * 100_000
    ),
    "wide": lambda rng, data: rng.choice([b"x,", b"x\t", b"x ", b"a.", b'"x",']) * 50_000 + data,
    "latin-1": lambda rng, data: recoded(data, "latin-1"),
    "utf-16": lambda rng, data: recoded(data, rng.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32"])),
    "bom": lambda rng, data: b"\xef\xbb\xbf" * rng.choice([1, 2]) + data,
    "line ends": lambda rng, data: data.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\xe2\x80\xa8"])),
    "semicolons": lambda rng, data: data.replace(rng.choice([b",", b"\t"]), rng.choice([b";", b"|", b"\t", b" "])),
    "other quotes": lambda rng, data: data.replace(b'"', rng.choice([b"'", b"", b'""', b"\xe2\x80\x9c"])),
    "a line less": of_lines(lambda rng, lines: [line for line in lines if rng.random() < 0.8]),
    "a line twice": of_lines(lambda rng, lines: [*lines, *rng.sample(lines, min(1, len(lines)))]),
    "shuffled": of_lines(lambda rng, lines: rng.sample(lines, len(lines))),
    "renamed": lambda rng, data: data.replace(rng.choice([b"id", b"text", b"query", b"doc", b"name"]), b"it"),
    "packed": lambda rng, data: gzip.compress(data, mtime=0)[: rng.choice([-1, 20, None])],
    "another's": lambda rng, data: rng.choice(KINDS).content,
}


def broken(kind: Kind, seed: int, number: int) -> tuple[str, bytes]:
    """The way and the outcome. The ways take turns, and after each had its turn, come two at once."""
    rng = random.Random(f"{seed}:{kind.name}:{number}")
    ways = list(MUTATIONS)
    chosen = [ways[number % len(ways)]] + ([rng.choice(ways)] if number >= len(ways) else [])
    data = kind.content
    for way in chosen:
        data = MUTATIONS[way](rng, data)
    return " + ".join(chosen), data


# What must be true


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_fit_to_read(message: str) -> bool:
    return 0 < len(message) < 1300 and message == on_one_line(message) and "Traceback" not in message


def try_one(kind: Kind, data: bytes, folder: Path) -> str:
    """The reader takes it, or says in a line what is wrong with which file. Returns what it said."""
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    path = written(folder / "in", kind.name, data)
    with at_most(SECONDS):
        try:
            kind.read(path, folder / "out")
        except AcclimateError as error:
            assert is_fit_to_read(str(error)), str(error)
            assert str(folder) in str(error), f"{error} names no file"
            return str(error)
    return ""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_broken_file_is_read_or_refused_by_name(kind, tmp_path):
    for number in range(EACH):
        way, data = broken(kind, 0, number)
        try:
            said = try_one(kind, data, tmp_path / str(number))
        except BaseException as error:
            raise AssertionError(f"{kind.name}, {way}, number {number}: {type(error).__name__}: {error}") from error
        assert way != "valid" or not said


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.argv], ids=lambda kind: kind.name)
def test_the_command_line_ends_with_a_line_and_a_code(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("acclimate.report.plan._flop_per_second", lambda: 1e9)
    places = {
        "valid": valid_corpus(tmp_path),
        "out": tmp_path / "out",
        "qrels": written(tmp_path, "qrels.tsv", QRELS),
        "run": written(tmp_path, "other.trec", RUN),
    }
    for number in range(0, EACH, 6):
        way, data = broken(kind, 1, number)
        path = written(tmp_path, kind.name, data)
        with at_most(SECONDS if number else 20 * SECONDS):  # the first imports what commands need
            code = main([part.format(path=path, **places) for part in kind.argv])
        lines = capsys.readouterr().err.splitlines(keepends=True)
        said = "".join(line for line in lines if " loading " not in line)
        assert code in (0, 2), f"{kind.name}, {way}"
        assert code == 0 or (said.count("\n") == 1 and is_fit_to_read(said.strip())), f"{kind.name}, {way}: {said}"
    assert not (tmp_path / "out").exists()


if __name__ == "__main__":
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    for kind in KINDS:
        found: dict[str, str] = {}
        for number in range(count):
            way, data = broken(kind, seed, number)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    try_one(kind, data, Path(folder) / "x")
                except BaseException as error:
                    if isinstance(error, KeyboardInterrupt):
                        raise
                    last = error.__traceback__
                    while last.tb_next:
                        last = last.tb_next
                    at = f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
                    found.setdefault(f"{type(error).__name__} {at}", f"{number} {way}: {str(error)[:200]}")
        print(kind.name, "of", count, *(f"\n    {key}  {said}" for key, said in found.items()), flush=True)
