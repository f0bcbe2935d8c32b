"""The README.md of an exported model: how it was made and from what, what was measured, and how to load it.

It gives the number of documents, but none of their text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acclimate.base import models
from acclimate.base.errors import AcclimateError
from acclimate.base.version import __version__
from acclimate.deploy.exports.model_sides import Side
from acclimate.deploy.exports.source import Source
from acclimate.measure.measures import MAIN
from acclimate.report import sentences
from acclimate.report.report import Report
from acclimate.search.names import SystemName

_LICENSE = re.compile(r"^license:[ \t]*['\"]?([\w.+-]+)", re.MULTILINE)
_DOCUMENT = "The text of a document is its title, a blank and its text."
_TITLES = {"dense": "Dense", "late-interaction": "Late-interaction", "sparse": "Sparse", "static": "Static"}


def card(source: Source, member: str, side: Side, loading: Sequence[str] = ()) -> str:
    """The model card of one side of a member, in Markdown. loading: more lines on how to load it."""
    name = SystemName(member)
    what = "queries" if side.task == "query" else "documents"
    other_side = "document" if side.task == "query" else "query"
    return "\n".join(
        [
            *_front(source.run.settings["distill"]["base"], side),
            f"# {_TITLES[side.kind]} encoder of {what}",
            "",
            f"{origin(source, name, side)} It reads {what} up to {side.max_tokens} tokens"
            + (f", with `{side.prompt}` before each text" if side.prompt else "")
            + f"; `../{other_side}` reads the other side. Vectors of both are compared by {_SIMILARITY[side.kind]}."
            + (f" {_DOCUMENT}" if side.task == "document" else ""),
            "",
            "## How to load it",
            "",
            *_loading(side),
            *loading,
            *provenance(source, (name,)),
        ]
    )


def origin(source: Source, name: SystemName, side: Side) -> str:
    """A sentence on what a side was made from, and whether it was trained."""
    base, distilled = _plain_name(source.run.settings["distill"]["base"]), source.outputs.get("distill")
    if name.is_adapted and distilled and (side.task == "query" or not distilled.notes[side.kind]["keeps_index"]):
        return f"It was initialized from {base} and trained for the documents below."
    if side.kind == "sparse" or (side.kind == "static" and side.task == "query"):
        return f"It was made from {base} and the documents below, without training."
    return f"It is {base} without training."


def reranker_card(source: Source, base: str) -> str:
    """The model card of the cross-encoder, in Markdown."""
    return "\n".join(
        [
            "---",
            "library_name: sentence-transformers",
            "pipeline_tag: text-ranking",
            *_license(base),
            "---",
            "",
            "# Reranker",
            "",
            "A cross-encoder: it reads a query with a document and outputs one relevance logit. "
            f"It was initialized from {_plain_name(base)} and trained for the documents below. {_DOCUMENT}",
            "",
            "## How to load it",
            "",
            "```python",
            "from sentence_transformers import CrossEncoder",
            "",
            f'model = CrossEncoder("FOLDER", max_length={source.run.settings["train"]["max_tokens"]})',
            'scores = model.predict([("a query", "a document")])  # logits',
            "```",
            "",
            "```python",
            "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
            "",
            'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
            'model = AutoModelForSequenceClassification.from_pretrained("FOLDER")',
            'pairs = tokenizer(["a query"], ["a document"], truncation="only_second", return_tensors="pt")',
            "scores = model(**pairs).logits[:, 0]",
            "```",
            "",
            "Text Embeddings Inference: `text-embeddings-router --model-id FOLDER`, then `POST /rerank`; with",
            "`raw_scores` it gives logits.",
            "",
            *provenance(source, (source.name,)),
        ]
    )


def provenance(source: Source, names: tuple[SystemName, ...]) -> list[str]:
    """How the model was made, from what, and the measures of these systems, the baseline and the recommended one."""
    run, outputs = source.run, source.outputs
    report = Report.read(run.workspace.folder)
    generated, kept = outputs["generate"].manifest["out"], outputs["filter"].manifest["out"]
    learned = {name: run.settings[name] for name in ("train", "distill") if name in outputs}
    shown = dict.fromkeys([*names, source.name, report["baseline"], report["recommended"]])
    rows = {row["name"]: row for row in report["systems"]}
    written = "that were given" if run.provided.brings_queries else f"written by {_plain_name(report['models']['llm'])}"
    caveat = sentences.CAVEATS[report["verdict_basis"]]
    measured = sentences.QUERIES[report["verdict_basis"]] + (f", {caveat}" if caveat else "")
    return [
        "## Training data",
        "",
        f"- Documents: {_plain_name(report['corpus']['name'])}, {report['corpus']['documents']:,} of them.",
        f"- Queries: {generated:,} {written}, {kept:,} kept.",
        f"- Recipe: {report['recipe']}, seed {report['seed']}, acclimate {__version__}.",
        *(f"- Settings of {stage}: {_plain(settings)}." for stage, settings in learned.items()),
        "",
        "## Evaluation",
        "",
        f"{sentences.verdict(report)}: {report['candidate']} against {report['baseline']}. These are "
        f"{report['queries']['count']:,} {measured}.",
        "",
        f"| system | {MAIN} | 95% interval |",
        "| --- | --- | --- |",
        *(_row(rows[name]) for name in shown if name in rows),
        "",
    ]


def _row(system: dict[str, Any]) -> str:
    low, high = system["intervals"][MAIN]
    return f"| {system['name']} | {system['measures'][MAIN]:.3f} | {low:.3f} to {high:.3f} |"


def _plain(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in settings.items() if value not in ("", (), [], 0, 0.0))


def _short(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else _plain_name(str(value))


def _plain_name(name: str) -> str:
    """A model's name; for a local path only its last part, so that cards name no local folders."""
    return Path(name).stem if Path(name).is_absolute() or Path(name).exists() else name


