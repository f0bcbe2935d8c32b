"""The decoder that is written out here, against transformers' own forward pass, for every architecture it takes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from tiny import PROMPTS, same, write_causal
from torch.utils._python_dispatch import TorchDispatchMode

from acclimate.llm.backends.local import LocalLLM
from acclimate.llm.decoders import generic, packed
from acclimate.llm.decoders.generic import Generic
from acclimate.llm.decoders.loaded import Loaded
from acclimate.llm.decoders.packed import Packed
from acclimate.llm.decoding import Decoding

WINDOW = {"sliding_window": 9}  # of tokens, fewer than the shared prefix has
QWEN3 = {"head_dim": 16}  # 6 heads of 16 in 48 numbers a token
YARN = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1e4, "original_max_position_embeddings": 256}
MODELS = {
    "llama with biases": ("Llama", {"attention_bias": True, "tie_word_embeddings": True}),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 12, "num_key_value_heads": 3}),
    "mistral with a window": ("Mistral", WINDOW),
    "qwen2": ("Qwen2", {}),
    "qwen2, tied, some layers with a window": (
        "Qwen2",
        {"tie_word_embeddings": True, "use_sliding_window": True, "max_window_layers": 1, **WINDOW},
    ),
    "qwen3": ("Qwen3", QWEN3),
    "qwen3, tied, stretched by yarn": ("Qwen3", {"tie_word_embeddings": True, "rope_parameters": YARN, **QWEN3}),
    "gemma3": (
        "Gemma3",
        {
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "head_dim": 16,
            "query_pre_attn_scalar": 20,
            **WINDOW,
        },
    ),
}
PREFIX = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
ROWS = [[20, 21, 22, 23, 24], [25], [*range(30, 53)], [26, 27]]
WRITTEN = [*zip(*[[60 + 5 * row + step for step in range(14)] for row in range(4)], strict=True)]  # of each step
ALWAYS = pytest.mark.parametrize("for_gpu", [False, True], ids=["as on a CPU", "as on a GPU"])


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    architecture, settings = MODELS[request.param]
    return write_causal(tmp_path_factory.mktemp("model"), architecture, **settings)


def loaded(folder, dtype=torch.float32):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def logprobs_of(model, ids):
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].float().log_softmax(-1)


def steps(decoder, prefix, rows, written):
    """Log-probabilities (B, vocabulary) after the prompts, and after each step's tokens."""
    logits, cache = decoder.start(decoder.prefix(prefix), rows, len(written))
    yield logits.float().log_softmax(-1)
    for tokens in written:
        yield decoder.step(torch.tensor(tokens), cache).float().log_softmax(-1)


def expected_steps(model, prefix, rows, written):
    """The same, of each prompt by itself and of all its tokens at once."""
    whole = [
        logprobs_of(model, [*prefix, *row, *(tokens[place] for tokens in written)])[len(prefix) + len(row) - 1 :]
        for place, row in enumerate(rows)
    ]
    return [torch.stack(each) for each in zip(*whole, strict=True)]


@pytest.fixture(scope="module")
def expected(model):
    """What transformers gives behind a prefix, and without one, by its length."""
    own = loaded(model)
    return {len(prefix): expected_steps(own, prefix, ROWS, WRITTEN) for prefix in (PREFIX, [])}


