"""Looking at synthetic queries: numbers that mean what they say, and a page that strangers' texts cannot take over."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import acclimate.llm
from acclimate.base.testing import DOCS, FakeLLM
from acclimate.cli.main import main
from acclimate.corpus.language import stop_words
from acclimate.records import Completion, SyntheticQuery
from acclimate.report.queries.histogram import histograms
from acclimate.report.queries.statistics import (
    Answer,
    Statistics,
    by_prompt,
    drawn,
    funnel,
    overlap,
    reasons,
    source_rank,
    statistics_of,
)
from acclimate.run import manifests
from acclimate.run.run import Run
from acclimate.run.settings import load_recipe, resolve
from acclimate.run.workspace import Workspace
from acclimate.stages.chain import STAGES, adapt

HOSTILE = """<script>alert('volcano')</script>"><img src=x onerror=alert(1)>"""

BAR = r"<title>([^<]+): (\d+) kept, (\d+) dropped</title>"

texts = st.lists(st.sampled_from("what how lava ash red crust Rises GAS the of is".split()), max_size=8).map(" ".join)
some_answers = st.lists(
    st.builds(
        lambda text, prompt, state, rank, mark: Answer(
            SyntheticQuery(str(rank), text + mark, "d", -float(rank), prompt),
            is_query=state != "too short",
            reason=state,
            overlap=overlap(text, "lava rises"),
            scores={} if state in ("too short", "round-trip") else {"rank": float(rank), "logprob": -0.1 * rank},
        ),
        texts,
        st.sampled_from("ab"),
        st.sampled_from([None, "too short", "duplicates", "round-trip"]),
        st.integers(1, 40),
        st.sampled_from(["", "?"]),
    ),
    max_size=12,
).map(lambda answers: [one._replace(query=one.query._replace(query_id=f"q{n}")) for n, one in enumerate(answers)])


def query(text: str, number: int = 0, **fields) -> Answer:
    return Answer(SyntheticQuery(f"q{number}", text, f"d{number}", -1.0, "p"), **fields)


# Statistics


@given(texts, texts)
def test_overlap_is_a_share_of_the_content_words(text, doc):
    share = overlap(text, doc, stop_words("en"))
    assert share is None or 0 <= share <= 1
    assert overlap(text, doc) == overlap(text.upper(), doc.lower())
    assert overlap(text, f"{doc} {text}") in (None, 1.0)


def test_overlap_leaves_stop_words_out_and_needs_whole_words():
    assert overlap("why is the lava red", "Lava erupts and it is covered.", stop_words("en")) == 1 / 2
    assert overlap("what is it", "what is it", stop_words("en")) is None
    assert overlap("溶岩", "赤い溶岩") == 1.0  # a character is a word where there are no blanks


@given(some_answers, st.randoms(use_true_random=False))
def test_the_order_of_answers_changes_nothing(answers, chance):
    shuffled = chance.sample(answers, len(answers))
    assert statistics_of(answers) == statistics_of(shuffled)
    assert reasons(answers) == reasons(shuffled)
    assert drawn(answers, 5) == drawn(shuffled, 5)


@given(some_answers)
def test_case_changes_nothing(answers):
    loud = [one._replace(query=one.query._replace(text=one.query.text.upper())) for one in answers]
    assert statistics_of(loud) == statistics_of(answers)


@given(some_answers)
def test_shares_are_shares_and_counts_add_up(answers):
    found = statistics_of(answers)
    shares = found._replace(answers=0, queries=0, kept=0, words=None, searched=0, start="", scores={})
    assert all(0 <= share <= 1 for share in shares if isinstance(share, float))
    groups = [statistics_of(group) for group in by_prompt(answers).values()]
    for count in ("answers", "queries", "kept", "searched"):
        assert sum(getattr(group, count) for group in groups) == getattr(found, count)
    turned_down = sum(count for _, count, _ in reasons(answers))
    steps = funnel(answers, ("duplicates", "logprob", "round-trip"))
    assert found.kept + turned_down == found.answers == len(answers)
    assert [count for _, count in steps] == sorted((count for _, count in steps), reverse=True)
    assert (steps[0][1], steps[1][1], steps[-1][1]) == (found.answers, found.queries, found.kept)


