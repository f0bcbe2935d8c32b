"""Time and memory of each stage on one machine for 1 thousand to 1 million documents.

    python benchmarks/scale.py                             1k, 10k, 100k: minutes
    python benchmarks/scale.py --docs 1000000              and a million: most of an hour of the processor
    python benchmarks/scale.py --docs 1000000 --until sample
    python benchmarks/scale.py --write                     put the table of all that was measured into docs/scale.md

Every stage is a process of its own, which reads what the one before it left. Seconds are the processor's, of one
thread. Memory is what a process holds at most, watched a hundred times a second: of its own (RssAnon: what the machine
cannot take back), and with the pages of files that it has mapped (VmHWM), which the system drops when it needs them.
Documents are short and the encoder is tiny, see `scale_collection`; an LLM that takes some words of each document
answers from a thread of this program. As many queries are written and measured whatever the number of documents.
What was measured is kept under bench-run/scale and is not measured again; remove a folder of it to do so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from results_page import table, write_section
from scale_collection import query_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "scale.md"
SIZES = (1_000, 10_000, 100_000)
CHANGES = [  # the same number of queries at every size
    "sample.n_docs=500",
    "sample.min_chars=40",
    "generate.llm=openai:words",
    "generate.prompt=question",
    "generate.per_doc=1",
    "index.max_tokens=32",
    "index.passage_words=0",
    "index.exact_up_to=1000000000",  # approximate search is measured by approximate.py
    "evaluate.rerank=",
    "evaluate.max_queries=100",
    "label.teachers=bm25,dense,late-interaction",
    "distill.student=",
]
OF_STAGES = {  # settings that skip unused outputs
    "mine": ["evaluate.rerank=hybrid"],
    "label": ["distill.student=dense-query"],
}
STAGES = ("index", "sample", "generate", "filter", "steer", "mine", "label", "evaluate", "search")
_WATCHED = ("RssAnon", "VmHWM")


class Usage(NamedTuple):
    """Cost of a stage."""

    cpu_seconds: float
    seconds: float
    own_mb: float  # at most
    mb: float  # at most, pages of mapped files among them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", default=",".join(map(str, SIZES)), help="numbers of documents, by commas")
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-run" / "scale")
    parser.add_argument("--write", action="store_true", help="write the table to docs/scale.md")
    parser.add_argument(
        "--stage", nargs=2, metavar=("STAGE", "FOLDER"), help=argparse.SUPPRESS
    )  # the child process to measure
    arguments = parser.parse_args()
    if arguments.stage:
        make(arguments.stage[0], Path(arguments.stage[1]))
        return
    for n_docs in map(int, arguments.docs.split(",")):
        folder = arguments.out / str(n_docs)
        for stage in STAGES[: STAGES.index(arguments.until) + 1]:
            kept = folder / f"{stage}.json"
            if not kept.exists():
                prepare(folder, n_docs)
                usage = used(stage, folder)
                kept.write_text(json.dumps(usage._asdict()))
                print(f"{n_docs:>9,} {stage:<9}{cell(usage)}", file=sys.stderr)
    text = shown({int(path.name): measured(path) for path in arguments.out.iterdir() if path.name.isdigit()})
    print(text)
    if arguments.write:
        write_section("scale", text, PAGE)


def prepare(folder: Path, n_docs: int) -> None:
    """Create documents and encoder once, in a child process, so that this one stays small."""
    if not (folder / "encoder").exists():
        work = f"w.write_collection(p / 'documents', {n_docs}); w.write_encoder(p / 'encoder')"
        code = f"import scale_collection as w; from pathlib import Path; p = Path({str(folder)!r}); {work}"
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)


def make(stage: str, folder: Path) -> None:
    """Run one stage, given the stages before it."""
    from acclimate.api.adapt import run_until
    from acclimate.run.recipes import load_recipe
    from acclimate.run.settings import resolve
    from acclimate.stages.chain import STAGES as FUNCTIONS
    from acclimate.stages.runs import new_run

    encoder = f"distill.base={folder / 'encoder'}"
    settings = resolve(FUNCTIONS, load_recipe("quick"), [*CHANGES, encoder, *OF_STAGES.get(stage, ())])
    run = new_run(folder / "run", str(folder / "documents"), settings, recipe="quick", seed=0)
    run_until(run, until=stage, progress=None)


def used(stage: str, folder: Path) -> Usage:
    """Measure a stage, or a search, in a child process. Raises SystemExit if it fails."""
    command = [sys.executable, __file__, "--stage", stage, str(folder)]
    if stage == "search":
        command = [sys.executable, "-m", "acclimate", "search", str(folder / "run"), "python module for text files"]
    with answering() as address, (folder / "log.txt").open("w") as log:
        fakes = {"OPENAI_BASE_URL": address, "OPENAI_API_KEY": "none", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | fakes)
        started, most = time.monotonic(), dict.fromkeys(_WATCHED, 0.0)
        while True:
            for name, size in status(process.pid).items():
                most[name] = max(most[name], size)
            ended, code, taken = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            time.sleep(0.01)
    if code:
        raise SystemExit(f"{stage} failed: {(folder / 'log.txt').read_text()[-2000:]}")
    seconds = time.monotonic() - started
    return Usage(round(taken.ru_utime + taken.ru_stime, 2), round(seconds, 2), *(round(most[n], 1) for n in _WATCHED))


def status(pid: int) -> dict[str, float]:
    """Memory of a process in MB; {} if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    fields = {name: value for name, _, value in (line.partition(":") for line in lines) if name in _WATCHED}
    return {name: int(value.split()[0]) / 1024 for name, value in fields.items()}


