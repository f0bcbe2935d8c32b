"""`acclimate export`: the folder of an export, whatever the format."""

from __future__ import annotations

import json
import sys
import types

import pytest

import acclimate
from acclimate.base.errors import AcclimateError, DataError, SettingError
from acclimate.base.files import write_jsonl
from acclimate.cli.main import main
from acclimate.corpus.doc_ids import DocIds
from acclimate.deploy.exports import formats, source
from acclimate.deploy.exports.formats import Format, Written


class Killed(BaseException):
    pass


@pytest.fixture
def plain(monkeypatch):
    """A format of documents alone, whose parts are of five; `.parts` are those that it wrote, `.stops` before one."""
    module = types.SimpleNamespace(parts=[], stops=None, loses=0)

    def write(source, folder):
        count = 0
        for part in source.parts():
            path = folder / f"{part.number}.jsonl"
            if not path.exists():
                if part.number == module.stops:
                    raise Killed
                module.parts.append(part.number)
                write_jsonl(path, ([row, doc.id] for row, doc in enumerate(part.documents, part.span.start)))
            count += len(path.read_text().splitlines())
        return Written({"documents": count - module.loses}, {}, ["as plain as can be"])

    def load(source, folder, *, url: str):
        return {"url": url, "files": sum(path.suffix == ".jsonl" for path in folder.iterdir())}

    module.write, module.load = write, load
    monkeypatch.setitem(sys.modules, "acclimate.deploy.exports.plain", module)
    monkeypatch.setitem(formats.FORMATS, "plain", Format("plain", "Documents alone"))
    monkeypatch.setattr(source, "PART_DOCS", 5)
    return module


def test_an_export_has_every_document_in_order_and_is_left_alone_the_second_time(finished, tmp_path, plain):
    run, out, told = acclimate.open(finished), tmp_path / "there" / "out", []
    exported = run.export("plain", out, progress=lambda *call: told.append(call))
    rows = [json.loads(line) for path in sorted(out.glob("*.jsonl")) for line in path.open()]
    assert rows == [list(pair) for pair in enumerate(doc.doc_id for doc in docs(finished))]
    assert exported.counts == {"documents": len(rows)}
    assert str(exported).splitlines()[1:] == ["as plain as can be"]
    assert [done for _, done, _, _ in told] == [*range(5, len(rows), 5), len(rows)]
    assert told[-1] == ("export", len(rows), len(rows), "documents")
    assert not exported.was_there
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert run.export("plain", out).was_there
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def docs(folder):
    from acclimate.stages.runs import open_run

    return list(open_run(folder, "evaluate")[0].input.corpus.values())


def test_a_killed_export_goes_on_with_the_parts_that_are_finished(finished, tmp_path, plain):
    run, whole, out = acclimate.open(finished), tmp_path / "whole", tmp_path / "out"
    run.export("plain", whole)
    plain.parts.clear()
    plain.stops = 2
    with pytest.raises(Killed):
        run.export("plain", out)
    assert not out.exists()
    plain.stops = None
    run.export("plain", out)
    assert plain.parts == sorted({*plain.parts})  # each once
    assert {path.name: path.read_bytes() for path in out.glob("*.jsonl")} == {
        path.name: path.read_bytes() for path in whole.glob("*.jsonl")
    }


def test_what_another_system_or_order_left_unfinished_is_not_gone_on_with(finished, tmp_path, plain, monkeypatch):
    run, out = acclimate.open(finished), tmp_path / "out"
    plain.stops = 2
    with pytest.raises(Killed):
        run.export("plain", out, system="bm25")
    with pytest.raises(Killed):
        run.export("plain", out, system="dense")
    plain.stops = None
    monkeypatch.setattr(DocIds, "fingerprint", "of another order")  # as after updates with the same documents
    run.export("plain", out, system="dense")
    assert plain.parts.count(0) == 3


def test_an_export_that_was_harmed_is_made_again(finished, tmp_path, plain):
    run, out = acclimate.open(finished), tmp_path / "out"
    run.export("plain", out)
    (out / "0.jsonl").write_text("")
    assert not run.export("plain", out).was_there
    assert (out / "0.jsonl").read_text()


def test_what_somebody_put_into_an_export_is_not_lost_when_it_is_made_again(finished, tmp_path, plain):
    run, out = acclimate.open(finished), tmp_path / "out"
    run.export("plain", out)
    (out / "notes.txt").write_text("years of work")
    assert run.export("plain", out).was_there
    (out / "0.jsonl").write_text("")
    with pytest.raises(AcclimateError, match=r"holds notes\.txt, which is no part of an export"):
        run.export("plain", out)
    assert (out / "notes.txt").exists()