def test_of_nothing_there_are_counts_and_no_shares():
    found = statistics_of([])
    assert (found.answers, found.queries, found.kept, found.start, found.scores) == (0, 0, 0, "", {})
    assert {getattr(found, name) for name in Statistics._fields if name not in ("start", "scores")} == {0, None}
    assert (funnel([]), reasons([]), drawn([], 3)) == ([("answers", 0), ("queries", 0)], [], [])


def test_each_number_counts_what_it_says():
    texts = ["what is red lava", "What is ash?", "gas rises", "what is red lava"]
    ranks = [{"rank": 1.0}, {"rank": 20.0}, {"rank": 21.0}, {}]
    states = [None, None, "round-trip", "duplicates"]
    answers = [
        query(text, n, scores={"score": float(n), **rank}, reason=state, overlap=n / 4)
        for n, (text, rank, state) in enumerate(zip(texts, ranks, states, strict=True))
    ]
    found = statistics_of([*answers, query("never counted?", 9, is_query=False, reason="too short")])
    assert found == Statistics(
        answers=5,
        queries=4,
        kept=2,
        words=13 / 4,
        overlap=1.5 / 4,
        question_words=3 / 4,
        question_marks=1 / 4,
        distinct_2=5 / 9,  # what is, is red, red lava, is ash, gas rises
        common_start=3 / 4,
        start="what is",
        near_duplicates=1 / 4,
        searched=3,  # the duplicate was dropped before the search
        source_first=1 / 3,
        source_in_top=2 / 3,
        scores={"score": 1.5},
    )


def test_a_query_whose_document_was_not_found_was_searched_with():
    assert source_rank(query("a b", reason="round-trip")) == math.inf
    assert source_rank(query("a b", reason="duplicates")) is None
    assert statistics_of([query("a b", reason="round-trip")]).source_in_top == 0


def test_question_words_are_those_of_the_language():
    assert statistics_of([query("was ist Lava")], language="de").question_words == 1
    assert statistics_of([query("was ist Lava")], language="en").question_words == 0
    assert statistics_of([query("was ist Lava")], language="none").question_words is None


@given(some_answers, st.integers(0, 12), st.integers(0, 3))
def test_a_sample_follows_from_seed_and_ids(answers, count, seed):
    sample = drawn(answers, count, seed=seed)
    assert len(sample) == min(count, len(answers))
    assert drawn(answers, count + 1, seed=seed)[:count] == sample
    left = [one for one in answers if one in sample]
    assert drawn(left, count, seed=seed) == sample


def test_another_seed_draws_another_sample():
    answers = [query("a b", n) for n in range(50)]
    assert drawn(answers, 10, seed=0) != drawn(answers, 10, seed=1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.booleans())
def test_a_histogram_counts_every_query_once(values, is_dropped):
    answers = [
        query("a b", n, scores={"score": value}, reason="logprob" if is_dropped and n % 2 else None)
        for n, value in enumerate(values)
    ]
    ((name, picture),) = histograms([("all", answers), ("none", [query("a b")])], "score")
    counts = re.findall(r": (\d+) kept, (\d+) dropped", picture)
    assert name == "all"
    assert sum(int(kept) for kept, _ in counts) == sum(one.reason is None for one in answers)
    assert sum(int(kept) + int(dropped) for kept, dropped in counts) == len(answers)


def bars(answers: list[Answer], score: str) -> dict[str, tuple[int, int]]:
    ((_, picture),) = histograms([("all", answers)], score)
    return {label: (int(kept), int(dropped)) for label, kept, dropped in re.findall(BAR, picture)}


def test_a_bar_says_how_many_are_in_its_interval():
    answers = [query("a b", n, scores={"score": float(value)}) for n, value in enumerate([0, 3, 3, 19, 20])]
    answers.append(query("a b", 9, scores={"score": 3.5}, reason="logprob"))
    assert bars(answers, "score") == {"0 to 1": (1, 0), "3 to 4": (2, 1), "19 to 20": (2, 0)}


