"""A batch that teaches is divided among cores: its gradients are those of the whole, to the last bit on any number."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from acclimate.base import cores, distributed
from acclimate.learn.attention import float32_attention
from acclimate.learn.data_parallel import PARTS, _Draws, _Dropout, data_parallel, parts_of, with_gradients

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
LENGTHS = 2 * [60, 3, 41, 57, 59, 17, 22, 9, 50, 38, 60, 44, 31, 60]


@pytest.fixture
def on():
    """Call it to compute on so many cores; as before afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def a_model(kind, *, dropout=0.0):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        **SIZES, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, id2label={0: ""}
    )
    model = getattr(transformers, kind)(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))  # fresh ones make all texts alike
    return model.train()


def a_batch(lengths=LENGTHS):
    attended = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(1, 50, attended.shape, generator=torch.Generator().manual_seed(1)) * attended
    return {"input_ids": ids, "attention_mask": attended, "return_dict": True}


def learned(model, batch, *, forward=None, is_mixed=False):
    """(a loss, its gradients by weight) of what the model says of all that is attended to."""
    model.zero_grad()
    torch.manual_seed(2)
    with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
        said = (forward or model)(**batch)
    said = (
        said.get("logits")
        if said.get("logits") is not None
        else said.last_hidden_state * batch["attention_mask"][..., None]
    )
    parts = said.float() * torch.arange(1.0, 1 + said.numel()).view(said.shape) / said.numel()
    loss = parts.flatten(1).sum(dim=1).sum()  # row by row: a sum of all is another one on more cores
    loss.backward()
    return loss.item(), {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def are_equal(first, second):
    return first[0] == second[0] and all(torch.equal(first[1][name], second[1][name]) for name in first[1])


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40))
def test_parts_have_every_row_once_the_longest_first_and_about_as_many_tokens(lengths):
    parts = parts_of(lengths)
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    in_order = [lengths[row] for part in parts for row in part]
    assert in_order == sorted(lengths, reverse=True)
    assert 1 <= len(parts) <= max(1, min(PARTS, sum(lengths) // 256))
    assert max(sum(lengths[row] for row in part) for part in parts) <= sum(lengths) / len(parts) + max(lengths)


@pytest.mark.parametrize("kind", ["BertModel", "BertForSequenceClassification"])
@pytest.mark.parametrize("is_mixed", [False, True], ids=["float32", "bfloat16"])
def test_gradients_are_those_of_the_whole_and_the_same_bits_on_any_number_of_cores(kind, is_mixed, on):
    model, batch = a_model(kind), a_batch()
    whole = learned(model, batch, is_mixed=is_mixed)
    in_parts = []
    with data_parallel(model):
        for n_cores in (1, 2, 3, 1):
            on(n_cores)
            in_parts.append(learned(model, batch, is_mixed=is_mixed))
        forward = with_gradients(model, model, recompute=True)
        in_parts.append(learned(model, batch, forward=forward, is_mixed=is_mixed))
    assert all(are_equal(in_parts[0], other) for other in in_parts)
    assert in_parts[0][1].keys() == whole[1].keys()
    largest = max(gradient.abs().max().item() for gradient in whole[1].values())
    for name, gradient in whole[1].items():
        assert in_parts[0][1][name].numpy() == pytest.approx(
            gradient.numpy(), abs=largest * (0.02 if is_mixed else 1e-5)
        )


@pytest.mark.parametrize("name", ["Roberta", "XLMRoberta", "DistilBert", "MPNet", "Electra", "DebertaV2", "ModernBert"])
def test_models_of_other_shapes_are_divided_alike(name, monkeypatch):
    torch.manual_seed(0)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    config = getattr(transformers, f"{name}Config")(**SIZES, **ids, max_position_embeddings=80)
    model = getattr(transformers, f"{name}ForSequenceClassification")(config).eval()
    exact = learned(model, a_batch())
    rows = []
    whole = type(model).forward
    monkeypatch.setattr(
        type(model), "forward", lambda self, **inputs: rows.append(len(inputs["input_ids"])) or whole(self, **inputs)
    )
    with data_parallel(model):
        parts = learned(model, a_batch())
    assert len(rows) == PARTS
    assert sum(rows) == len(LENGTHS)
    assert parts[0] == pytest.approx(exact[0], rel=1e-3)
    largest = max(gradient.abs().max().item() for gradient in exact[1].values())
    for weight, gradient in exact[1].items():
        assert parts[1][weight].numpy() == pytest.approx(gradient.numpy(), abs=largest * 1e-4), weight


def test_what_is_dropped_follows_from_the_seed_and_not_from_the_number_of_cores(on):
    batch, dropping, whole = (
        a_batch(),
        a_model("BertForSequenceClassification", dropout=0.4),
        a_model("BertForSequenceClassification"),
    )
    with data_parallel(dropping):
        on(1)
        first = learned(dropping, batch)
        on(3)
        assert are_equal(first, learned(dropping, batch))
        assert are_equal(first, learned(dropping, batch, forward=with_gradients(dropping, dropping, recompute=True)))
        drawn = {dropping(**batch).logits.sum().item() for _ in range(3)}
        assert len(drawn) == 3, "each batch draws anew"
        dropping.eval()
        at_rest = dropping(**batch).logits.detach()
    assert first[0] != learned(whole, batch)[0]
    assert at_rest.numpy() == pytest.approx(whole(**batch).logits.detach().numpy(), abs=1e-4)


@given(st.floats(0.05, 0.9), st.integers(0, 2**32), st.sampled_from([torch.float32, torch.bfloat16]))
def test_as_much_is_dropped_as_is_said_and_the_mean_stays(share, seed, dtype):
    draws = _Draws()
    draws.begin(seed)
    kept = _Dropout(share, draws)(torch.ones(3, 6_667, dtype=dtype).T)
    assert (kept == 0).float().mean().item() == pytest.approx(share, abs=0.02)
    assert kept.mean().item() == pytest.approx(1, abs=0.1)


def test_parts_are_at_work_at_the_same_time_each_with_its_own_texts(on, monkeypatch):
    on(PARTS)
    shapes = []
    model = a_model("BertModel")
    whole = type(model).forward
    monkeypatch.setattr(
        type(model),
        "forward",
        lambda self, **inputs: shapes.append((inputs["input_ids"].shape, cores.count())) or whole(self, **inputs),
    )
    with data_parallel(model):
        model(**a_batch())
    assert len(shapes) == PARTS
    assert [shape[1] for shape, _ in shapes] != [max(LENGTHS)] * PARTS, "each is padded to its own longest text"
    assert {count for _, count in shapes} == {1}


def test_nothing_is_left_behind():
    model = a_model("BertModel")
    implementation = model.config._attn_implementation
    with data_parallel(model):
        assert model.config._attn_implementation != implementation
        learned(model, a_batch(), is_mixed=True)
    assert "forward" not in vars(model)
    assert model.config._attn_implementation == implementation
    with torch.no_grad():
        model(**a_batch())


def test_a_step_of_the_optimizer_is_seen_by_the_next_batch():
    model, batch = a_model("BertForSequenceClassification"), a_batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    with data_parallel(model):
        learned(model, batch)
        optimizer.step()
        in_parts = model(**batch).logits
    assert in_parts.detach().numpy() == pytest.approx(model(**batch).logits.detach().numpy(), abs=1e-4)


@pytest.mark.parametrize("case", ["draws", "short", "hidden-states"])
def test_what_cannot_be_divided_passes_whole(case, monkeypatch):
    model = a_model("BertModel")
    if case == "draws":
        model.encoder.layer[1].layer_drop = 0.1  # in a way of its own
    batch = a_batch([4, 3]) if case == "short" else a_batch()
    batch |= {"output_hidden_states": True} if case == "hidden-states" else {}
    rows = []
    whole = model.forward
    monkeypatch.setattr(
        type(model), "forward", lambda self, **inputs: rows.append(len(inputs["input_ids"])) or whole(**inputs)
    )
    with data_parallel(model):
        model(**batch)
    assert rows == [len(batch["input_ids"])]


def test_a_batch_that_is_wider_than_its_longest_text_stays_as_wide():
    model, batch = a_model("BertModel"), a_batch()
    wider = {name: torch.nn.functional.pad(batch[name], (0, 5)) for name in ("input_ids", "attention_mask")}
    with data_parallel(model):
        assert model(**wider).last_hidden_state.shape[:2] == wider["input_ids"].shape


def test_a_pass_that_memory_had_no_room_for_leaves_nothing_in_the_next(monkeypatch):
    model, batch = a_model("BertForSequenceClassification"), a_batch()
    backward = torch.autograd.backward
    with data_parallel(model):
        exact = learned(model, batch)
        n_calls = []

        def once_too_much(tensors, *rest, **options):
            n_calls.append(1)
            if len(n_calls) == 4:  # the whole, and its parts
                raise MemoryError
            return backward(tensors, *rest, **options)

        monkeypatch.setattr(torch.autograd, "backward", once_too_much)
        with pytest.raises(MemoryError):
            learned(model, batch)
        assert are_equal(exact, learned(model, batch))


def test_what_is_not_attended_to_keeps_its_vectors_where_it_means_something():
    model, batch = a_model("BertModel"), a_batch()
    whole = model(**batch).last_hidden_state.detach()
    with data_parallel(model, is_padded=False):
        in_parts = model(**batch).last_hidden_state.detach()
    assert in_parts.numpy() == pytest.approx(whole.numpy(), abs=1e-4)


@pytest.mark.parametrize("kind", ["BertModel", "ModernBertModel"])
@pytest.mark.parametrize("is_mixed", [False, True], ids=["float32", "bfloat16"])
def test_attention_is_what_it_was(kind, is_mixed):
    torch.manual_seed(0)
    sizes = SIZES | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    model = getattr(transformers, kind)(getattr(transformers, kind.replace("Model", "Config"))(**sizes)).eval()
    batch = a_batch()
    exact = learned(model, batch)
    with float32_attention(model):
        here = learned(model, batch, is_mixed=is_mixed)
    assert here[0] == pytest.approx(exact[0], rel=0.05 if is_mixed else 1e-4, abs=0.05)


def test_attention_that_drops_nothing_after_all_is_fused_attention():
    model, batch = a_model("BertModel"), a_batch()
    exact = learned(model, batch)
    for layer in model.encoder.layer:
        layer.attention.self.dropout.p = 1e-9  # is drawn, and drops nothing
    with float32_attention(model):
        here = learned(model, batch)
    largest = max(gradient.abs().max().item() for gradient in exact[1].values())
    for name, gradient in exact[1].items():
        assert here[1][name].numpy() == pytest.approx(gradient.numpy(), abs=largest * 1e-5)


def test_each_process_has_a_part_of_a_batch_of_its_own(monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 3)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(distributed.share(list("abcdefgh")))
    assert [*map("".join, parts)] == ["adg", "beh", "cf"]


def test_a_helper_keeps_its_tool_until_another_is_needed():
    helper, made = distributed.Helper(), []
    works = [helper.do(partial(str, number), lambda tool, unit: made.append(tool), None) for number in (1, 1, 2, 1)]
    assert works == [(None, None)] * 4
    assert made == ["1", "1", "2", "1"]
    assert made[0] is made[1]
