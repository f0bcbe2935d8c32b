"""A run that is read while its stages are put aside or made again, or its folder is moved: a line, and never a mix."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil

import pytest

import acclimate
from acclimate.cli.main import main
from acclimate.deploy import latest
from acclimate.run import lease
from acclimate.run.workspace import LOCK

MOMENTS = [3, 20, 60, 110, 180, 300, 420]  # looks at files of the run, after which it happens; a search takes some more


def happens(run, moment, what, monkeypatch):
    """From that look on at files of the run they are elsewhere: a stage's, or all."""
    looks, stat = itertools.count(1), os.stat

    def look(path, *arguments, **options):
        if isinstance(path, str | os.PathLike) and str(path).startswith(f"{run}/") and next(looks) == moment:
            monkeypatch.undo()
            place = run / what
            place.rename(place.with_name(f".{place.name}.replaced"))
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", look)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("what", ["", "index", "distill", "train"], ids=["all", "index", "distill", "train"])
def test_a_search_ends_in_a_line_or_in_an_answer(what, moment, copied, capsys, monkeypatch):
    happens(copied, moment, what, monkeypatch)
    code = main(["search", str(copied), "lava and ash", "--system", "hybrid+reranker"])
    monkeypatch.undo()
    said = capsys.readouterr()
    assert (code, bool(said.out)) in ((0, True), (2, False))
    assert said.err.count("\n") == code // 2
    assert "Traceback" not in said.err


def test_while_another_process_works_there_what_is_missing_is_no_mistake(copied, capsys):
    shutil.rmtree(copied / "index")
    assert main(["search", str(copied), "lava"]) == 2
    assert "not finished: the stage index is not made yet" in capsys.readouterr().err
    # Processes of several containers may have the same number.
    holder = {"host": "here", "machine": lease.machine(), "pid": os.getpid(), "token": "", "beats": 0}
    (copied / lease.NAME).write_text(json.dumps(holder))
    with (copied / LOCK).open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for command in (["search", str(copied), "lava"], ["inspect", str(copied)], ["export", str(copied), "hf"]):
            assert main(command) == 2
            said = f"{copied}: its stages are being rebuilt; try again when that is done, see acclimate status"
            assert said in capsys.readouterr().err


def test_a_run_that_is_open_while_it_is_made_again_answers_from_what_is_there(copied):
    run = acclimate.open(copied)
    assert run.search("lava and ash", system="bm25")
    earlier = run._searchers.ask(lambda searchers: searchers.outputs)["evaluate"].manifest
    assert main(["evaluate", str(copied), "--max-queries", "5"]) == 0
    assert run.search("lava and ash", system="bm25")  # which is loaded
    assert run._searchers.ask(lambda searchers: searchers.outputs)["evaluate"].manifest == earlier
    assert run.search("lava and ash", system="dense")
    assert run._searchers.ask(lambda searchers: searchers.outputs)["evaluate"].manifest["settings"]["max_queries"] == 5


def test_searchers_are_opened_again_after_an_update_by_whatever_process_and_only_then(tmp_path, monkeypatch):
    update, opened = [None], []
    monkeypatch.setattr(latest, "state_of_update", lambda folder: update[0])
    monkeypatch.setattr(latest, "open_latest", lambda folder: (folder, {}))
    monkeypatch.setattr(latest, "Searchers", lambda *of: opened.append(of) or len(opened))
    searchers = latest.LatestSearchers(tmp_path)
    assert [searchers.ask(lambda now: now) for _ in range(2)] == [1, 1]
    update[0] = (1, 1)
    assert [searchers.ask(lambda now: now) for _ in range(2)] == [2, 2]