def test_ranks_have_bars_of_their_own_and_one_for_what_was_not_found():
    answers = [query("a b", n, scores={"rank": float(rank)}) for n, rank in enumerate([1, 1, 2, 3, 5, 100, 101])]
    answers += [query("a b", 8, reason="round-trip"), query("a b", 9, reason="duplicates")]
    expected = {"rank 1": (2, 0), "rank 2": (1, 0), "rank 3 to 5": (2, 0), "rank 51 to 100": (1, 0)}
    assert bars(answers, "rank") == expected | {"not found": (1, 1)}


# The command


class Rude(FakeLLM):
    """The fake, which writes what is hostile, empty or no query for some documents."""

    def _answer(self, prompt: str) -> Completion:
        answer = super()._answer(prompt)
        document = prompt.rpartition("Document:")[2]
        if "Molten" in document:
            return answer._replace(text=f" why does lava erupt {HOSTILE}")
        if "moon" in document:
            return answer._replace(text=" ")
        if "compressed snow" in document:
            return answer._replace(text=f" {HOSTILE} " * 30)
        return answer


@pytest.fixture(scope="module")
def runs(tiny_encoder, tmp_path_factory) -> Path:
    """A run that is generated, and one that is filtered as well."""
    folder = tmp_path_factory.mktemp("inspect")
    docs = [doc._replace(title=f"{doc.title} {HOSTILE}", text=f"{doc.text} {HOSTILE}") for doc in DOCS]
    lines = [json.dumps({"_id": doc.doc_id, "title": doc.title, "text": doc.text}) + "\n" for doc in docs]
    (folder / "corpus.jsonl").write_text("".join(lines))
    small = "sample.n_docs=36 sample.min_chars=40 index.max_tokens=48 generate.max_doc_tokens=30 filter.keep_top_k=25"
    models = [f"{name}={tiny_encoder}" for name in ("generate.llm", "train.base", "distill.base")]
    settings = resolve(STAGES, load_recipe("quick"), [*small.split(), *models])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(acclimate.llm, "load", lambda name, **_: Rude())
        for name, stage in (("generated", "generate"), ("filtered", "filter")):
            adapt(Run(Workspace(folder / name), settings, 0, str(folder / "corpus.jsonl")), until=stage)
    return folder


@pytest.fixture
def run(runs, tmp_path) -> Path:
    shutil.copytree(runs / "filtered", tmp_path / "run")
    return tmp_path / "run"


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sample(self) -> list[dict[str, str | None]]:
        return [attributes for attributes in self.named("li") if "data-state" in attributes]


def inspected(run: Path, *options: str) -> Page:
    assert main(["inspect", str(run), *options]) == 0
    return Page((run / "queries.html").read_text())


def stages_of(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "queries.html"}


def test_it_prints_statistics_and_reasons_and_writes_a_page(run, capsys):
    before = stages_of(run)
    assert main(["inspect", str(run)]) == 0
    shown, said = capsys.readouterr()
    queries = (run / "generate" / "queries.jsonl").read_text().count("\n")
    rejects = (run / "generate" / "rejects.jsonl").read_text().count("\n")
    kept = (run / "filter" / "queries.jsonl").read_text().count("\n")
    assert said == ""
    assert f"{queries + rejects} answers, {queries} queries, {kept} kept" in shown
    assert kept < queries
    for prompt in ("question", "keyword", "claim"):
        assert prompt in shown
    for line in (run / "generate" / "rejects.jsonl").read_text().splitlines():
        assert json.loads(line)["reason"] in shown
    assert "logprob " in shown
    assert shown.endswith(f"Page: {run / 'queries.html'}\n")
    assert max(map(len, shown.splitlines()[:-1])) <= 100
    assert stages_of(run) == before, "looking changes nothing"


def test_nothing_of_a_stranger_becomes_part_of_the_page(run):
    page = inspected(run, "--sample", "100")
    assert len(page.named("script")) == 1
    assert page.named("img") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count("<script>alert('volcano')</script>") > len(page.sample), "shown as it was written"
    assert not [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
    ]


