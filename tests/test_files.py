"""Files: whole or not at all, the same bytes for the same content, errors that say where."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.base import digests, files
from acclimate.base.errors import DataError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
storable = json_values.filter(lambda value: "\\ud" not in json.dumps(value))  # UTF-8 has no lone surrogates


def test_a_file_that_was_not_finished_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.txt"
    files.write_text(path, "old")

    def interrupted():
        with files.atomic_write(path) as beside:
            beside.write_text("new, but")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_two_who_write_the_same_file_at_once_write_beside_each_other(tmp_path):
    """In containers both may have the same process number."""
    path = tmp_path / "a.txt"
    with files.atomic_write(path) as first, files.atomic_write(path) as second:
        first.write_text("first, longer")
        second.write_text("second")
    assert path.read_text() == "first, longer"  # left last
    assert [*tmp_path.iterdir()] == [path]


def test_rows_that_fail_half_way_leave_no_file(tmp_path):
    def rows():
        yield {"a": 1}
        raise DataError("row 2")

    for name in ("a.jsonl", "a.jsonl.gz"):
        with pytest.raises(DataError, match="row 2"):
            files.write_jsonl(tmp_path / name, rows())
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_a_whole_file(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, [0] * 5000)
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            files.write_json(path, [number] * 5000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(50):
            values = files.read_json(path)
            assert len(values) == 5000
            assert len(set(values)) == 1
    finally:
        stop.set()
        writer.join()


@given(storable)
def test_json_comes_back(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "a.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_json_has_the_same_bytes_whatever_the_order_of_keys(tmp_path):
    files.write_json(tmp_path / "a", {"x": 1, "y": {"b": 2, "a": "ü"}})
    files.write_json(tmp_path / "b", {"y": {"a": "ü", "b": 2}, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "ü".encode() in (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused(tmp_path, number):
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "a", number)
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_jsonl(tmp_path / "b", [{"a": number}])
    assert list(tmp_path.iterdir()) == []


@given(
    st.lists(st.dictionaries(st.text(), storable, max_size=3), max_size=5), st.sampled_from(["a.jsonl", "a.jsonl.gz"])
)
def test_rows_come_back_numbered(tmp_path_factory, rows, name):
    path = tmp_path_factory.mktemp("jsonl") / name
    assert files.write_jsonl(path, rows) == len(rows)
    assert list(files.read_jsonl(path)) == list(enumerate(rows, 1))


def test_the_same_rows_have_the_same_gzip_bytes(tmp_path, monkeypatch):
    for now, name in enumerate(("a.gz", "b.gz")):
        monkeypatch.setattr("time.time", lambda now=now: 1e9 * now)
        files.write_jsonl(tmp_path / name, [{"a": 1}])
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b'{"a": 1}\n'


def test_only_newlines_end_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\u2028still\r\n\ntwo\x0cthree".encode())
    assert list(files.read_lines(path)) == [(1, "one\u2028still"), (2, ""), (3, "two\x0cthree")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1}\n\n{"a": \n', ":3: not JSON: "),
        (b'{"a": 1}\n[1]\n', ":2: found [1]; expected a JSON object"),
        (b'{"a": 1}\n{"a": "\xff"}\n', ":2: byte 7 of the line is 0xff, which is not UTF-8"),
        (b'{"a": ' + b"[" * 100_000, ":1: not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", ":1: not JSON"),
        (gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], ": a broken gzip file: "),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, said):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        list(files.read_jsonl(path))
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)


def test_what_is_not_there_or_no_file_is_said(tmp_path):
    for read in (lambda path: list(files.read_lines(path)), files.read_json):
        with pytest.raises(DataError, match="no such file"):
            read(tmp_path / "none")
    with pytest.raises(DataError, match="is a directory"):
        list(files.read_lines(tmp_path))
    (tmp_path / "a.json").write_text("{\n]")
    with pytest.raises(DataError, match=r"a.json:2: not JSON"):
        files.read_json(tmp_path / "a.json")


def test_what_unpacks_to_far_more_than_texts_do_stops_at_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LONGEST", 100_000)
    path = tmp_path / "a.jsonl.gz"
    for content, said in (
        (b"\0" * 10**6, "a line of more than 100,000 bytes"),
        (b"{}\n" * 10**6, "gunzip a.jsonl.gz"),
    ):
        path.write_bytes(gzip.compress(content, 1))
        read = 0
        with pytest.raises(DataError, match=said):
            for _ in files.read_lines(path):
                read += 1
        assert read < 2 * 10**6
    plain = tmp_path / "a.jsonl"
    plain.write_bytes(b'"' + b"x" * 200_000 + b'"\n')
    with pytest.raises(DataError, match=r"a.jsonl:1: a line of more than 100,000 bytes"):
        list(files.read_lines(plain))
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 9_000))  # repeats itself, and is small
    assert sum(1 for _ in files.read_jsonl(path)) == 9_000


@pytest.mark.parametrize(
    "read", [lambda p: list(files.read_lines(p)), files.read_json, files.read_toml, digests.sha256]
)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, read):
    pipe, loop, nothing = (tmp_path / name for name in ("pipe", "loop", "nothing"))
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    nothing.symlink_to(tmp_path / "none")
    for path in (
        pipe,
        loop,
        nothing,
        tmp_path,
        tmp_path / ("x" * 300),
        Path("a\0b"),
        Path("/dev/null"),
        pipe / "below",
    ):
        assert not files.is_file(path)
        with pytest.raises(DataError) as error:
            read(path)
        assert str(error.value).startswith(str(path)[:90].replace("\0", ""))


def test_fingerprints_tell_parts_apart_and_are_the_same_everywhere():
    assert digests.fingerprint("a", 1, {"x": [1.5, None]}) == "1d6cb9c30211ab98e2688aa3b8236c37"
    different = [("a", "b"), ("ab",), ("a", ["b"]), ("b", "a"), (), ("",), ("\ud800",), (1,), ("1",), (True,)]
    assert len({digests.fingerprint(*parts) for parts in different}) == len(different)
    assert digests.fingerprint({"x": 1, "y": 2}) == digests.fingerprint({"y": 2, "x": 1})


def test_a_folder_fingerprint_reads_names_and_bytes(tmp_path):
    def of(**contents):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in contents.items():
            files.write_text(folder / name.replace("_", "/"), text)
        return digests.folder_fingerprint(folder)

    assert of(a="1", b_c="2") == of(b_c="2", a="1")
    assert len({of(a="1"), of(a="2"), of(b="1"), of(b_a="1"), of(a="1", b=""), of()}) == 6


@pytest.mark.parametrize("name", ["file/below", "file", "loop", "loop/below"])
def test_where_no_folder_or_file_can_be_it_is_said(tmp_path, name):
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    with pytest.raises((DataError, OSError), match=name):
        files.make_folder(tmp_path / name)
    with pytest.raises(DataError, match="folder: is a directory"):
        files.write_text(tmp_path / "folder", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "loop"]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: is a directory, a pipe or a device"):
        files.write_text(tmp_path / "pipe", "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("text", [r'"\ud800"', r'{"\udc00": 1}', r'["\ud83d\ud83d"]'])
def test_json_that_could_not_be_written_again_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match="half a surrogate pair"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(r'"\ud83d\ude00"')
    assert files.read_json(tmp_path / "a.json") == "\U0001f600"


@pytest.mark.parametrize(
    ("umask", "folders", "made"), [(0o022, 0o755, 0o644), (0o002, 0o775, 0o664), (0o077, 0o700, 0o600)]
)
def test_what_a_library_makes_for_its_owner_alone_is_for_those_who_may_read_the_folder(tmp_path, umask, folders, made):
    """As safetensors does."""
    (outside := tmp_path / "outside").touch(0o600)
    before = os.umask(umask)
    try:
        with files.atomic_folder(tmp_path / "model") as folder:
            (folder / "part").mkdir()
            for name in ("weights", "part/weights"):
                os.close(os.open(folder / name, os.O_CREAT, 0o600))
            (folder / "script").touch(0o755)
            (folder / "link").symlink_to(outside)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").rglob("*[!k]")}
    assert modes == {"part": folders, "weights": made, "script": folders}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "write", [lambda path: files.write_text(path, "a"), lambda path: files.atomic_folder(path).__enter__()]
)
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path, monkeypatch, write):
    def refused(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "access", lambda path, mode: False)  # everything is writable for root
    for name in ("write_text", "unlink"):
        monkeypatch.setattr(Path, name, refused)
    monkeypatch.setattr(Path, "mkdir", lambda path, **options: options or refused(path))
    with pytest.raises(DataError, match=rf"^{tmp_path}: may not be written to; change its permissions"):
        write(tmp_path / "a")
