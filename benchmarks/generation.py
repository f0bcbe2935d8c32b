"""How fast queries are written on a CPU: acclimate and other ways to run the same LLM, in turns, on the same documents.

    python benchmarks/generation.py                           64 documents of pydocs: it needs no files
    python benchmarks/generation.py DATA/scifact --docs 32    documents of a BEIR folder
    python benchmarks/generation.py --llama-cpp-python PATH   llama.cpp too: PATH is a Python that has llama_cpp
    python benchmarks/generation.py --write                   put the table into docs/results.md

Everyone gets the prompts of one batch of `Completions`, then everyone those of the next, so that what else the machine
does hits all alike. Set the threads with OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
START, END = "<!-- generation: begin -->", "<!-- generation: end -->"
LLM, PROMPT = "embedded:smollm2-135m-instruct", "inpars"
DOC_TOKENS, NEW_TOKENS = 160, 40  # defaults of the stage `generate`
REFERENCE = "transformers, one prompt a call"  # as InPars does: the whole prompt, through model.generate
PRECISIONS = ("float32", "bfloat16")
RATE_TOKENS = 256  # of the products whose rate is measured: the fastest of 32 to 2048

# Reads JSON lines of prompts, writes JSON lines of answers. What a prompt shares with the one before is not read again.
LLAMA_CPP = """
import json, resource, sys
from llama_cpp import Llama
path, threads, new_tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
llm = Llama(path, n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    before = cpu()
    made = [llm(prompt, max_tokens=new_tokens, temperature=0.0, stop=["\\n"]) for prompt in json.loads(line)]
    texts = [one["choices"][0]["text"] for one in made]
    print(json.dumps([texts, cpu() - before]), flush=True)
"""


class Answers(NamedTuple):
    texts: list[str]
    cpu_seconds: float


@dataclass
class Contender:
    """A way to get answers to prompts, and what it took so far."""

    name: str
    precision: str
    answer: Callable[[list[str]], Answers]
    shares_prefix: bool
    texts: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def take_turn(self, prompts: list[str]) -> None:
        started = time.perf_counter()
        texts, cpu_seconds = self.answer(prompts)
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += cpu_seconds
        self.texts += [text.strip() for text in texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", nargs="?", default="pydocs")
    parser.add_argument("--docs", type=int, default=64, help="how many documents (default 64)")
    parser.add_argument("--llama-cpp-python", default=sys.executable, metavar="PATH", help="a Python with llama_cpp")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-run", help="keeps the corpus, once read")
    parser.add_argument("--write", action="store_true", help="write the section to docs/results.md")
    arguments = parser.parse_args()

    import torch

    from acclimate.base import models
    from acclimate.corpus import collections
    from acclimate.llm import prompts
    from acclimate.llm.backends.local import LocalLLM
    from acclimate.llm.completions import _batches
    from acclimate.llm.decoders.loaded import Loaded
    from acclimate.llm.decoding import Decoding

    template = prompts.load(PROMPT)
    ours = LocalLLM(LLM, Decoding(NEW_TOKENS, template.stop))
    corpus = collections.load(arguments.collection, arguments.out).corpus
    ids = sorted(corpus)
    ids = ids[:: max(1, len(ids) // arguments.docs)][: arguments.docs]
    asked = {template.render(ours.cut(corpus[one].default_text().strip(), DOC_TOKENS)) for one in ids}
    batches = list(_batches(sorted(asked, key=lambda prompt: (len(prompt), prompt)), 8192))

    precision = models.dtype_name()
    contenders = [Contender("**acclimate**", precision, lambda some: _acclimate(ours, some), shares_prefix=True)]
    plain = {dtype: Loaded(LLM, getattr(torch, dtype)) for dtype in PRECISIONS}  # our loader, and nothing else of ours
    for dtype, loaded in plain.items():
        generate = _generate(loaded)
        contenders += [
            Contender(REFERENCE, dtype, lambda some, run=generate: run(some, 1), shares_prefix=False),
            Contender("transformers, 8 prompts a call", dtype, lambda some, run=generate: run(some, 8), False),
        ]
    llama_cpp = _llama_cpp(arguments.llama_cpp_python, _threads())
    if llama_cpp is None:
        print(f"llama.cpp is left out: no llama_cpp in {arguments.llama_cpp_python}", file=sys.stderr)
    else:
        contenders.append(Contender("llama.cpp, prefix kept", "Q4_1", llama_cpp, shares_prefix=True))

    rates: dict[str, float] = {}
    for one in contenders:  # unmeasured, and nothing of the prompts: what is made at first use is made now
        one.answer(["The capital of France", "One, two, three"])
    for number, batch in enumerate(batches, 1):
        for dtype, loaded in plain.items():
            with torch.inference_mode():
                rates[dtype] = max(rates.get(dtype, 0.0), _product_rate(loaded.model.model.layers[0], dtype))
        for one in contenders:
            one.take_turn(batch)
            print(f"batch {number} of {len(batches)}: {one.name}, {one.precision}", file=sys.stderr)
    done = [prompt for batch in batches for prompt in batch]
    section = _section(contenders, done, ours, plain["float32"].model, rates, arguments.collection)
    print(section)
    if arguments.write:
        page = ROOT / "docs" / "results.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(START)
        page.write_text(f"{before}{START}\n{section}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def _acclimate(llm: Any, prompts: list[str]) -> Answers:
    before = _cpu_seconds()
    texts = [completion.text for completion in llm.complete(prompts)]
    return Answers(texts, _cpu_seconds() - before)


def _generate(loaded: Any) -> Callable[[list[str], int], Answers]:
    """Transformers' own loop: prompts and how many of them a call takes in, answers out."""
    import torch

    model, tokenizer = loaded.model, loaded.tokenizer
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    stops = [token for token in range(len(tokenizer)) if "\n" in tokenizer.decode([token])]
    ends = [*stops, tokenizer.eos_token_id]

    def run(prompts: list[str], size: int) -> Answers:
        before, texts = _cpu_seconds(), []
        for at in range(0, len(prompts), size):
            given = tokenizer(prompts[at : at + size], return_tensors="pt", padding=True)
            with torch.inference_mode():
                ids = model.generate(
                    **given,
                    max_new_tokens=NEW_TOKENS,
                    do_sample=False,
                    eos_token_id=ends,
                    pad_token_id=tokenizer.pad_token_id,
                )
            texts += tokenizer.batch_decode(ids[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        return Answers([text.partition("\n")[0] for text in texts], _cpu_seconds() - before)

    return run


def _llama_cpp(python: str, threads: int) -> Callable[[list[str]], Answers] | None:
    """llama.cpp in a process of its own, on the same file; None where `python` has no llama_cpp."""
    from acclimate.base import models

    if subprocess.run([python, "-c", "import llama_cpp"], capture_output=True).returncode:
        return None
    model = models.resolve(LLM)
    command = [
        python,
        "-c",
        LLAMA_CPP,
        str(Path(model.path_or_id) / str(model.gguf_file)),
        str(threads),
        str(NEW_TOKENS),
    ]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    to_child: Any = child.stdin
    from_child: Any = child.stdout
    from_child.readline()  # it is loaded

    def answer(prompts: list[str]) -> Answers:
        to_child.write(json.dumps(prompts) + "\n")
        to_child.flush()
        return Answers(*json.loads(from_child.readline()))

    return answer


def _product_rate(layer: Any, dtype: str) -> float:
    """FLOP per CPU second of a layer's matrix products, one after the other: the best of ten."""
    import torch

    weights = [weight.detach().to(getattr(torch, dtype)) for weight in layer.parameters() if weight.ndim == 2]
    inputs = [torch.randn(RATE_TOKENS, one.shape[1]).to(one.dtype) for one in weights]
    outputs = [torch.empty(RATE_TOKENS, one.shape[0], dtype=one.dtype) for one in weights]
    flop = 10 * 2 * RATE_TOKENS * sum(one.numel() for one in weights)
    best = 0.0
    for _ in range(10):
        before = _cpu_seconds()
        for _ in range(10):
            for given, weight, out in zip(inputs, weights, outputs, strict=True):
                torch.mm(given, weight.T, out=out)
        best = max(best, flop / (_cpu_seconds() - before))
    return best


def _flop(llm: Any, model: Any, prompts: Sequence[str], texts: Sequence[str], *, shares_prefix: bool) -> float:
    """FLOP that answers take, attention and padding not counted: two for each weight of the layers and token read, and
    for each weight of the output head and token written. The token that ended an answer is not read again."""
    loaded = llm._loaded
    rows = [loaded.ids(prompt, chat=False) for prompt in prompts]
    shared = llm._shared(rows) if shares_prefix else 0
    written = [min(NEW_TOKENS, len(loaded.ids(text, chat=False)) + 1) for text in texts]
    read = shared + sum(len(row) - shared + count - 1 for row, count in zip(rows, written, strict=True))
    layers = sum(weight.numel() for weight in model.model.layers.parameters() if weight.ndim == 2)
    return 2.0 * (layers * read + model.lm_head.weight.numel() * sum(written))


def _section(
    contenders: Sequence[Contender],
    prompts: Sequence[str],
    llm: Any,
    model: Any,
    rates: dict[str, float],
    collection: str,
) -> str:
    reference = next(one for one in contenders if one.name == REFERENCE and one.precision == "float32")
    count = len(prompts)
    lines = [
        "| | precision | queries/s | × InPars | CPU-s a query | × InPars | same text | nearly | of the limit |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in contenders:
        same = sum(a == b for a, b in zip(one.texts, reference.texts, strict=True))
        near = sum(_jaccard(a, b) >= 0.8 for a, b in zip(one.texts, reference.texts, strict=True))
        limit = (
            ""
            if one.precision not in rates
            else _percent(
                _flop(llm, model, prompts, one.texts, shares_prefix=one.shares_prefix)
                / rates[one.precision]
                / one.cpu_seconds
            )
        )
        cells = [
            one.name + (" (InPars)" if one is reference else ""),
            one.precision,
            f"{count / one.seconds:.2f}",
            f"{reference.seconds / one.seconds:.1f} ×",
            f"{one.cpu_seconds / count:.3f}",
            f"{reference.cpu_seconds / one.cpu_seconds:.1f} ×",
            _percent(same / count),
            _percent(near / count),
            limit,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    rows = [llm._loaded.ids(prompt, chat=False) for prompt in prompts]
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    tokens = sum(map(len, rows)) / count
    shown = collection if not Path(collection).is_dir() else f"DATA/{Path(collection).name}"
    command = f"OMP_NUM_THREADS={_threads()} python benchmarks/generation.py {shown} --docs {count}"
    about = (
        f"{count} documents of {Path(collection).name}, {tokens:.0f} tokens a prompt, of which all share "
        f"{llm._shared(rows)}. Threads: {_threads()}, cores: {os.cpu_count()}, load average at the end: "
        f"{os.getloadavg()[0]:.1f}. Matrix products at {rates['float32'] / 1e9:.0f} (float32) and "
        f"{rates['bfloat16'] / 1e9:.0f} (bfloat16) GFLOP per CPU second. Commit {git.stdout.strip() or 'unknown'}, "
        f"{datetime.datetime.now(datetime.UTC).date()}: `{command} --llama-cpp-python PATH --write`"
    )
    return "\n".join([*lines, "", about])


def _jaccard(first: str, second: str) -> float:
    """Shared words by all words, 1.0 for two texts without any."""
    a, b = (set(re.findall(r"\w+", text.lower())) for text in (first, second))
    return len(a & b) / len(a | b) if a | b else 1.0


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _cpu_seconds() -> float:
    """Of this process, all threads, the system's share included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
