"""The table of generation speed: each way to get answers, compared with what the machine could do."""

from __future__ import annotations

import datetime
import os
import re
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from results_page import PAGE, table

HEADER = [
    "", "precision", "queries/s", "× InPars", "CPU-s a query", "× InPars", "same text", "nearly", "of the limit",
]  # fmt: skip
DOC_TOKENS, NEW_TOKENS = 160, 40  # defaults of the stage `generate`
REFERENCE = "transformers, one prompt a call"  # as InPars does: the whole prompt, through model.generate


class Answers(NamedTuple):
    """To some prompts."""

    texts: list[str]
    cpu_seconds: float


@dataclass
class Contender:
    """A way to get answers to prompts, and its cost so far."""

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


def _flop(llm: Any, model: Any, prompts: Sequence[str], texts: Sequence[str], *, shares_prefix: bool) -> float:
    """FLOP of answers, without attention and padding: two per layer weight and token read, and per weight of the output
    head and token written. The last token of an answer is not read again."""
    loaded = llm._loaded
    rows = [loaded.ids(prompt, chat=False) for prompt in prompts]
    shared = llm._shared(rows) if shares_prefix else 0
    written = [min(NEW_TOKENS, len(loaded.ids(text, chat=False)) + 1) for text in texts]
    read = shared + sum(len(row) - shared + count - 1 for row, count in zip(rows, written, strict=True))
    layers = sum(weight.numel() for weight in model.model.layers.parameters() if weight.ndim == 2)
    return 2.0 * (layers * read + model.lm_head.weight.numel() * sum(written))


def section(
    contenders: Sequence[Contender],
    prompts: Sequence[str],
    llm: Any,
    model: Any,
    rates: dict[str, float],
    collection: str,
) -> str:
    """The table in Markdown, with the conditions of measurement."""
    reference = next(
        contender for contender in contenders if contender.name == REFERENCE and contender.precision == "float32"
    )
    count = len(prompts)
    rows: list[list[str]] = []
    for contender in contenders:
        pairs = list(zip(contender.texts, reference.texts, strict=True))
        limit = ""
        if contender.precision in rates:
            flop = _flop(llm, model, prompts, contender.texts, shares_prefix=contender.shares_prefix)
            limit = f"{flop / rates[contender.precision] / contender.cpu_seconds:.0%}"
        rows.append(
            [
                contender.name + (" (InPars)" if contender is reference else ""),
                contender.precision,
                f"{count / contender.seconds:.2f}",
                f"{reference.seconds / contender.seconds:.1f} ×",
                f"{contender.cpu_seconds / count:.3f}",
                f"{reference.cpu_seconds / contender.cpu_seconds:.1f} ×",
                f"{sum(text == other for text, other in pairs) / count:.0%}",
                f"{sum(_jaccard(text, other) >= 0.8 for text, other in pairs) / count:.0%}",
                limit,
            ]
        )
    token_ids = [llm._loaded.ids(prompt, chat=False) for prompt in prompts]
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PAGE.parent, capture_output=True, text=True)
    tokens = sum(map(len, token_ids)) / count
    shown = collection if not Path(collection).is_dir() else f"DATA/{Path(collection).name}"
    command = f"OMP_NUM_THREADS={threads()} python benchmarks/generation.py {shown} --docs {count}"
    about = (
        f"{count} documents of {Path(collection).name}, {tokens:.0f} tokens a prompt, of which all share "
        f"{llm._shared(token_ids)}. Threads: {threads()}, cores: {os.cpu_count()}, load average at the end: "
        f"{os.getloadavg()[0]:.1f}. Matrix products at {rates['float32'] / 1e9:.0f} (float32) and "
        f"{rates['bfloat16'] / 1e9:.0f} (bfloat16) GFLOP per CPU second. Commit {git.stdout.strip() or 'unknown'}, "
        f"{datetime.datetime.now(datetime.UTC).date()}: `{command} --llama-cpp-python PATH --write`"
    )
    return f"{table(HEADER, rows)}\n\n{about}"


def _jaccard(first: str, second: str) -> float:
    """Jaccard similarity of two texts' words; 1.0 for two without words."""
    a, b = (set(re.findall(r"\w+", text.lower())) for text in (first, second))
    return len(a & b) / len(a | b) if a | b else 1.0


def threads() -> int:
    """Number of torch's threads."""
    import torch

    return torch.get_num_threads()


def cpu_seconds() -> float:
    """CPU seconds of this process, all threads, including system time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
