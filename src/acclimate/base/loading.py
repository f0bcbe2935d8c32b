"""Loading models, and checking before a run that they can be loaded.

The check reads everything but the weights: the configuration, the header of each weights file, the tokenizer. It
refuses, naming the file, a model that cannot be loaded or that transformers would load with missing weights filled in
at random.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

from acclimate.base import distributed, files, models
from acclimate.base.errors import AcclimateError, DataError, OutOfMemory, is_out_of_memory
from acclimate.base.kinds import kind_of
from acclimate.base.model_values import check_values
from acclimate.base.tensor_files import Shapes, weight_shapes
from acclimate.base.text import counted, reason_of

_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
)
_RENAMED = {"gamma": "weight", "beta": "bias"}  # of layer norms in old checkpoints

LANGUAGE_MODEL = "language model"  # a kind of model: whatever writes text
OF_ANY_LIBRARY = "model of any library"  # a kind, too: transformers, which may not know it, does not run it


@contextmanager
def loading(name: str | Path) -> Iterator[None]:
    """Log that a model is being loaded, and do so as `naming`."""
    distributed.say("", f"loading {name}")
    with naming(name):
        yield


@contextmanager
def naming(name: str | Path) -> Iterator[None]:
    """Silence the libraries that load a model or its tokenizer, and make their errors name it."""
    try:
        with quiet():
            yield
    except AcclimateError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"not enough memory for {name}; choose a smaller model") from error
        raise DataError(f"the model could not be loaded: {reason_of(error)}", path=name) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the progress bars and warnings of the libraries that load, save and train models."""
    from transformers.utils import logging

    advice = getLogger("sentence_transformers")
    level = advice.level
    advice.setLevel(ERROR)
    gguf_loader: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    had_bars, verbosity, bar = logging.is_progress_bar_enabled(), logging.get_verbosity(), gguf_loader.tqdm
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    gguf_loader.tqdm = functools.partial(bar, disable=True)  # ignores transformers' setting
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        advice.setLevel(level)
        gguf_loader.tqdm = bar
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()


def check_model(name: str, kind: str | None = "encoder") -> None:
    """Raise DataError if the model cannot be loaded, without reading its weights.

    kind: what the model must be: encoder, cross-encoder, monot5, decoder, language model, or of any library, of which
    only the files are checked; None: as its configuration says. Language models may have tensors of other names, as
    mixtures of experts do, so these are compared on loading.
    """
    model = models.resolve(name)
    if model.gguf_file:
        if not name.startswith("embedded:"):  # of which `resolve` has verified the bytes
            _check_gguf(Path(model.path_or_id) / model.gguf_file, kind)
        return
    folder = models.folder(name)
    transformer = transformer_folder(folder)
    models.check_modules(folder)
    if transformer is not None:
        check_values(folder, transformer)
        _check_folder(transformer, kind)


def transformer_folder(folder: Path) -> Path | None:
    """The subfolder that holds the transformer: that of the first module, or the folder itself.

    None for an adapter. Raises DataError if the first module is not a transformer.
    """
    modules = models.modules_of(folder)
    if not modules:
        return folder if (folder / "config.json").exists() or not (folder / "adapter_config.json").exists() else None
    kind = str(modules[0].get("type")).rpartition(".")[2]
    if kind != "Transformer":
        raise DataError(
            f"the first module is a {kind}; expected a Transformer, with a vector for each token (no student whose "
            "index stays, and no static model)",
            path=folder / "modules.json",
        )
    return folder / str(modules[0].get("path", ""))


def _check_folder(folder: Path, kind: str | None) -> None:
    _config(folder)
    weights = weight_shapes(folder)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise DataError(f"no tokenizer in this folder; expected one of {', '.join(_TOKENIZERS)}", path=folder)
    models.check_tokenizer_library(folder)
    rows = None
    if kind != OF_ANY_LIBRARY:
        model = empty_model(folder, kind)
        if kind != LANGUAGE_MODEL:
            _check_weights(folder, model, weights)
            rows = model.get_input_embeddings().weight.shape[0]
    _check_tokenizer(folder / "tokenizer.json", rows)