def test_the_page_lets_only_its_own_script_run(run):
    inspected(run)
    html = (run / "queries.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.S)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in html


def test_the_page_can_be_read_without_its_script(run):
    page = inspected(run)
    assert page.sample
    hidden = [tag for tag, attributes in page.elements if "hidden" in attributes]
    assert hidden == ["form"], "only what needs the script waits for it"


def test_the_same_run_gives_the_same_bytes(run):
    inspected(run, "--sample", "7")
    first = (run / "queries.html").read_bytes()
    inspected(run, "--sample", "7")
    assert (run / "queries.html").read_bytes() == first
    inspected(run, "--sample", "7", "--seed", "1")
    assert (run / "queries.html").read_bytes() != first


def test_a_sample_has_so_many_some_answersand_no_more(run):
    assert len(inspected(run, "--sample", "5").sample) == 5
    assert len(inspected(run, "--sample", "0").sample) == 0
    states = {one["data-state"] for one in inspected(run, "--sample", "1000").sample}
    assert states == {"kept", "dropped", "no query"}


def test_the_sample_can_be_of_one_prompt_or_one_reason(run):
    assert {one["data-prompt"] for one in inspected(run, "--prompt", "keyword").sample} == {"keyword"}
    page = inspected(run, "--reason", "logprob")
    assert {one["data-state"] for one in page.sample} == {"dropped"}
    assert "reason logprob" in page.text


def test_it_needs_no_filter(runs, tmp_path, capsys):
    shutil.copytree(runs / "generated", tmp_path / "run")
    page = inspected(tmp_path / "run")
    assert {one["data-state"] for one in page.sample} == {"query", "no query"}
    assert "Not filtered yet" in page.text
    assert "Not filtered yet" in capsys.readouterr().out


def test_scores_of_queries_that_were_generated_before_are_not_shown(run):
    manifest = manifests.read(run / "filter")
    assert manifest
    manifests.write(run / "filter", manifest | {"inputs": manifest["inputs"] | {"generate": "another"}})
    assert "Not filtered yet" in inspected(run).text


def test_every_column_of_numbers_is_shown(run):
    path = run / "filter" / "scores.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    chance = random.Random(0)
    extra = {"note": "no number", "flag": True, "nothing": None}
    rows = [row | {"<b>teacher": chance.random(), "huge": math.nan} | extra for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = manifests.read(run / "filter")
    assert manifest
    manifests.write(run / "filter", manifest | {"outputs": manifests.outputs(run / "filter")})
    page = inspected(run)
    labels = {str(attributes["aria-label"]).rpartition(", ")[0] for attributes in page.named("svg")}
    assert labels == {"overlap", "logprob", "rank", "<b>teacher"}


def test_an_llm_that_wrote_no_query_can_be_looked_at(runs, tmp_path, monkeypatch):
    class Silent(FakeLLM):
        def _answer(self, prompt: str) -> Completion:
            return Completion("", (), 1, 0, "stop")

    run = tmp_path / "run"
    shutil.copytree(runs / "generated", run)
    (run / "completions.sqlite").unlink()
    monkeypatch.setattr(acclimate.llm, "load", lambda name, **_: Silent())
    assert main(["generate", str(run), "--max-doc-tokens", "29"]) == 2
    page = inspected(run)
    assert "36 answers, 0 queries" in page.text
    assert {one["data-state"] for one in page.sample} == {"no query"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--prompt", "keywords"], "Did you mean 'keyword'?"),
        (["--reason", "bad"], "no reason named 'bad'"),
        (["--sample", "-1"], "expected a whole number: 0 to"),
    ],
)
def test_what_there_is_not_is_said(options, expected, run, capsys):
    assert main(["inspect", str(run), *options]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert not (run / "queries.html").exists()


def test_a_folder_without_queries_is_said(runs, tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "none")]) == 2
    assert "no run here" in capsys.readouterr().err
    shutil.copytree(runs / "generated", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "generate")
    assert main(["inspect", str(tmp_path / "run")]) == 2
    assert f"acclimate generate {tmp_path / 'run'}" in capsys.readouterr().err
