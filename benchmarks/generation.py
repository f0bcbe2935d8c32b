"""Speed of query generation on a CPU: acclimate against other ways to run the same LLM on the same documents.

    python benchmarks/generation.py                           64 documents of pydocs: it needs no files
    python benchmarks/generation.py DATA/scifact --docs 32    documents of a BEIR folder
    python benchmarks/generation.py --llama-cpp-python PATH   llama.cpp too: PATH is a Python that has llama_cpp
    python benchmarks/generation.py --write                   put the table into docs/results.md

Everyone gets the prompts of one batch of `Completions`, then everyone those of the next, so that what else the machine
does hits all alike. Set the threads with OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from generation_table import DOC_TOKENS, NEW_TOKENS, REFERENCE, Answers, Contender, cpu_seconds, section, threads
from results_page import write_section

ROOT = Path(__file__).parents[1]
LLM, PROMPT = "embedded:smollm2-135m-instruct", "inpars"
PRECISIONS = ("float32", "bfloat16")
RATE_TOKENS = 256  # rows of the matrix products whose rate is measured: the fastest of 32 to 2048
# Reads JSON lines of prompts, writes JSON lines of answers; reuses the prefix shared with the prompt before.
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
    from acclimate.llm.completions import batches_of
    from acclimate.llm.decoders.loaded import Loaded
    from acclimate.llm.decoding import Decoding

    template = prompts.load(PROMPT)
    ours = LocalLLM(LLM, Decoding(NEW_TOKENS, template.stop))
    corpus = collections.load(arguments.collection, arguments.out).corpus
    ids = sorted(corpus)
    ids = ids[:: max(1, len(ids) // arguments.docs)][: arguments.docs]
    rendered = {template.render(ours.cut(corpus[doc_id].default_text().strip(), DOC_TOKENS)) for doc_id in ids}
    batches = list(batches_of(sorted(rendered, key=lambda prompt: (len(prompt), prompt)), ours.batch_size))

    precision = models.dtype_name()
    contenders = [Contender("**acclimate**", precision, lambda some: _acclimate(ours, some), shares_prefix=True)]
    plain = {dtype: Loaded(LLM, getattr(torch, dtype)) for dtype in PRECISIONS}  # only our loader is used
    for dtype, loaded in plain.items():
        generate = _generate(loaded)
        contenders += [
            Contender(REFERENCE, dtype, lambda some, run=generate: run(some, 1), shares_prefix=False),
            Contender("transformers, 8 prompts a call", dtype, lambda some, run=generate: run(some, 8), False),
        ]
    llama_cpp = _llama_cpp(arguments.llama_cpp_python, threads())
    if llama_cpp is None:
        print(f"llama.cpp is left out: no llama_cpp in {arguments.llama_cpp_python}", file=sys.stderr)
    else:
        contenders.append(Contender("llama.cpp, prefix kept", "Q4_1", llama_cpp, shares_prefix=True))

    rates: dict[str, float] = {}
    for contender in contenders:  # warm-up with other prompts
        contender.answer(["The capital of France", "One, two, three"])
    for number, batch in enumerate(batches, 1):
        for dtype, loaded in plain.items():
            with torch.inference_mode():
                rates[dtype] = max(rates.get(dtype, 0.0), _product_rate(loaded.model.model.layers[0], dtype))
        for contender in contenders:
            contender.take_turn(batch)
            print(f"batch {number} of {len(batches)}: {contender.name}, {contender.precision}", file=sys.stderr)
    done = [prompt for batch in batches for prompt in batch]
    text = section(contenders, done, ours, plain["float32"].model, rates, arguments.collection)
    print(text)
    if arguments.write:
        write_section("generation", text)


def _acclimate(llm: Any, prompts: list[str]) -> Answers:
    before = cpu_seconds()
    texts = [completion.text for completion in llm.complete(prompts)]
    return Answers(texts, cpu_seconds() - before)


def _generate(loaded: Any) -> Callable[[list[str], int], Answers]:
    """Transformers' own generation, as a function of (prompts, batch size)."""
    import torch

    model, tokenizer = loaded.model, loaded.tokenizer
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    stops = [token for token in range(len(tokenizer)) if "\n" in tokenizer.decode([token])]
    ends = [*stops, tokenizer.eos_token_id]

    def run(prompts: list[str], size: int) -> Answers:
        before, texts = cpu_seconds(), []
        for start in range(0, len(prompts), size):
            given = tokenizer(prompts[start : start + size], return_tensors="pt", padding=True)
            with torch.inference_mode():
                ids = model.generate(
                    **given,
                    max_new_tokens=NEW_TOKENS,
                    do_sample=False,
                    eos_token_id=ends,
                    pad_token_id=tokenizer.pad_token_id,
                )
            texts += tokenizer.batch_decode(ids[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        return Answers([text.partition("\n")[0] for text in texts], cpu_seconds() - before)

    return run


def _llama_cpp(python: str, threads: int) -> Callable[[list[str]], Answers] | None:
    """llama.cpp in a separate process, on the same file; None if `python` has no llama_cpp."""
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
    from_child.readline()  # wait until it is loaded

    def answer(prompts: list[str]) -> Answers:
        to_child.write(json.dumps(prompts) + "\n")
        to_child.flush()
        return Answers(*json.loads(from_child.readline()))

    return answer


def _product_rate(layer: Any, dtype: str) -> float:
    """FLOP per CPU second of a layer's matrix products in sequence; the best of ten."""
    import torch

    weights = [weight.detach().to(getattr(torch, dtype)) for weight in layer.parameters() if weight.ndim == 2]
    inputs = [torch.randn(RATE_TOKENS, weight.shape[1]).to(weight.dtype) for weight in weights]
    outputs = [torch.empty(RATE_TOKENS, weight.shape[0], dtype=weight.dtype) for weight in weights]
    flop = 10 * 2 * RATE_TOKENS * sum(weight.numel() for weight in weights)
    best = 0.0
    for _ in range(10):
        before = cpu_seconds()
        for _ in range(10):
            for given, weight, out in zip(inputs, weights, outputs, strict=True):
                torch.mm(given, weight.T, out=out)
        best = max(best, flop / (cpu_seconds() - before))
    return best


if __name__ == "__main__":
    main()