@ALWAYS
@pytest.mark.parametrize("prefix", [PREFIX, []], ids=["behind a prefix", "alone"])
@pytest.mark.parametrize("piece", [None, 7], ids=["whole", "in pieces"])
def test_every_step_gives_what_transformers_gives(model, expected, for_gpu, prefix, piece, monkeypatch):
    if piece:
        monkeypatch.setattr("acclimate.llm.decoders.packed.GROUP_TOKENS", piece)
        monkeypatch.setattr("acclimate.llm.decoders.packed.GPU_GROUP_TOKENS", piece)
    decoder = Packed(loaded(model), for_gpu=for_gpu)
    for _ in range(2):  # the second time in memory that has been written
        found = list(steps(decoder, prefix, ROWS, WRITTEN))
        assert len(found) == len(expected[len(prefix)]) == 15
        for one, other in zip(found, expected[len(prefix)], strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_who_stays_in_a_batch_goes_on_as_before(model, expected):
    decoder = Packed(loaded(model))
    _, cache = decoder.start(decoder.prefix(PREFIX), ROWS, len(WRITTEN))
    for step, tokens in enumerate(WRITTEN):
        if step == 3:
            cache.keep(torch.tensor([1, 2]))
        stay = [1, 2] if step >= 3 else [0, 1, 2, 3]
        found = decoder.step(torch.tensor(tokens)[stay], cache).log_softmax(-1)
        torch.testing.assert_close(found, expected[len(PREFIX)][step + 1][stay], atol=1e-4, rtol=0)


def test_a_model_that_takes_images_too_reads_text_alike(tmp_path):
    sizes = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 96}
    _, settings = MODELS["gemma3"]
    text = {**sizes, "vocab_size": 320, "num_key_value_heads": 2, "initializer_range": 0.3, **settings}
    text["max_position_embeddings"] = 4096
    config = transformers.Gemma3Config(
        text_config=text, vision_config={**sizes, "image_size": 28, "patch_size": 14}, mm_tokens_per_image=4
    )
    torch.manual_seed(0)
    transformers.Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)
    assert Packed.runs(config)
    whole = Loaded(str(tmp_path), torch.float32)
    assert (whole.context, whole.width) == (4096, 48)
    expected = expected_steps(loaded(tmp_path), PREFIX, ROWS, WRITTEN)
    found = list(steps(Packed(loaded(tmp_path)), PREFIX, ROWS, WRITTEN))
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), atol=1e-4, rtol=0)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(1, 60))
def test_prompts_are_read_in_as_few_groups_as_their_padded_tokens_allow(lengths, most):
    groups = [lengths[first:end] for first, end in packed._groups(lengths, most)]
    assert [length for group in groups for length in group] == lengths
    assert all(len(group) == 1 or max(group) * len(group) <= most for group in groups)
    for group, following in pairwise(groups):
        assert max(*group, following[0]) * (len(group) + 1) > most


@pytest.mark.parametrize("kind", ["as on a CPU", "as on a GPU", "generic"])
def test_texts_are_rated_as_transformers_rates_them(model, kind, monkeypatch):
    monkeypatch.setattr(packed, "PAIRS_AT_ONCE", 32 if kind == "as on a CPU" else 3)
    monkeypatch.setattr(generic, "PAIRS_AT_ONCE", 2)
    starts, rows, start_of_row = (
        [PREFIX, [8], [*range(40, 70)]],
        [[20, 21], [22], [*range(23, 40)], [26, 27, 28], [29]],
        [0, 2, 1, 0, 0],
    )
    own = loaded(model)
    decoder = Generic(own) if kind == "generic" else Packed(loaded(model), for_gpu=kind == "as on a GPU")
    logits = decoder.logits_of(starts, rows, start_of_row, [30, 31])
    logprobs = decoder.logprobs(starts, rows, start_of_row)
    assert len(logits) == len(logprobs) == len(rows)
    for row, start, found, rated in zip(rows, start_of_row, logits, logprobs, strict=True):
        expected = logprobs_of(own, [*starts[start], *row])[len(starts[start]) :]
        assert found.diff().item() == pytest.approx(expected[-1][[30, 31]].diff().item(), abs=1e-4)
        assert rated.tolist() == pytest.approx(
            [float(expected[at][token]) for at, token in enumerate(row[1:])], abs=1e-4
        )


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_texts_are_those_of_transformers_forward_pass_in_any_batch(model, temperature):
    decoding = Decoding(max_new_tokens=16, stop=("e", "9"), temperature=temperature)
    own, plain, as_on_gpu = (LocalLLM(model, decoding, dtype=torch.float32) for _ in range(3))
    own._loaded.__dict__["decoder"] = Generic(own._loaded.model)
    as_on_gpu._loaded.__dict__["decoder"] = Packed(as_on_gpu._loaded.model, for_gpu=True)
    assert isinstance(plain._loaded.decoder, Packed)
    expected, but = own.complete(PROMPTS), 1 if temperature else 0
    for llm in (plain, as_on_gpu):
        same(llm.complete(PROMPTS), expected, but=but)
        same([llm.complete([prompt])[0] for prompt in PROMPTS], expected, but=but)


