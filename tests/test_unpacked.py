"""What a GGUF model is unpacked to: kept whole or not at all, read only while it is as it was written."""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import shutil
from dataclasses import dataclass

import gguf as package
import numpy as np
import pytest

from acclimate.base import models
from acclimate.llm.decoders.gguf import read_once
from acclimate.llm.decoders.unpacked import load_unpacked


@dataclass
class Saved:
    """Weights that are a text, in two files."""

    text: str

    def save_pretrained(self, folder):
        folder.mkdir()
        for name in ("first", "second"):
            (folder / name).write_text(self.text)


def load(folder):
    return Saved((folder / "second").read_text())


def never():
    raise AssertionError("unpacked again")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "weights_fingerprint", lambda name: f"hash of {name}")
    return tmp_path / "cache"


def test_what_was_unpacked_once_is_read_from_then_on(cache):
    assert load_unpacked("m", "float32", lambda: Saved("weights"), load) == Saved("weights")
    assert load_unpacked("m", "float32", never, load) == Saved("weights")
    assert [path.name.endswith("-float32") for path in cache.iterdir()] == [True]


def test_a_cache_is_made_with_the_folders_above_it(cache, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_CACHE", str(cache / "of" / "mine"))
    load_unpacked("m", "float32", lambda: Saved("weights"), load)
    assert load_unpacked("m", "float32", never, load) == Saved("weights")


def test_the_package_of_gguf_files_is_as_before_once_one_is_read():
    before = package.GGUFReader
    with read_once():
        assert package.GGUFReader is not before
    assert package.GGUFReader is before


def test_another_file_precision_or_part_is_another(cache):
    for name, kind in [("m", "float32"), ("m", "bfloat16"), ("n", "float32")]:
        load_unpacked(name, kind, lambda text=name + kind: Saved(text), load)
    assert load_unpacked("m", "bfloat16", never, load) == Saved("mbfloat16")
    assert load_unpacked("n", "float32", never, load) == Saved("nfloat32")


@pytest.mark.parametrize("changed", ["transformers", "gguf", "weights"])
def test_other_weights_or_another_version_of_what_unpacks_are_unpacked_again(cache, monkeypatch, changed):
    load_unpacked("m", "float32", lambda: Saved("weights"), load)
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0" if name == changed else version(name))
    if changed == "weights":
        monkeypatch.setattr(models, "weights_fingerprint", lambda name: f"another hash of {name}")
    assert load_unpacked("m", "float32", lambda: Saved("other weights"), load) == Saved("other weights")


def cut(folder):
    (folder / "second").write_text("weig")


def same_size(folder):
    (folder / "second").write_text("WEIGHTS")


def lost(folder):
    (folder / "second").unlink()


def no_manifest(folder):
    (folder / "acclimate.json").unlink()


def nonsense(folder):
    (folder / "acclimate.json").write_text("[1, 2")


def a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("in the way")


@pytest.mark.parametrize("damage", [cut, same_size, lost, no_manifest, nonsense, a_file])
def test_what_is_damaged_is_made_again(cache, damage):
    load_unpacked("m", "float32", lambda: Saved("weights"), load)
    [folder] = cache.iterdir()
    damage(folder)
    assert load_unpacked("m", "float32", lambda: Saved("weights"), load) == Saved("weights")
    assert load_unpacked("m", "float32", never, load) == Saved("weights")
    assert [*cache.iterdir()] == [folder]


def test_the_first_of_several_processes_is_the_one_that_is_kept(cache):
    def while_another_did():
        load_unpacked("m", "float32", lambda: Saved("first"), load)
        return Saved("second")

    assert load_unpacked("m", "float32", while_another_did, load) == Saved("second")
    assert load_unpacked("m", "float32", never, load) == Saved("first")
    assert len([*cache.iterdir()]) == 1


def test_where_nothing_can_be_kept_it_is_unpacked_each_time(cache):
    cache.write_text("a file where the folder should be")
    assert [load_unpacked("m", "float32", lambda: Saved("weights"), load) for _ in range(2)] == [Saved("weights")] * 2


def test_what_a_killed_process_left_goes_after_a_day(cache):
    parts = []

    class Watched(Saved):
        def save_pretrained(self, folder):
            parts.append(folder.parent)
            super().save_pretrained(folder)

    for name in "mn":
        load_unpacked(name, "float32", lambda: Watched("weights"), load)
    for part, age in zip(parts, (2 * 24 * 3600, 60), strict=True):
        (part / "whole").mkdir(parents=True)  # as if it had been killed there
        stat = part.stat()
        os.utime(part, (stat.st_atime - age, stat.st_mtime - age))
    load_unpacked("o", "float32", lambda: Saved("weights"), load)
    assert [part.exists() for part in parts] == [False, True]


def test_the_cache_is_the_users_unless_another_is_named(monkeypatch, tmp_path):
    from acclimate.llm.decoders.unpacked import _cache

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ACCLIMATE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert _cache() == tmp_path / ".cache/acclimate"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _cache() == tmp_path / "xdg/acclimate"
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "own"))
    assert _cache() == tmp_path / "own"


def test_a_user_without_a_home_gets_no_folder_called_tilde(monkeypatch, tmp_path, caplog):
    def unknown(user):
        raise KeyError(f"getpwuid(): uid not found: {user}")

    caplog.set_level("INFO", "acclimate")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "weights_fingerprint", lambda name: f"hash of {name}")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("ACCLIMATE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert load_unpacked("m", "float32", lambda: Saved("weights"), load) == Saved("weights")
    assert [*tmp_path.iterdir()] == []
    assert "ACCLIMATE_CACHE names a folder: this user has no home folder" in caplog.text


def test_a_gguf_file_is_parsed_once_and_as_its_package_does(tmp_path):
    path = str(tmp_path / "tiny.gguf")
    writer = package.GGUFWriter(path, "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "é", ""])
    writer.add_uint32("llama.block_count", 1)
    writer.add_tensor("output.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    expected = package.GGUFReader(path)
    with read_once():
        parsed = package.GGUFReader(path)
        assert package.GGUFReader(path) is parsed
    assert package.GGUFReader is type(expected)
    contents = [
        ({name: field.contents() for name, field in file.fields.items()}, file.tensors[0].name, file.tensors[0].data)
        for file in (parsed, expected)
    ]
    np.testing.assert_equal(*contents)
