"""ONNX: dense encoders for runtimes without torch, in full precision and in eight bits, and what eight bits lose.

`MEMBER/query` and `MEMBER/document` are plain folders, as in the format `hf`. Their `onnx/` holds the graph: it gives
the last hidden states and the pooled, normalized vector. Eight-bit weights are onnxruntime's dynamic quantization,
which needs no calibration texts.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from acclimate.base.errors import DataError
from acclimate.base.loading import quiet
from acclimate.base.text import counted
from acclimate.deploy.exports import model_checks as checks
from acclimate.deploy.exports.formats import Written, needed
from acclimate.deploy.exports.model_folders import write_sides, write_with_card
from acclimate.deploy.exports.model_sides import Side, sides_of
from acclimate.deploy.exports.onnx_graph import write_graph
from acclimate.deploy.exports.source import Source
from acclimate.measure.measures import MAIN, measured
from acclimate.search.encoded import Encoded, Task
from acclimate.search.names import SystemName

WHOLE, EIGHT_BITS = "model.onnx", "model_int8.onnx"
_WHAT, _EXTRA = "An export to ONNX", "onnx"


@dataclass(frozen=True)
class Graph:
    """An encoder that computes a folder's graph with onnxruntime; can replace a member's own."""

    path: Path
    prompt: str
    max_tokens: int

    @property
    def fingerprint(self) -> str:
        return f"onnx {self.path}"

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Vectors of each text, in order; texts are encoded one at a time."""
        encoded: list[Encoded] = []
        for text in texts:
            tokens = self._tokenizer.encode(self.prompt + text)
            columns = {
                "input_ids": tokens.ids, "attention_mask": tokens.attention_mask, "token_type_ids": tokens.type_ids,
            }  # fmt: skip
            names = [part.name for part in self._session.get_inputs()]
            feed = {name: np.array([columns[name]], np.int64) for name in names}
            (vector,) = self._session.run(["sentence_embedding"], feed)
            encoded.append(Encoded(vector[0], np.empty((0, vector.shape[1]), np.float32)))
        return encoded

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.path.parents[1] / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_tokens)
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        runtime = needed("onnxruntime", _WHAT, _EXTRA)
        return runtime.InferenceSession(str(self.path), providers=["CPUExecutionProvider"])


def write(source: Source, folder: Path) -> Written:
    """Write and check the dense encoders of the system.

    Raises MissingExtra without onnx, onnxscript and onnxruntime; DataError for a system without a dense encoder, and
    for a graph that gives other vectors.
    """
    for library in ("onnx", "onnxscript", "onnxruntime"):
        needed(library, _WHAT, _EXTRA)
    names = [name for name in source.members if SystemName(name).retriever == "dense"]
    if not names:
        raise DataError(
            f"{source.name} has no dense encoder, the only kind exported to ONNX; expected another system (--system)"
        )
    notes: dict[str, Any] = {}
    lines = [f"{name}: cannot be exported as a graph" for name in source.members if name not in (*names, "bm25")]
    graphs: dict[str, dict[str, Graph]] = {WHOLE: {}, EIGHT_BITS: {}}
    for name in names:
        into = folder / SystemName(name).file_name
        sides = sides_of(source.run, source.outputs.get("distill"), name)
        query_graphs = into / "query" / "onnx" if sides["document"].modules == sides["query"].modules else None
        write_sides(sides, into, partial(_write_side, source, name, query_graphs))
        for task, side in sides.items():
            for file, by_member in graphs.items():
                graph = Graph(into / task / "onnx" / file, side.prompt, side.max_tokens)
                notes[f"{name} {task} {file}"] = note = _compared(source, name, graph, task)
                lines.append(
                    f"{name} {task}, {file}: cosine {note['mean']:.5f} in the mean, {note['lowest']:.5f} at least"
                )
                if file == WHOLE:  # for eight bits the difference is only reported
                    checks.refuse_others(name, {f"{task} cosine": note["lowest"]}, graph.path)
                if task == "query":
                    by_member[name] = graph
    ours = source.search(source.queries, checks.TOP)
    notes["ndcg"] = {"ours": _ndcg(source, ours)}
    for file, by_member in graphs.items():
        hits = checks.hits_with(source, by_member)
        notes["ndcg"][file], share = _ndcg(source, hits), checks.share_of_top(ours, hits)
        lines.append(
            f"{file} for queries: top-ten overlap with {source.name.first} {share:.4f}; {MAIN} "
            f"{notes['ndcg'][file]:.4f}, and {notes['ndcg']['ours']:.4f} without ONNX, on "
            f"{counted(len(source.queries), 'query')}"
        )
        notes[f"top ten {file}"] = share
    return Written({"graphs": 4 * len(names)}, notes, lines)


def _write_side(source: Source, name: str, query_graphs: Path | None, side: Side, folder: Path) -> None:
    """query_graphs: the graphs of the query side, if one model encodes both."""
    write_with_card(source, name, side, folder, loading=_loading(side))
    if query_graphs is not None and side.task == "document":
        shutil.copytree(query_graphs, folder / "onnx")
    else:
        _write_graphs(side, folder / "onnx")


def _loading(side: Side) -> list[str]:
    """Lines of a model card: how other programs compute vectors by a graph."""
    return [
        f"onnxruntime, with `{WHOLE}`, or `{EIGHT_BITS}`, whose vectors depend a little on what shares a batch:",
        "",
        "```python",
        "import numpy as np",
        "import onnxruntime",
        "from tokenizers import Tokenizer",
        "",
        'tokenizer = Tokenizer.from_file("FOLDER/tokenizer.json")',
        "tokenizer.enable_padding()",
        f"tokenizer.enable_truncation({side.max_tokens})",
        f'session = onnxruntime.InferenceSession("FOLDER/onnx/{WHOLE}", providers=["CPUExecutionProvider"])',
        f"batch = tokenizer.encode_batch([{side.prompt + 'a text'!r}])",
        'columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}',
        "inputs = {",
        "    part.name: np.array([getattr(text, columns[part.name]) for text in batch], np.int64)",
        "    for part in session.get_inputs()",
        "}",
        '(vectors,) = session.run(["sentence_embedding"], inputs)',
        "```",
        "",
    ]


def _write_graphs(side: Side, folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir()
    logging.disable(logging.WARNING)  # onnxruntime suggests other kinds of quantization
    try:
        with quiet():
            write_graph(side, folder / WHOLE)
            # Mean cosine on MiniLM: .97 with one scale per matrix, .994 with one per channel.
            quantize_dynamic(folder / WHOLE, folder / EIGHT_BITS, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(logging.NOTSET)


def _compared(source: Source, name: str, graph: Graph, task: Task) -> dict[str, float]:
    """Mean and lowest cosine with the run's own vectors."""
    texts, ours = checks.sample(source, name, task)
    theirs = [encoded.pooled for encoded in graph.encode(texts)]
    cosines = [float(left @ right) for left, right in zip(ours, theirs, strict=True)]
    return {"mean": float(np.mean(cosines)), "lowest": min(cosines)}


def _ndcg(source: Source, hits: Sequence[Any]) -> float:
    """nDCG@10, averaged over queries."""
    asked = {query.query_id for query in source.queries}
    judged = source.outputs["steer"].measuring(source.run, source.outputs["sample"]).qrels
    values = measured(hits, [qrel for qrel in judged if qrel.query_id in asked], [MAIN])
    return float(np.mean(list(values[MAIN].values())))
