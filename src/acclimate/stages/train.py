"""Train rerankers on n-way examples: a cross-encoder, monoT5 or a decoder LLM; one, or one per prompt or part.

By default the loss compares the documents of one query: pointwise losses were worse on every collection of the
Rank-DistiLLM reproduction (arXiv 2603.03010). The training itself is in `learn.rerankers.training`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from acclimate.base import models
from acclimate.base.domains import Above, AtLeast, Between, OneOf
from acclimate.base.errors import SettingError
from acclimate.base.files import read_json
from acclimate.base.progress import Progress
from acclimate.learn.rerankers.checks import check_base, check_steps
from acclimate.learn.rerankers.groups import ONE, PROMPT, n_parts
from acclimate.learn.rerankers.steps import queries_of_a_step
from acclimate.learn.rerankers.texts import Texts
from acclimate.learn.rerankers.train_all import TRAINING_QUERIES, WITHOUT_NEGATIVES, collapse_warnings, train_rerankers
from acclimate.llm.prompts import plain_names
from acclimate.records import Doc, NWay, Scorer
from acclimate.run.estimate import TRAINING_FACTOR, Estimate, token_flop
from acclimate.run.output import Account, StageOutput
from acclimate.run.run import DOCUMENTS, Run
from acclimate.run.settings import checked, settings_of
from acclimate.search import scorers
from acclimate.search.names import RERANKER
from acclimate.search.scorers import named
from acclimate.search.scorers.template import AUTO, TEMPLATES
from acclimate.stages.filter import Filtered
from acclimate.stages.mine import Mined
from acclimate.stages.sample import Sampled

LOSSES = ("listwise", "lambda", "ranknet", "margin-mse", "bce", "token")
MERGES = ("none", "average", "slerp")
OPTIMIZERS = ("adamw", "adafactor")
SCHEDULES = ("linear", "constant")
PRECISIONS = ("auto", "float32", "bfloat16")
_FEWEST_TOKENS = 8  # a pair's special tokens take up to four


class Rerankers(NamedTuple):
    """Paths of the rerankers by name, and notes on their training."""

    paths: dict[str, Path]
    notes: dict[str, Any]

    @property
    def path(self) -> Path:
        """The path of the only reranker, or of the merged one. Raises ValueError if there are several."""
        (path,) = self.paths.values()
        return path


@checked
def train(
    examples: Sequence[NWay],
    dev: Sequence[NWay],
    texts: Mapping[str, str],
    corpus: Mapping[str, Doc],
    folder: Path,
    prompts: Mapping[str, str] | None = None,
    *,
    base: str = "embedded:all-minilm-l6-v2",
    template: Annotated[str, OneOf((*TEMPLATES, AUTO))] = AUTO,
    loss: Annotated[str, OneOf(LOSSES)] = "listwise",
    n_ways: Annotated[int, Between(2, 100_000, besides=(0,))] = 0,
    max_queries: Annotated[int, AtLeast(1)] = 400,
    epochs: Annotated[int, Between(1, 10_000)] = 1,
    max_steps: Annotated[int, Between(0, 1_000_000)] = 0,
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] = "adamw",
    learning_rate: Annotated[float, Above(0, 1)] = 2e-4,
    schedule: Annotated[str, OneOf(SCHEDULES)] = "linear",
    weight_decay: Annotated[float, Between(0, 1)] = 0.01,
    batch_size: Annotated[int, Between(1, 1_000_000)] = 4,
    gradient_accumulation: Annotated[int, Between(1, 1_000_000)] = 1,
    mini_batch_size: Annotated[int, Between(1, 1_000_000)] = 32,
    precision: Annotated[str, OneOf(PRECISIONS)] = "auto",
    evaluations: Annotated[int, Between(1, 10_000)] = 4,
    patience: Annotated[int, AtLeast(0)] = 0,
    lora_rank: Annotated[int, Between(0, 10_000)] = 16,
    max_tokens: Annotated[int, Between(_FEWEST_TOKENS, 1_000_000)] = 160,
    rerankers: Annotated[str, Between(1, 1000, besides=(ONE, PROMPT))] = ONE,
    min_queries: Annotated[int, AtLeast(0)] = 50,
    merge: Annotated[str, OneOf(MERGES)] = "none",
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rerankers:
    """Train the rerankers.

    Writes `folder/reranker`, or `reranker-PROMPT` or `reranker-NUMBER` if there are several. `texts` maps query ids to
    texts, `prompts` to the prompt that asked for the query. The models load in plain libraries: `CrossEncoder(path)`,
    transformers' T5 and Llama, peft. With several rerankers, those that an interrupted or smaller run finished are
    kept. Raises DataError without training or held-out examples, since choosing a checkpoint needs both.

    Parameters
    ----------
    base
        Model to start from: a reranker or any encoder; a T5, Flan-T5 or mT5; or a decoder LLM.
    template
        Prompt of a language model: monot5, mt5, flan, plain or chat; auto derives it from the model's folder or
        vocabulary.
    loss
        listwise (softmax over the documents of a query), lambda (LambdaLoss), ranknet, margin-mse (margins of teacher
        scores), bce (pointwise) or token (pointwise over the vocabulary, as in monoT5; language models only).
    n_ways
        Documents per query to train on, the positive included; 0 uses all that were mined.
    max_queries
        Train each reranker on at most this many queries, sampled if there are more.
    epochs
        Passes over the queries; ignored if max_steps is set.
    max_steps
        Number of optimizer steps, each over batch_size x gradient_accumulation queries, regardless of the number of
        queries; every query is seen once before any is repeated. 0 trains by epochs.
    optimizer
        adamw, or adafactor with steps proportional to the weights, as for T5 and monoT5. Both use learning_rate.
    learning_rate
        Learning rate (peak, with a linear schedule).
    schedule
        linear (warm-up over a tenth of the steps, then decay to zero) or constant.
    weight_decay
        Weight decay of the optimizer.
    batch_size
        Queries per batch, each with all its documents.
    gradient_accumulation
        Batches per optimizer step.
    mini_batch_size
        listwise, lambda, ranknet: number of pairs in one forward pass.
    precision
        Precision of training: float32, bfloat16, or auto (bfloat16 if it is fast on this machine).
    evaluations
        How often to compute the loss on held-out queries; the weights with the lowest loss are kept, never the initial
        ones. 1 evaluates at the end, so the final weights are kept.
    patience
        Stop after this many evaluations without improvement; 0 never stops early.
    lora_rank
        Decoders: rank of the LoRA adapters that are trained instead of the weights; 0 trains all weights.
    max_tokens
        Maximum tokens of query and document together, prompt included; the document is truncated.
    rerankers
        Rerankers to train: one; prompt (one per prompt that wrote queries, as in UDAPDR); or a number, which splits the
        queries into that many parts of about equal size.
    min_queries
        Minimum queries per reranker. Prompts with fewer are pooled into one reranker; a part with fewer is an error.
    merge
        How to combine several rerankers into one: none (use the mean of their scores), average or slerp (of their
        weights).
    """
    arguments = locals()
    settings = {name: arguments[name] for name in (*settings_of(train), "seed")}
    check_steps(**settings)
    check_base(**settings)
    return Rerankers(
        *train_rerankers(
            examples, dev, Texts(texts, corpus), folder, prompts or {}, settings=settings, progress=progress
        )
    )


class Trained(StageOutput):
    """Trained rerankers."""

    stage = "train"

    @cached_property
    def query_ids(self) -> set[str]:
        """All queries that some reranker was trained on; those used to choose checkpoints are not included.

        Raises DataError for a run of an earlier version, which did not record them.
        """
        return {query_id for ids in read_json(self.folder / TRAINING_QUERIES).values() for query_id in ids}

    def scorers(self, run: Run) -> dict[str, Scorer]:
        """The rerankers by name, or only the merged one; each loads on first use."""
        limit = run.settings["train"]["max_tokens"]
        if model := self.notes.get("given"):
            return {RERANKER: named.load_reranker(model, run.input.corpus, max_tokens=limit)}
        merged = self.notes.get("merged")
        names = [merged["name"]] if merged else [note["name"] for note in self.notes["rerankers"]]
        return {name: scorers.load(self.folder / name, run.input.corpus, max_tokens=limit) for name in names}

    def reranker(self, run: Run) -> Scorer:
        """The rerankers as one scorer; several form an ensemble."""
        from acclimate.search.scorers.ensemble import Ensemble

        by_name = self.scorers(run)
        return next(iter(by_name.values())) if len(by_name) == 1 else Ensemble(by_name)

    @property
    def warnings(self) -> list[str]:
        """Warnings about rerankers that collapsed in training."""
        return collapse_warnings(self.notes)


def check(run: Run, *, asks: bool) -> None:
    """Raises SettingError for settings that do not fit the base, or leave no negatives. asks: see `chain.check`."""
    if run.settings["mine"]["n_ways"] == 1:
        raise SettingError(WITHOUT_NEGATIVES)
    check_steps(**run.settings["train"])
    if asks or models.resolve(run.settings["train"]["base"]).is_local:
        check_base(**run.settings["train"])


def pair_flop(run: Run) -> float:
    """FLOP of scoring one (query, document) pair with the provided reranker, or one trained from train.base."""
    model = run.provided.reranker or run.settings["train"]["base"]
    return token_flop(named.split(model)[1]) * run.settings["train"]["max_tokens"]


def n_rerankers(run: Run) -> int:
    """Maximum number of rerankers."""
    wanted = ONE if run.provided.reranker else run.settings["train"]["rerankers"]
    if wanted != PROMPT:
        return n_parts(wanted) or 1
    n_prompts = len(set(plain_names(run.settings["generate"]["prompt"])))
    return n_prompts - 1 + run.settings["seed"]["n_prompts"] if run.seeds_prompts else n_prompts


def estimate(run: Run, n_queries: float) -> Estimate:
    """Cost of training on all queries that settings allow."""
    settings = run.settings["train"]
    n_ways = settings["n_ways"] or run.settings["mine"]["n_ways"]
    if settings["max_steps"]:
        n_read = n_rerankers(run) * settings["max_steps"] * queries_of_a_step(**settings)
    else:
        n_read = min(n_queries, n_rerankers(run) * settings["max_queries"]) * settings["epochs"]
    return Estimate(TRAINING_FACTOR * pair_flop(run) * n_read * n_ways)


def make(run: Run, sampled: Sampled, filtered: Filtered, mined: Mined | None) -> Trained:
    """Train rerankers on the train split; the dev split chooses the checkpoint."""
    assert mined is not None  # the chain makes the stage that is read
    settings = run.settings["train"]

    def work(folder: Path, progress: Progress) -> Account:
        sides = filtered.sides(sampled)
        queries, examples = [*sides["train"], *sides["dev"]], mined.sides(sides)
        result = train(
            examples["train"],
            examples["dev"],
            {query.query_id: query.text for query in queries},
            run.input.corpus,
            folder,
            {query.query_id: query.prompt for query in queries},
            seed=run.seed,
            progress=progress,
            **settings,
        )
        n_queries, n_kept = len(examples["train"]), result.notes["queries"]
        return Account(n_queries, n_kept, {"not drawn": n_queries - n_kept}, notes=result.notes)

    inputs = {
        # Examples have ids of queries, of provided ones their own; filter has the texts and prompts.
        **{output.name: output.fingerprint for output in (mined, sampled, filtered)},
        DOCUMENTS: run.input.corpus.fingerprint,
        "base": named.fingerprint_of(settings["base"]),
    }
    keeps = settings["rerankers"] != ONE
    return run.make(Trained, work, inputs=inputs, unit="queries", together=True, keeps=keeps)