def _check_gguf(path: Path, kind: str | None) -> None:
    with files.open_bytes(path) as file:
        if file.read(4) != b"GGUF":
            raise DataError("not a GGUF file; download or convert it again", path=path)
    if kind != OF_ANY_LIBRARY:  # which may know more types of tensors
        try:
            importlib.import_module("gguf").GGUFReader(path)  # maps every tensor, reads none
        except Exception as error:
            raise DataError(f"damaged or cut short ({reason_of(error)}); download it again", path=path) from None


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise DataError("no config.json in this folder; expected the folder of a model", path=folder)
    config = files.read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise DataError("no configuration of a model; expected a JSON object", path=folder / "config.json")
    return config


def empty_model(folder: Path, kind: str | None = None) -> Any:
    """The model on torch's meta device, without weights. Raises DataError if the configuration is unusable."""
    import torch
    import transformers

    config = _config(folder)
    kind = kind or kind_of(config)
    if (architecture := config.get("model_type")) not in transformers.CONFIG_MAPPING:
        raise DataError(
            f"model_type is {architecture!r}, which transformers {transformers.__version__} does not know; custom "
            "model code is never run",
            path=folder / "config.json",
        )
    auto_class = {
        "encoder": transformers.AutoModel,
        "cross-encoder": transformers.AutoModelForSequenceClassification,
        "monot5": transformers.AutoModelForSeq2SeqLM,
        "decoder": transformers.AutoModelForCausalLM,
        LANGUAGE_MODEL: None,
    }[kind]
    try:
        settings = transformers.AutoConfig.from_pretrained(str(folder))
        with quiet(), torch.device("meta"):
            return (auto_class or llm_class(settings)).from_config(settings)
    except Exception as error:
        raise DataError(f"no {kind} can be made from it: {reason_of(error)}", path=folder / "config.json") from None


def llm_class(config: Any) -> Any:
    """The class of transformers that loads an LLM."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def _check_weights(folder: Path, model: Any, weights: Shapes) -> None:
    """Raise DataError for tensors of a wrong shape, or missing ones, which transformers would initialize randomly."""
    shapes = {canonical_name(name, model): shape for name, shape in weights.items()}
    tied: dict[int, list[str]] = {}  # the names of each parameter, of which the file must have at least one
    expected: dict[int, tuple[int, ...]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        tied.setdefault(id(weight), []).append(canonical_name(name, model))
        expected[id(weight)] = tuple(weight.shape)
    missing = [names[0] for names in tied.values() if shapes.keys().isdisjoint(names) and "pooler" not in names[0]]
    if 2 * len(missing) > len(tied):
        return  # the file uses other names, which transformers translates
    if missing:
        raise DataError(
            f"{len(missing)} of its {counted(len(tied), 'tensor')} are not in its weights, {missing[0]} among them; "
            "download it again",
            path=folder,
        )
    for key, names in tied.items():
        shape = next((shapes[name] for name in names if name in shapes), expected[key])
        if shape != expected[key]:
            raise DataError(
                f"{names[0]} has shape {list(shape)} in its weights and {list(expected[key])} by its config.json",
                path=folder,
            )


def canonical_name(name: str, model: Any) -> str:
    """A tensor's name without the base model's prefix, and with the current names of layer-norm weights."""
    *parts, last = name.removeprefix(f"{model.base_model_prefix}.").split(".")
    return ".".join([*parts, _RENAMED.get(last, last)])


def _check_tokenizer(path: Path, rows: int | None) -> None:
    """Raise DataError for a tokenizer that cannot be read or, if `rows` are known, has tokens without an embedding."""
    if not path.is_file():
        return
    from tokenizers import Tokenizer

    try:
        tokens = Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
    except Exception as error:
        raise DataError(f"the tokenizer could not be read: {error}", path=path) from None
    if rows is not None and tokens and max(tokens.values()) >= rows:
        raise DataError(
            f"it has a token {max(tokens.values())}, and the model embeds {rows:,}: they do not match",
            path=path,
        )