@pytest.mark.parametrize("content", ["file", "folder", "stage"])
def test_what_is_no_export_is_not_overwritten(finished, tmp_path, plain, content, copied):
    out = {"file": tmp_path / "letter", "folder": tmp_path / "letters", "stage": copied / "index"}[content]
    if content != "stage":
        (out if content == "file" else tmp_path / "letters" / "letter").parent.mkdir(exist_ok=True)
        (out if content == "file" else out / "letter").write_text("Dear")
    with pytest.raises(AcclimateError, match=r"is a file|is not an export"):
        acclimate.open(finished).export("plain", out)
    assert out.exists()


def test_a_link_to_a_folder_is_written_through_and_the_folder_one_is_in_is_not_replaced(
    finished, tmp_path, plain, monkeypatch
):
    run, there = acclimate.open(finished.resolve()), tmp_path / "there"
    (tmp_path / "link").symlink_to(there)
    run.export("plain", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (there / "manifest.json").is_file()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(AcclimateError, match="is the current folder"):
        run.export("plain", ".")


def test_another_system_needs_another_folder(finished, tmp_path, plain):
    run, out = acclimate.open(finished), tmp_path / "out"
    run.export("plain", out, system="bm25")
    with pytest.raises(AcclimateError, match="out holds bm25 as plain; choose another folder with --out"):
        run.export("plain", out, system="dense")


def test_documents_that_cannot_be_read_back_are_told(finished, tmp_path, plain):
    plain.loses = 1
    with pytest.raises(DataError, match=r"\d+ documents can be read back; the run has \d+"):
        acclimate.open(finished).export("plain", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nobody_else_works_in_the_folder_of_a_run_while_it_is_exported_there(copied, tmp_path, plain, monkeypatch):
    run, write, said = acclimate.open(copied), plain.write, []

    def meanwhile(*arguments):
        try:
            acclimate.open(copied).write_report()
        except AcclimateError as error:
            said.append(str(error))
        return write(*arguments)

    plain.write = meanwhile
    run.export("plain")
    assert len(said) == 1
    assert "is in use by another acclimate" in said[0]
    run.export("plain", tmp_path / "elsewhere")
    assert len(said) == 1


def test_what_is_loaded_into_a_server_is_noted(finished, tmp_path, plain):
    exported = acclimate.open(finished).export("plain", tmp_path / "out", url="plain://here")
    assert exported.manifest["loaded"]["url"] == "plain://here"
    assert exported.manifest["loaded"]["files"] == len(plain.parts)
    del plain.load
    with pytest.raises(SettingError, match="plain takes no --url; leave it out"):
        acclimate.open(finished).export("plain", tmp_path / "other", url="plain://here")


def test_the_command_says_what_it_wrote_and_which_formats_and_systems_there_are(copied, plain, capsys):
    assert main(["export", str(copied), "plain"]) == 0
    assert f"documents; {copied}/exports/plain" in capsys.readouterr().out
    assert main(["export", str(copied), "plan"]) == 2
    assert "no format to export named 'plan'. Did you mean 'plain'? There are: " in capsys.readouterr().err
    assert main(["export", str(copied), "plain", "--system", "bm52"]) == 2
    assert "no system named 'bm52'. Did you mean 'bm25'?" in capsys.readouterr().err
    assert main(["export", str(copied), "plain", "--system", ""]) == 2  # such as an unset shell variable
    assert "no system named ''. There are: " in capsys.readouterr().err


def test_a_reranked_system_is_exported_as_what_is_reranked_and_that_is_said(finished, tmp_path, plain, caplog):
    caplog.set_level("INFO", logger="acclimate")
    exported = acclimate.open(finished).export("plain", tmp_path / "out", system="hybrid+reranker")
    assert exported.manifest["system"] == "hybrid"
    assert "hybrid+reranker is exported without its reranker" in caplog.text


def test_a_system_with_feedback_is_exported_as_what_it_was_made_from(finished, tmp_path, plain, caplog):
    caplog.set_level("INFO", logger="acclimate")
    run = acclimate.open(finished)
    (name,) = (system["name"] for system in run.report["systems"] if system["name"].endswith(":feedback"))
    exported = run.export("plain", tmp_path / "out", system=name)
    assert exported.manifest["system"] == name.removesuffix(":feedback")
    assert f"{name} is exported without feedback" in caplog.text