def test_half_precision_rounds_about_as_transformers_does(model, expected):
    exact = torch.stack(expected[len(PREFIX)])
    rounded = torch.stack(expected_steps(loaded(model, torch.bfloat16), PREFIX, ROWS, WRITTEN))
    found = torch.stack(list(steps(Packed(loaded(model, torch.bfloat16)), PREFIX, ROWS, WRITTEN)))
    errors = [float((one - exact).square().mean().sqrt()) for one in (found, rounded)]
    assert 0 < errors[0] < 1.5 * errors[1]


class Seen(TorchDispatchMode):
    """The operations that are done, with the shapes that they are done on."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        shapes = [(one.dtype, *one.shape) for one in torch.utils._pytree.tree_leaves(args) if torch.is_tensor(one)]
        self.operations.append((str(func), *shapes))
        return func(*args, **(kwargs or {}))


def test_texts_are_rated_by_some_rows_of_the_head_at_a_time(model, monkeypatch):
    """In half precision, too, where no copy of the whole is made: it would be larger than all else that is."""
    own = loaded(model, torch.bfloat16)
    size, width = own.lm_head.weight.shape
    asked = [PREFIX, [8]], [[20, 21], [22], [*range(80, 120)], [26, size - 1]], [0, 1, 1, 0]
    decoder = Packed(own)
    expected = decoder.logprobs(*asked)
    monkeypatch.setattr("acclimate.llm.decoders.packed.HEAD_ROWS", 100)
    with Seen() as seen:
        found = decoder.logprobs(*asked)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    in_full = {tuple(sizes) for _, *shapes in seen.operations for dtype, *sizes in shapes if dtype == torch.float32}
    assert (100, width) in in_full
    assert (size, width) not in in_full


def test_a_step_is_what_a_graph_can_hold(model):
    """The same operations on the same shapes each time, none of which waits for a number or depends on one."""
    decoder = Packed(loaded(model), for_gpu=True)
    _, cache = decoder.start(decoder.prefix(PREFIX), ROWS, len(WRITTEN))
    recorded = []
    for tokens in WRITTEN:
        with Seen() as seen:
            decoder.step(torch.tensor(tokens), cache)
        recorded.append(seen.operations)
    assert len(recorded[0]) > 30
    assert all(operations == recorded[0] for operations in recorded)
    names = {name for name, *_ in recorded[0]}
    assert not {name for name in names if "_local_scalar" in name or "nonzero" in name or "unique" in name}
    assert not [one for one in recorded[0] if ".index." in one[0] and any(shape[0] == torch.bool for shape in one[1:])]


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("Llama", {"mlp_bias": True}),
        ("Llama", {"hidden_act": "gelu"}),
        ("Qwen2", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}),
        ("Gemma3Text", {"final_logit_softcapping": 30.0}),
        ("Gemma3Text", {"use_bidirectional_attention": True}),
        ("Gemma2", {}),
        ("GotOcr2", {}),  # with a Qwen2 inside
        ("Qwen3Moe", {}),
    ],
    ids=str,
)
def test_what_is_not_written_out_is_left_to_transformers(architecture, settings):
    assert not Packed.runs(getattr(transformers, f"{architecture}Config")(**settings))
    if settings:
        assert Packed.runs(getattr(transformers, f"{architecture}Config")())
