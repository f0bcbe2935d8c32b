"""Rerankers learn from n-way examples: a cross-encoder, monoT5 or a decoder LLM; one, or one per prompt or part.

The losses compare the documents of one query with each other unless another is asked for: pointwise ones are behind on
every collection of the Rank-DistiLLM reproduction (arXiv 2603.03010). How one learns is in `rerankers.training`.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from acclimate import __version__
from acclimate.base import distributed, models
from acclimate.base.domains import Above, AtLeast, Between, OneOf
from acclimate.base.draw import subset
from acclimate.base.errors import DataError, MissingExtra, SettingError
from acclimate.base.files import fingerprint, read_state, write_json
from acclimate.learn.rerankers.groups import NAME, ONE, PROMPT, Group, grouped, number_of
from acclimate.records import Doc, NWay
from acclimate.run.settings import checked, settings_of
from acclimate.search import scorers
from acclimate.search.scorers.template import AUTO, TEMPLATES

LOSSES = ("listwise", "lambda", "ranknet", "margin-mse", "bce", "token")
MERGES = ("none", "average", "slerp")
SCHEDULES = ("linear", "constant")
PRECISIONS = ("auto", "float32", "bfloat16")
_FEWEST_TOKENS = 8  # a pair's special ones take up to four


class Trained(NamedTuple):
    """Where the rerankers are, by name, and how their training went."""

    paths: dict[str, Path]
    notes: dict[str, Any]

    @property
    def path(self) -> Path:
        """The only one, or what several were merged into. Raises ValueError when there are several."""
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
) -> Trained:
    """Train rerankers into `folder`: `reranker`, or `reranker-PROMPT` or `reranker-NUMBER` where there are several.

    `texts` holds the text of each query by id, `prompts` the prompt that asked for it. Plain libraries load what comes
    out: `CrossEncoder(path)`, transformers' T5 and Llama, peft. Of several rerankers, those that an interrupted or a
    smaller run left done are kept. Raises DataError without training or held-out examples: the choice between
    checkpoints needs both.

    Parameters
    ----------
    base
        Model to start from: a reranker or any encoder; a T5, Flan-T5 or mT5; or a decoder LLM.
    template
        What a language model is asked: monot5, mt5, flan, plain, chat; auto: what its folder or vocabulary says.
    loss
        listwise (softmax over the documents of a query), lambda (LambdaLoss), ranknet, margin-mse (margins of teacher
        scores), bce (pairs by themselves), token (pairs, over the vocabulary, as monoT5 was made; language models).
    n_ways
        Documents per query to learn from, the positive among them; 0: all that were mined.
    max_queries
        Train each reranker on this many queries at most; drawn where there are more.
    epochs
        Times that every query is seen.
    learning_rate
        AdamW's learning rate, or its peak.
    schedule
        linear (a tenth of the steps up to the peak, then down to nothing) or constant.
    weight_decay
        AdamW's weight decay.
    batch_size
        Queries read together, with all their documents.
    gradient_accumulation
        Batches per step.
    mini_batch_size
        Pairs that listwise, lambda and ranknet send through the model together.
    precision
        What training computes in: float32, bfloat16, or auto (bfloat16 where this machine is fast at it).
    evaluations
        Times that the loss on held-out queries is taken; the weights kept are those where it was lowest.
    patience
        Stop after this many of them without a lower one; 0: never.
    lora_rank
        Decoders: the rank of the adapters that are trained in place of the weights; 0 trains all weights.
    max_tokens
        Tokens of query and document together, prompt included; the document is cut.
    rerankers
        one; prompt (one per prompt that wrote the queries, as UDAPDR); or a number of equal parts.
    min_queries
        Prompts with fewer queries teach one reranker together; a part with fewer is an error.
    merge
        Of several rerankers make one: none (they rate together), average or slerp (of their weights).
    """
    given = locals()
    settings = {name: given[name] for name in (*settings_of(train), "seed")}
    check_base(**settings)
    if not examples or not dev:
        raise DataError(f"{len(examples)} training and {len(dev)} held-out examples; expected both (more documents?)")
    from acclimate.learn.rerankers.hyperparameters import Hyperparameters
    from acclimate.learn.rerankers.training import remove_checkpoints, train_reranker

    hyperparameters = Hyperparameters(**{name: settings[name] for name in Hyperparameters.__dataclass_fields__})
    groups = [
        _limited(group, n_ways, max_queries, seed)
        for group in grouped(examples, dev, prompts or {}, rerankers=rerankers, min_queries=min_queries, seed=seed)
    ]
    for group in groups:
        if min(len(group.dev), len(group.examples) // batch_size) < distributed.size() > 1:
            raise DataError(
                f"{group.name}: {len(group.examples)} training and {len(group.dev)} held-out queries are too few for "
                f"{distributed.size()} processes with batches of {batch_size}; start fewer"
            )
    several = len(groups) > 1
    keys = {group.name: _key(group, texts, corpus, settings) for group in groups}
    notes = {name: found for name, key in keys.items() if several and (found := _done(folder, name, key))}
    notes = distributed.broadcast(notes)
    if distributed.is_main():
        _clear(folder, {*notes, "checkpoints"})
    sizes = [hyperparameters.steps(group.examples) * hyperparameters.queries_at_once for group in groups]
    for at, group in enumerate(groups):
        if group.name in notes:
            continue
        before = sum(sizes[:at])
        notes[group.name] = train_reranker(
            group.examples,
            group.dev,
            texts,
            corpus,
            folder,
            group.name,
            hyperparameters,
            key=keys[group.name],
            progress=lambda done, _, before=before: progress(before + done, sum(sizes)),
        ) | ({"prompts": list(group.prompts)} if group.prompts else {})
        if distributed.is_main():
            if several:
                write_json(folder / f"{group.name}.json", {"key": keys[group.name], "notes": notes[group.name]})
            remove_checkpoints(folder)
    if distributed.is_main():
        remove_checkpoints(folder)  # of a killed run, where all that it was to make is there
    paths = {group.name: folder / group.name for group in groups}
    told: dict[str, Any] = {
        "queries": sum(len(group.examples) for group in groups),
        "steps": sum(one["steps"] for one in notes.values()),
        "rerankers": [notes[group.name] for group in groups],
    }
    if merge != "none" and several and distributed.is_main():
        told["merged"] = _merged(paths, folder, sorted(dev), n_ways, texts, corpus, hyperparameters.max_tokens, merge)
        paths = {NAME: folder / NAME}
    for one in [*told["rerankers"], *([told["merged"]] if "merged" in told else [])]:
        if one["collapsed"]:
            distributed.warn("train", collapse(one))
    return Trained(paths, told)


def collapse(note: Mapping[str, Any]) -> str:
    """What to tell people about a reranker that has collapsed."""
    return (
        f"{note['name']} has collapsed: it learned nothing that helps on held-out queries (nDCG@10 "
        f"{note['dev_ndcg']:.3f}, scores of a list differ by {note['spread']:.2g}). Lower train.learning_rate, or "
        "train on more queries."
    )


def check_base(*, base: str, template: str, loss: str, lora_rank: int, rerankers: str, merge: str, **_: Any) -> None:
    """Raises SettingError for settings of `train` that the base cannot follow, MissingExtra, without its weights."""
    kind = scorers.kind_of(base)
    if kind == "cross-encoder" and loss == "token":
        raise SettingError("train.loss is token, and a cross-encoder answers with no token; expected bce")
    if kind == "monot5":
        scorers.check_asked(base, template)
    if kind == "decoder" and lora_rank:
        check_lora()
        if scorers.is_adapter(base):
            raise SettingError(
                f"train.base, {base}, is an adapter, and no other can be put on it; set train.lora_rank=0, or name its "
                "own base"
            )
        if merge != "none" and number_of(rerankers) != 1 and rerankers != "one":
            raise SettingError(
                f"train.merge is {merge}, and adapters cannot be merged number by number; set train.lora_rank=0 or "
                "train.merge=none"
            )


def check_lora() -> None:
    """Raises MissingExtra without the library that trains adapters."""
    if importlib.util.find_spec("peft") is None:
        raise MissingExtra("A decoder's adapter (train.lora_rank above 0)", "pip install 'acclimate[lora]'")


def _limited(group: Group, n_ways: int, max_queries: int, seed: int) -> Group:
    """The same with as many queries, drawn, and the first documents of each."""
    examples = sorted(subset(group.examples, max_queries, seed), key=lambda example: example.query_id)
    dev = sorted(group.dev, key=lambda example: example.query_id)
    return group._replace(examples=_cut(examples, n_ways), dev=_cut(dev, n_ways))


def _cut(examples: Sequence[NWay], n_ways: int) -> list[NWay]:
    if not n_ways:
        return list(examples)
    return [NWay(one.query_id, one.doc_ids[:n_ways], one.scores[:n_ways]) for one in examples]


def _key(group: Group, texts: Mapping[str, str], corpus: Mapping[str, Doc], settings: Mapping[str, Any]) -> str:
    """Of all that a reranker is made from."""
    alone = {name: value for name, value in settings.items() if name not in ("rerankers", "merge", "min_queries")}
    sides = (group.examples, group.dev)
    docs = sorted({doc_id for side in sides for example in side for doc_id in example.doc_ids})
    return fingerprint(
        __version__,
        models.dtype_name(),
        models.weights_fingerprint(settings["base"]),
        alone,
        [[(texts[example.query_id], *example) for example in side] for side in sides],
        [corpus[doc_id] for doc_id in docs],
    )


def _done(folder: Path, name: str, key: str) -> dict[str, Any] | None:
    """The notes of a reranker that is there already, made from the same."""
    return read_state(folder / f"{name}.json", key).get("notes") if (folder / name).is_dir() else None


def _clear(folder: Path, kept: set[str]) -> None:
    """Remove rerankers that are not to be kept, whole or not."""
    for path in sorted(folder.glob(f"{NAME}*")):
        if path.name.removesuffix(".json") not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _merged(
    paths: Mapping[str, Path],
    folder: Path,
    dev: Sequence[NWay],
    n_ways: int,
    texts: Mapping[str, str],
    corpus: Mapping[str, Doc],
    max_tokens: int,
    method: str,
) -> dict[str, Any]:
    """Write the merged reranker, and measure it on all held-out queries."""
    from acclimate.learn.rerankers.merge import merge as merge_weights
    from acclimate.learn.rerankers.ranking import FLAT, ranking_of
    from acclimate.records import Query

    merge_weights(list(paths.values()), folder / NAME, method=method)
    scorer = scorers.load(folder / NAME, corpus, max_tokens=max_tokens)
    lists = _cut(dev, n_ways)
    scores = iter(
        scorer.score([(Query(one.query_id, texts[one.query_id]), doc) for one in lists for doc in one.doc_ids])
    )
    ndcg, spread = ranking_of([[next(scores) for _ in one.doc_ids] for one in lists])
    note = {"name": NAME, "method": method, "of": list(paths), "dev_ndcg": round(ndcg, 5), "spread": round(spread, 5)}
    return note | {"collapsed": not spread >= FLAT}
