"""Sampled answers: each prompt of a batch has its own random numbers, whatever stands beside it."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from acclimate.base import models
from acclimate.base.memory import Halving
from acclimate.llm.backends import local
from acclimate.llm.decoding import Decoding

PROMPTS, LENGTH = ["ships", "lava", "b", "lava "], 8


class Even:
    """An LLM's decoder to which every token is as likely as any other."""

    def start(self, prefix, rows, room):
        return torch.zeros(len(rows), 1000), SimpleNamespace(shrinks=False)

    def step(self, tokens, cache):
        return torch.zeros(len(tokens), 1000)


def llm(**settings) -> local.LocalLLM:
    loaded: Any = SimpleNamespace(
        name="even", width=1, context=99, is_seq2seq=False, end_ids=(), decoder=Even(), halving=Halving(),
        rows=lambda prompts, chat: [[1]] * len(prompts), prefix=lambda ids: None, forget=lambda: False,
        decode=lambda ids: " ".join(map(str, ids)),
    )  # fmt: skip
    return local.LocalLLM(loaded, Decoding(LENGTH, (), temperature=1.0, **settings), share_prefix=False)


@pytest.mark.parametrize("unread", [1, 3])
def test_prompts_of_a_batch_are_sampled_by_random_numbers_of_their_own(unread, monkeypatch):
    monkeypatch.setattr(local, "STEPS_UNREAD", unread)
    monkeypatch.setattr(models, "device", lambda: "cpu" if unread == 1 else "cuda")
    made = llm(seed=3, sample=2)
    answers = [answer.text for answer in made.complete(PROMPTS)]
    points = [random.Random(f"3:2\0{prompt}") for prompt in PROMPTS]
    assert answers == [" ".join(str(int(each.random() * 1000)) for _ in range(LENGTH)) for each in points]
    assert answers[::-1] == [answer.text for answer in made.complete(PROMPTS[::-1])]
    assert answers[1:2] == [answer.text for answer in made.complete(PROMPTS[1:2])]


def test_random_numbers_follow_from_the_seed_the_place_among_the_answers_and_the_prompt():
    decodings = [Decoding(seed=seed, sample=sample) for seed in (0, 1) for sample in (0, 1)]
    for numbers in (Decoding.draws, Decoding.draw_seed):
        assert len({numbers(decoding, prompt) for decoding in decodings for prompt in PROMPTS}) == 16
    assert all(0 <= decoding.draw_seed(prompt) < 2**31 for decoding in decodings for prompt in PROMPTS)
