"""Ray against one process: identical results, overhead, and survival of lost workers and machines.

    OMP_NUM_THREADS=1 python benchmarks/executors.py            prints the table
    OMP_NUM_THREADS=1 python benchmarks/executors.py --write    puts it into docs/scale.md

Documents of pydocs are encoded, prompts answered, negatives mined and pairs rated by the models that packages carry: by
one process, by two workers on a cluster of two machines of one core each, that are processes of this one, and there
again while a worker is killed after a third of each stage, and a whole machine after two. Each stage begins with a few
units that nobody counts, which load what it needs; of two times the better one counts. Seconds of the processor are
those of all processes, Ray's own among them.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

from process_tree import cpu_seconds, workers
from results_page import table, write_section

from acclimate.base.digests import folder_fingerprint
from acclimate.records import Doc, SyntheticQuery

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
ENCODER, LLM = "embedded:all-minilm-l6-v2", "embedded:smollm2-135m-instruct"
MACHINE = {"num_cpus": 1, "object_store_memory": 200_000_000, "include_dashboard": False}
LOST_AFTER = (1 / 3, 2 / 3)  # of a stage: when a worker, and when a machine is killed
PROMPTS_AT_ONCE, QUERIES_AT_ONCE, DOCS_OF_A_QUERY = 6, 4, 40
MAX_TOKENS = 256
QUERIES_OF_A_UNIT = 64  # of mining
FEW = 4  # warm-up units: two per worker
DOCS_OF_FEW = 150  # more than four batches
Progress = Callable[[int, int], Any]  # done, total


class Sizes(NamedTuple):
    docs: int
    prompts: int
    mined: int
    queries: int


class Took(NamedTuple):
    """Cost of a stage, and the digest of its output."""

    cpu: float
    wall: float
    digest: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=int, default=1500, help="to encode (default 1500)")
    parser.add_argument("--prompts", type=int, default=60, help="to answer (default 60)")
    parser.add_argument("--mined", type=int, default=3000, help="queries that get negatives (default 3000)")
    parser.add_argument("--queries", type=int, default=60, help="whose lists are rated (default 60)")
    parser.add_argument("--write", action="store_true", help="write the section to docs/scale.md")
    options = parser.parse_args()

    from acclimate.base import ray_cluster

    with tempfile.TemporaryDirectory(prefix="executors-") as name:
        stages = Stages(Path(name), Sizes(options.docs, options.prompts, options.mined, options.queries))
        alone = {stage: stages.measured(stage, "alone") for stage in stages.works}
        before, started = cpu_seconds(), time.perf_counter()
        with Machines() as machines, ray_cluster.workers("ray,workers=2"):
            start = Took(cpu_seconds() - before, time.perf_counter() - started, "")
            shared = {stage: stages.measured(stage, "ray") for stage in stages.works}
            lost, losses = {}, {}
            for stage in stages.works:
                losses[stage] = list[str]()
                lost[stage] = stages.measured(stage, "lost", machines.losses(losses[stage]), times=1)
    text = section(stages.sizes, alone, start, shared, lost, losses)
    print(text)
    if options.write:
        write_section("executors", text, PAGE)


class Machines:
    """A Ray cluster of two machines of one core each."""

    def __enter__(self) -> Machines:
        from ray.cluster_utils import Cluster

        logging.getLogger("ray").setLevel(logging.CRITICAL)
        self.cluster = Cluster(initialize_head=True, head_node_args=MACHINE)
        self.second = self.cluster.add_node(**MACHINE)
        os.environ["RAY_ADDRESS"] = self.cluster.address
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.shutdown()

    def losses(self, kills: list[str]) -> Progress:
        """A progress callback that kills a worker and later a machine, and records it in `kills`."""

        def progress(done: int, total: int) -> None:
            worker_after, machine_after = (share * total for share in LOST_AFTER)
            if not kills and done >= worker_after:
                os.kill(next(iter(workers())), signal.SIGKILL)
                kills.append("worker")
            elif len(kills) == 1 and done >= machine_after:
                self.cluster.remove_node(self.second, allow_graceful=False)
                self.second = self.cluster.add_node(**MACHINE)
                kills.append("machine")

        return progress


class Stages:
    """The stages to run, with any executor."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        import torch

        from acclimate.corpus import pydocs
        from acclimate.llm import prompts
        from acclimate.search.scorers import cross_encoder

        self.folder, self.sizes = folder, sizes
        docs = pydocs.build()
        self.corpus = {doc.doc_id: doc for doc in docs[:: max(1, len(docs) // sizes.docs)][: sizes.docs]}
        self.queries = pydocs.queries()[: sizes.queries]
        sources = [*self.corpus.values()]
        self.synthetic = [_query(number, sources[number % len(sources)]) for number in range(sizes.mined)]
        self.prompt = prompts.load("inpars")
        self.prompts = [self.prompt.render(doc.default_text()[:600]) for doc in docs[: sizes.prompts]]
        torch.manual_seed(0)
        self.reranker = str(folder / "reranker")
        cross_encoder.load(ENCODER, max_tokens=MAX_TOKENS, is_new=True).save_pretrained(self.reranker)
        self.works = {"encode": self.encode, "generate": self.generate, "mine": self.mine, "rate": self.rate}

    def measured(self, stage: str, name: str, progress: Progress = lambda done, total: None, times: int = 2) -> Took:
        """Measure a stage after a warm-up; the best CPU time of `times` repetitions."""
        work, folder = self.works[stage], self.folder / name / stage
        work(folder / "begin", FEW, lambda done, total: None)
        return min(self._once(partial(work, folder / f"whole-{number}", None, progress)) for number in range(times))

    def _once(self, work: partial[None]) -> Took:
        before, started = cpu_seconds(), time.perf_counter()
        work()
        return Took(cpu_seconds() - before, time.perf_counter() - started, folder_fingerprint(work.args[0]))

    def encode(self, folder: Path, most: int | None, progress: Progress) -> None:
        from acclimate.search.encoder import Encoder
        from acclimate.search.vectors import encode_corpus

        load = partial(Encoder.load, ENCODER, max_tokens=MAX_TOKENS)
        corpus = dict(islice(self.corpus.items(), most and DOCS_OF_FEW))
        encode_corpus(self.tool("encoder", load), corpus, folder, maker=load, progress=progress)

    def generate(self, folder: Path, most: int | None, progress: Progress) -> None:
        from acclimate.llm.backends.local import LocalLLM
        from acclimate.llm.completions import Completions
        from acclimate.llm.decoding import Decoding
        from acclimate.llm.protocol import BatchSize

        LocalLLM.batch_size = BatchSize(PROMPTS_AT_ONCE, 8192)
        llm = self.tool("llm", partial(LocalLLM, LLM, Decoding(32, self.prompt.stop)))
        asked = self.prompts[: most and most * PROMPTS_AT_ONCE]
        folder.mkdir(parents=True)
        with Completions(folder.with_name(f"{folder.name}.sqlite"), "generate") as kept:
            answers = kept.complete(llm, asked, on_batch=lambda done, total, _: progress(done, total))
        (folder / "answers").write_text(repr(answers))

    def mine(self, folder: Path, most: int | None, progress: Progress) -> None:
        from acclimate.corpus.formats import write_nway
        from acclimate.stages.hits import search_hits
        from acclimate.stages.mine import mine

        run, indexed = self.tool("run", self._indexed)
        queries = self.synthetic[: most and most * QUERIES_OF_A_UNIT]
        another_store = run.variant(folder.with_name(f"{folder.name}-found"), {})
        hits = search_hits(queries, another_store, indexed, "hybrid", 50, progress)
        folder.mkdir(parents=True)
        write_nway(folder / "examples.jsonl", mine(queries, hits, run.input.corpus).examples)

    def _indexed(self) -> tuple[Any, Any]:
        """A run over the documents, and its index, built without workers."""
        from acclimate.api.adapt import run_until
        from acclimate.corpus.formats import write_corpus
        from acclimate.run.recipes import load_recipe
        from acclimate.run.settings import resolve
        from acclimate.stages.chain import STAGES
        from acclimate.stages.index import Indexed
        from acclimate.stages.runs import new_run

        write_corpus(self.folder / "docs.jsonl", self.corpus.values())
        settings = resolve(STAGES, load_recipe("quick"), [f"index.max_tokens={MAX_TOKENS}"])
        run = new_run(self.folder / "run", str(self.folder / "docs.jsonl"), settings, recipe="quick", seed=0)
        run_until(run, until="index", progress=None)
        return run, run.output(Indexed)

    def rate(self, folder: Path, most: int | None, progress: Progress) -> None:
        from acclimate.search import scorers
        from acclimate.search.scorers.lists import score_calls

        load = partial(scorers.load, self.reranker, self.corpus, max_tokens=MAX_TOKENS)
        ids, queries = [*self.corpus], self.queries[: most and most * QUERIES_AT_ONCE]
        lists = [(query, ids[place : place + DOCS_OF_A_QUERY]) for place, query in enumerate(queries)]
        calls = [
            [(query, doc_id) for query, doc_ids in lists[start : start + QUERIES_AT_ONCE] for doc_id in doc_ids]
            for start in range(0, len(lists), QUERIES_AT_ONCE)
        ]
        folder.mkdir(parents=True)
        scores: list[list[float]] = []
        for said in score_calls(self.tool("scorer", load), calls):
            scores.append(said)
            progress(len(scores), len(calls))
        (folder / "scores").write_text(repr(scores))

    def tool(self, name: str, load: Callable[[], Any]) -> Any:
        """A model of this process, loaded once."""
        if name not in self.__dict__:
            self.__dict__[name] = load()
        return self.__dict__[name]


def _query(number: int, doc: Doc) -> SyntheticQuery:
    """A query of six words of a document, different for each number."""
    words = doc.text.split()
    start = number % max(1, len(words) - 6)
    return SyntheticQuery(f"q{number}", " ".join(words[start : start + 6]), doc.doc_id, -1.0)


def section(
    sizes: Sizes,
    alone: dict[str, Took],
    start: Took,
    shared: dict[str, Took],
    lost: dict[str, Took],
    losses: dict[str, list[str]],
) -> str:
    whats = {
        "encode": f"{sizes.docs:,} documents",
        "generate": f"{sizes.prompts:,} prompts",
        "mine": f"{sizes.mined:,} queries",
        "rate": f"{sizes.queries * DOCS_OF_A_QUERY:,} pairs",
    }
    rows = []
    for stage, single in alone.items():
        ray, n_lost = shared[stage], len(losses[stage])
        survived = n_lost if lost[stage].digest == single.digest else 0
        row = [f"{stage}: {whats[stage]}"]
        for before, after in ((single.cpu, ray.cpu), (single.wall, ray.wall)):
            row += [f"{before:.1f}", f"{after:.1f}", f"{100 * (after / before - 1):+.0f}%"]
        rows.append([*row, "yes" if single.digest == ray.digest else "**no**", f"{survived} of {n_lost}"])
    header = ["stage", "one process, s of CPU", "Ray", "", "one process, s", "Ray", "", "same bytes", "losses survived"]
    return f"""{table(header, rows)}

Two workers on two cores, the better of two times. Seconds of the processor (CPU) are of all processes, Ray's own
among them; a tenth more or less is what other work on the machine does. Besides, the start of the cluster and of both
workers took {start.cpu:.0f} s of CPU, {start.wall:.0f} s by the clock, once for all stages. Losses: in each stage a
worker is killed, and one of the two machines ends. With a load of {os.getloadavg()[0]:.0f} on the two cores, seconds by
the clock say little."""


if __name__ == "__main__":
    main()
