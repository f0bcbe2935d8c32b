"""The reranker of a run as a folder of transformers: `AutoModelForSequenceClassification`, or plain `CrossEncoder`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acclimate.base import models
from acclimate.base.errors import DataError
from acclimate.base.files import atomic_folder, read_json, write_json, write_text
from acclimate.deploy.exports import model_checks as checks
from acclimate.deploy.exports.model_card import reranker_card
from acclimate.deploy.exports.model_folders import mend_tokenizer
from acclimate.deploy.exports.source import Source
from acclimate.search.scorers import kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OURS = (
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
)  # files of newer sentence-transformers
_PAIRS = 20
_CLOSE = {"float32": 1e-3, "bfloat16": 0.02}  # of the largest logit, by the precision of ours; read back, it is float32


def write_reranker(source: Source, folder: Path) -> tuple[int, str]:
    """Write and check the trained rerankers; returns their number, and a sentence on how they compare.

    Raises DataError for a reranker that the run did not train, and for one that is no classifier.
    """
    trained = source.outputs.get("train")
    assert trained is not None
    if "given" in trained.notes:
        raise DataError(f"the reranker of this run is {trained.notes['given']}, which this run did not change")
    scorers = trained.scorers(source.run)
    base, limit = source.run.settings["train"]["base"], source.run.settings["train"]["max_tokens"]
    worst = 0.0
    for name, scorer in scorers.items():
        saved, into = trained.folder / name, folder if len(scorers) == 1 else folder / name
        if (kind := kind_of(str(saved))) != "cross-encoder":
            raise DataError(
                "a language model is no classifier, so it is not exported as a reranker; acclimate reads it from this "
                f"folder, as {kind}:FOLDER; export the rest with --system {source.name.first}",
                path=saved,
            )
        if not into.exists():
            with atomic_folder(into) as partial:
                _copy(saved, partial)
                write_text(partial / "README.md", reranker_card(source, base))
        docs = checks.documents(source)[:_PAIRS]
        queries = [source.queries[place % len(source.queries)] for place in range(len(docs))]
        pairs = [(query, doc) for query, (_, doc) in zip(queries, docs, strict=True)]
        texts = [(query.text, doc.default_text()) for query, doc in pairs]
        ours = np.array(scorer.score([(query, doc.doc_id) for query, doc in pairs]))
        worst = max(worst, difference(ours, checks.rated(into, texts, limit), into))
    return len(scorers), f"reranker: scores of {_PAIRS} pairs differ by {worst:.6f} at most"


def difference(ours: NDArray[np.floating], theirs: NDArray[np.floating], folder: Path) -> float:
    """The largest difference between scores of the same pairs; raises DataError if it is more than rounding."""
    worst = float(np.abs(ours - theirs).max())
    allowed = _CLOSE[models.dtype_name()] * max(1.0, float(np.abs(theirs).max()))
    if not worst <= allowed:
        raise DataError(f"read back, a score is {worst:.4f} from ours; expected at most {allowed:.4f}", path=folder)
    return worst


def _copy(saved: Path, folder: Path) -> None:
    for path in saved.iterdir():
        if path.is_file() and path.name not in _OURS:
            shutil.copyfile(path, folder / path.name)  # not the mode, which is 600
    config = read_json(folder / "config.json")
    config["torch_dtype"] = config.get("dtype", "float32")
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity"}
    write_json(folder / "config.json", config)
    mend_tokenizer(folder / "tokenizer_config.json")
