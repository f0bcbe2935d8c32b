"""Speed of query generation on a GPU, compared with its matrix product rate, and with and without a CUDA graph.

    python benchmarks/generation_gpu.py              2048 documents of pydocs and the embedded LLM: no files needed
    python benchmarks/generation_gpu.py --docs 8     a try on a machine without one

Printed are what loading takes, queries a second through `LocalLLM`, and for one batch: the share of the measured matrix
rate while prompts are read, and milliseconds a step with a CUDA graph and without. Texts of the two are compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import torch

from acclimate.base import models
from acclimate.corpus import collections
from acclimate.llm import prompts
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.completions import batches_of
from acclimate.llm.decoders.cuda_graph import RecordedStep
from acclimate.llm.decoding import Decoding

LLM, PROMPT = "embedded:smollm2-135m-instruct", "inpars"
DOC_TOKENS, NEW_TOKENS = 160, 40  # defaults of the stage `generate`
T = TypeVar("T")
ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=int, default=2048)
    parser.add_argument("--llm", default=LLM)
    arguments = parser.parse_args()

    begun = time.perf_counter()
    template = prompts.load(PROMPT)
    llm = LocalLLM(arguments.llm, Decoding(NEW_TOKENS, template.stop))
    loaded = llm._loaded
    weights = [weight for weight in loaded.model.model.layers.parameters() if weight.ndim == 2]
    n_weights, shapes = sum(weight.numel() for weight in weights), [weight.shape for weight in weights[:7]]
    decoder = loaded.decoder
    print(f"{loaded.name} on {models.device()} in {models.dtype_name()}, loaded in {time.perf_counter() - begun:.1f} s")

    corpus = collections.load("pydocs", ROOT / "bench-run").corpus
    ids = sorted(corpus)[: arguments.docs]
    rendered = {template.render(llm.cut(corpus[doc_id].default_text().strip(), DOC_TOKENS)) for doc_id in ids}
    batches = list(batches_of(sorted(rendered, key=lambda prompt: (len(prompt), prompt)), llm.batch_size))
    written, seconds = timed(lambda: [answer for batch in batches for answer in llm.complete(batch)])
    tokens = sum(answer.completion_tokens for answer in written) / len(written)
    print(f"{len(written)} queries of {tokens:.1f} tokens in {seconds:.1f} s: {len(written) / seconds:.0f} a second")

    batch = max(batches, key=len)
    rows = [loaded.ids(prompt, chat=False) for prompt in batch]
    shared = llm._shared(rows)
    prefix, suffixes = loaded.prefix(rows[0][:shared]), [row[shared:] for row in rows]
    decoder.start(prefix, suffixes, NEW_TOKENS)
    (_, cache), seconds = timed(lambda: decoder.start(prefix, suffixes, NEW_TOKENS))
    read = sum(map(len, suffixes))
    rate, ceiling = 2 * n_weights * read / seconds, matrix_rate(shapes, read)
    print(f"reading {read} tokens of {len(rows)} prompts behind {shared}: {seconds * 1000:.0f} ms")
    print(f"{rate / 1e12:.1f} of {ceiling / 1e12:.1f} TFLOP a second: {rate / ceiling:.0%}")
    step(decoder, rows, cache)
    with_graph = llm.complete(batch)

    loaded.forget()
    with mock.patch.object(RecordedStep, "has_failed", new=True):
        prefix = loaded.prefix(rows[0][:shared])
        step(decoder, rows, decoder.start(prefix, suffixes, NEW_TOKENS)[1])
        without = llm.complete(batch)
    same = sum(answer.text == other.text for answer, other in zip(with_graph, without, strict=True))
    print(f"the same texts without a graph: {same} of {len(batch)}")


def step(decoder: Any, rows: list[list[int]], cache: Any) -> None:
    tokens = torch.ones(len(rows), dtype=torch.long, device=models.device())
    decoder.step(tokens, cache)
    steps = NEW_TOKENS // 2
    _, seconds = timed(lambda: [decoder.step(tokens, cache) for _ in range(steps)])
    print(f"a step of {len(rows)} prompts: {seconds / steps * 1000:.1f} ms")


def matrix_rate(shapes: list[torch.Size], n_rows: int) -> float:
    """FLOP per second of a layer's products with `n_rows` rows in sequence; the best of five."""
    options = {"dtype": models.dtype(), "device": models.device()}
    weights = [torch.randn(*shape, **options) for shape in shapes]
    inputs = [torch.randn(min(n_rows, 16384), shape[1], **options) for shape in shapes]

    def products() -> None:
        for rows, weight in zip(inputs, weights, strict=True):
            torch.nn.functional.linear(rows, weight)

    best = min(timed(lambda: [products() for _ in range(5)])[1] for _ in range(5))
    return 5 * 2 * len(inputs[0]) * sum(weight.numel() for weight in weights) / best


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """(result, seconds until the device has finished)."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    begun = time.perf_counter()
    result = work()
    wait()
    return result, time.perf_counter() - begun


if __name__ == "__main__":
    main()