_SIMILARITY = {
    "dense": "their cosine",
    "static": "their cosine",
    "sparse": "their dot product",
    "late-interaction": "MaxSim: the best dot product in the document for each query vector, averaged",
}


def _front(base: str, side: Side) -> list[str]:
    """The front matter of a card, which the hub reads."""
    return [
        "---",
        "library_name: sentence-transformers",
        f"pipeline_tag: {'sentence-similarity' if side.kind in ('dense', 'static') else 'feature-extraction'}",
        "tags:",
        "- sentence-transformers",
        *(["- sparse-encoder"] if side.kind == "sparse" else []),
        *_license(base),
        "---",
        "",
    ]


def _license(base: str) -> list[str]:
    """Front matter naming the base model and, if its card states one, its license."""
    is_hub = not base.startswith("embedded:") and "/" in base and not Path(base).exists()
    named = [f"base_model: {base.partition('@')[0]}"] if is_hub else []
    try:
        text = (models.folder(base) / "README.md").read_text(encoding="utf-8", errors="replace")
    except (OSError, AcclimateError):
        text = ""
    match = _LICENSE.search(text.partition("\n---")[0])
    return [*named, f"license: {match[1]}" if match else "# license: that of the base, whose folder does not state it"]


def _loading(side: Side) -> list[str]:
    library = {"sparse": "SparseEncoder", "late-interaction": "MultiVectorEncoder"}.get(
        side.kind, "SentenceTransformer"
    )
    since = {"sparse": "6 (5 for queries)", "late-interaction": "6"}.get(side.kind, "4 to 6")
    encode = "encode" if library == "SentenceTransformer" else f"encode_{side.task}"
    lines = [
        f"sentence-transformers {since}:",
        "",
        "```python",
        f"from sentence_transformers import {library}",
        "",
        f'vectors = {library}("FOLDER").{encode}(["a text"])',
        "```",
        "",
    ]
    if side.kind == "dense" and (pooled := pooling_in_words(side)):
        lines += [
            "transformers:",
            "",
            "```python",
            "import torch",
            "from transformers import AutoModel, AutoTokenizer",
            "",
            'tokenizer, model = AutoTokenizer.from_pretrained("FOLDER"), AutoModel.from_pretrained("FOLDER")',
            f"texts = [{side.prompt + 'a text'!r}]",
            f"limits = dict(padding=True, truncation=True, max_length={side.max_tokens})",
            'batch = tokenizer(texts, **limits, return_tensors="pt")',
            "with torch.inference_mode():",
            "    states = model(**batch).last_hidden_state",
            pooled,
            "vectors = torch.nn.functional.normalize(vectors, dim=-1)",
            "```",
            "",
            "Text Embeddings Inference and vLLM, one server per side:",
            "",
            "```",
            "text-embeddings-router --model-id FOLDER"
            + (f" --default-prompt '{side.prompt}'" if side.prompt else "") + " --auto-truncate",
            "vllm serve FOLDER --runner pooling",
            "```",
            "",
        ]  # fmt: skip
    return lines


def pooling_in_words(side: Side) -> str | None:
    """The line of PyTorch that pools `states` and `batch` into `vectors`; None if one line is not enough."""
    if [type(module).__name__ for module in side.modules] != ["Transformer", "Pooling", "Normalize"]:
        return None
    if side.prompt and not side.modules[1].include_prompt:
        return None
    mode = side.modules[1].pooling_mode
    mask = 'batch["attention_mask"][..., None]'
    lines = {"mean": f"vectors = (states * {mask}).sum(1) / {mask}.sum(1)", "cls": "vectors = states[:, 0]"}
    return lines.get(mode if isinstance(mode, str) else "+".join(mode))