@contextmanager
def answering() -> Iterator[str]:
    """The address of a running LLM server that answers with some words of the prompt."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Words)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


class _Words(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        message = {"role": "assistant", "content": query_of(asked.rpartition("Document: ")[2])}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "words", "choices": [choice]}
        content = json.dumps(body | {"usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""


def measured(folder: Path) -> dict[str, Usage]:
    """Costs of the stages measured so far."""
    paths = {stage: folder / f"{stage}.json" for stage in STAGES}
    return {stage: Usage(**json.loads(path.read_text())) for stage, path in paths.items() if path.exists()}


def shown(usages: dict[int, dict[str, Usage]]) -> str:
    """The table of each stage's cost by number of documents, and its growth."""
    sizes = sorted(n_docs for n_docs, by_stage in usages.items() if by_stage)
    head = ["stage", *(f"{n_docs:,}" for n_docs in sizes), "slope", "bytes a document"]
    rows = []
    for stage in STAGES:
        taken = {n_docs: usages[n_docs][stage] for n_docs in sizes if stage in usages[n_docs]}
        cells = [cell(taken[n_docs]) if n_docs in taken else "" for n_docs in sizes]
        rows.append([stage, *cells, *growth(taken)])
    note = (
        "Each cell: seconds of the processor; memory of its own at most, in MB; with the pages of mapped files. Slope: "
        "of the seconds, on two logarithmic scales, between the two largest numbers of documents; bytes a document: "
        "what its own memory grew by between them, for each document more."
    )
    return f"{note}\n\n{table(head, rows)}"


def cell(usage: Usage) -> str:
    return f"{usage.cpu_seconds:,.1f} s · {usage.own_mb:,.0f} · {usage.mb:,.0f}"


def growth(taken: dict[int, Usage]) -> Sequence[str]:
    """Exponent of the seconds, and bytes per additional document, between the two largest sizes."""
    if len(taken) < 2:
        return "", ""
    few, many = sorted(taken)[-2:]
    before, after = taken[few], taken[many]
    slope = math.log(after.cpu_seconds / before.cpu_seconds) / math.log(many / few)
    return f"{slope:.2f}", f"{(after.own_mb - before.own_mb) * 2**20 / (many - few):,.0f}"


if __name__ == "__main__":
    main()
