"""Several rerankers: who learns from which queries, what is kept, what they say together, and their merged weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from easy_task import BAD, CORPUS, DEV, GOOD, QUERY, TEXTS, TRAIN, trained
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from acclimate.base.digests import folder_fingerprint
from acclimate.base.errors import DataError, SettingError
from acclimate.base.files import read_json
from acclimate.base.testing import FakeScorer
from acclimate.learn.rerankers import training
from acclimate.learn.rerankers.groups import group_queries
from acclimate.learn.rerankers.merge import _merge_tensors, merge, slerp
from acclimate.learn.rerankers.train_all import TRAINING_QUERIES
from acclimate.records import NWay, Query
from acclimate.search import scorers
from acclimate.search.scorers.ensemble import Ensemble
from acclimate.stages.train import Trained

PROMPTS = {query_id: "claim" if n % 2 else "long/../title" for n, query_id in enumerate(TEXTS)}
SEVERAL = {"rerankers": "prompt", "min_queries": 5, "epochs": 1}
NAMES = ["reranker-claim", "reranker-long-title"]


@pytest.fixture(scope="module")
def two(tiny_encoder, tmp_path_factory):
    remove = shutil.rmtree

    def remove_unused(folder, **options):
        """As NFS and FUSE do, which keep files that are in use, so their folder is not empty."""
        in_use = Path("/proc/self/maps")
        assert not in_use.exists() or f"{folder}/" not in in_use.read_text()
        remove(folder, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "rmtree", remove_unused)
        return trained(tiny_encoder, tmp_path_factory.mktemp("two"), prompts=PROMPTS, **SEVERAL)


def ids(groups):
    return {group.name: sorted(example.query_id for example in group.examples) for group in groups}


@pytest.fixture
def learned(monkeypatch):
    """The names of the rerankers that are trained."""
    names, learn = [], training.train_reranker
    monkeypatch.setattr(
        training,
        "train_reranker",
        lambda group, *rest, **settings: (names.append(group.name), learn(group, *rest, **settings))[1],
    )
    return names


def test_each_prompt_has_a_reranker_that_sees_its_queries_alone(two):
    assert list(two.paths) == NAMES
    first, second = two.notes["rerankers"]
    assert (first["name"], first["queries"], first["dev_queries"], first["prompts"]) == (NAMES[0], 12, 3, ["claim"])
    assert (second["name"], second["queries"], second["prompts"]) == (NAMES[1], 12, ["long/../title"])
    assert two.notes["queries"] == 24
    folder = two.paths[NAMES[0]].parent
    left = [*NAMES, *(f"{name}.json" for name in NAMES), TRAINING_QUERIES]
    assert sorted(path.name for path in folder.iterdir()) == sorted(left)
    assert folder_fingerprint(two.paths[NAMES[0]]) != folder_fingerprint(two.paths[NAMES[1]])


@pytest.mark.slow
def test_who_learned_from_which_queries_is_noted_and_no_held_out_one_is_among_them(two):
    folder = two.paths[NAMES[0]].parent
    taught = read_json(folder / TRAINING_QUERIES)
    assert list(taught) == NAMES
    for name, ids in taught.items():
        prompt = "claim" if name == NAMES[0] else "long/../title"
        assert ids == [example.query_id for example in TRAIN if PROMPTS[example.query_id] == prompt]
    assert Trained(folder, {}, resumed=False).query_ids == {example.query_id for example in TRAIN}


def test_what_is_done_is_kept_by_a_killed_run_and_by_one_that_has_more_prompts(two, tiny_encoder, tmp_path, learned):
    def stop(done, total):
        if done > 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tiny_encoder, tmp_path, prompts=PROMPTS, progress=stop, **SEVERAL)
    counted = []
    again = trained(tiny_encoder, tmp_path, prompts=PROMPTS, progress=lambda *at: counted.append(at), **SEVERAL)
    assert learned == [*NAMES, NAMES[1]]
    assert counted[-1] == (24, 24)
    assert again.notes == two.notes
    assert folder_fingerprint(tmp_path) == folder_fingerprint(two.paths[NAMES[0]].parent)
    other = {query_id: prompt if prompt == "claim" else "other" for query_id, prompt in PROMPTS.items()}
    del learned[:]
    (tmp_path / "checkpoints-done" / "checkpoint-3").mkdir(parents=True)  # killed in the very end
    assert trained(tiny_encoder, tmp_path, prompts=PROMPTS, **SEVERAL).notes == two.notes
    assert not (tmp_path / "checkpoints-done").exists()
    assert learned == []
    (tmp_path / f"{NAMES[1]}.json").write_text("")  # of a machine that lost its power
    assert trained(tiny_encoder, tmp_path, prompts=PROMPTS, **SEVERAL).notes == two.notes
    assert learned == [NAMES[1]]
    del learned[:]
    third = trained(tiny_encoder, tmp_path, prompts=other, **SEVERAL)
    assert learned == ["reranker-other"]
    assert list(third.paths) == [NAMES[0], "reranker-other"]
    assert not (tmp_path / NAMES[1]).exists()
    fewer = trained(tiny_encoder, tmp_path, prompts=other, max_queries=4, **SEVERAL)
    assert learned == ["reranker-other", NAMES[0], "reranker-other"]
    assert fewer.notes["queries"] == 8


def test_a_single_one_leaves_nothing_of_several(two, made_folder_of_several, tiny_encoder):
    one = trained(tiny_encoder, made_folder_of_several, epochs=1)
    assert {path.name for path in made_folder_of_several.iterdir()} == {"reranker", TRAINING_QUERIES}
    assert one.path.name == "reranker"


@pytest.fixture
def made_folder_of_several(two, tmp_path):
    shutil.copytree(two.paths[NAMES[0]].parent, tmp_path / "train")
    return tmp_path / "train"


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", ""]), min_size=1, max_size=60),
    st.sampled_from(["one", "prompt", "2", "3"]),
    st.integers(0, 20),
)
def test_every_query_teaches_one_reranker_that_has_enough(of, rerankers, min_queries):
    examples = [NWay(f"q{n}", ("g0", "b0")) for n in range(len(of))]
    prompts = {f"q{n}": prompt for n, prompt in enumerate(of)}
    settings = {"rerankers": rerankers, "min_queries": min_queries, "seed": 0}
    try:
        groups = group_queries(examples, DEV, prompts, **settings)
    except SettingError as error:
        assert rerankers in "23"
        assert "ask for fewer parts" in str(error)
        return
    seen = [query_id for own in ids(groups).values() for query_id in own]
    assert sorted(seen) == sorted(prompts)
    assert all(group.dev for group in groups)
    assert len(groups) == 1 or min(len(group.examples) for group in groups) >= min_queries
    assert ids(groups) == ids(group_queries(examples[::-1], DEV, prompts, **settings))
    assert len({group.name for group in groups}) == len(groups)
    if rerankers == "prompt" and len(groups) > 1:
        assert set().union(*(group.prompts for group in groups)) == set(of)


def test_prompts_with_few_queries_are_taken_together():
    examples = [NWay(f"q{n:02}", ("g0", "b0")) for n in range(20)]
    prompts = {one.query_id: "big" if n < 12 else f"small{n % 2}" for n, one in enumerate(examples)}
    groups = group_queries(examples, DEV, prompts, rerankers="prompt", min_queries=6, seed=0)
    assert [(group.name, len(group.examples), group.prompts) for group in groups] == [
        ("reranker-big", 12, ("big",)),
        ("reranker-others", 8, ("small0", "small1")),
    ]
    (one,) = group_queries(examples, DEV, prompts, rerankers="prompt", min_queries=9, seed=0)
    assert (one.name, one.prompts) == ("reranker", ("big", "small0", "small1"))


@pytest.mark.parametrize(("sizes", "larger"), [({"a": 7, "b": 12, "c": 1}, "b"), ({"b": 9, "a": 9, "c": 2}, "a")])
def test_a_prompt_with_few_queries_joins_the_largest(sizes, larger):
    prompts = {f"{name}{n}": name for name, size in sizes.items() for n in range(size)}
    examples = [NWay(query_id, ("g0", "b0")) for query_id in prompts]
    groups = group_queries(examples, DEV, prompts, rerankers="prompt", min_queries=6, seed=0)
    assert {group.prompts: len(group.examples) for group in groups} == {
        (larger, "c"): sizes[larger] + sizes["c"],
        **{(name,): sizes[name] for name in "ab" if name != larger},
    }


def test_names_of_prompts_are_no_paths():
    names = ["../../etc", "a/b", "a-b", "", "é"]
    prompts = {f"q{n}": name for n, name in enumerate(names)}
    examples = [NWay(query_id, ("g0", "b0")) for query_id in prompts]
    groups = group_queries(examples, DEV, prompts, rerankers="prompt", min_queries=1, seed=0)
    made = [group.name for group in groups]
    assert len(set(made)) == 5
    assert not set("/.\\") & set("".join(made))


def test_parts_are_drawn_by_id_and_seed():
    settings = {"rerankers": "3", "min_queries": 3}
    first, second = (ids(group_queries(TRAIN, DEV, {}, seed=seed, **settings)) for seed in (0, 1))
    assert list(first) == ["reranker-1", "reranker-2", "reranker-3"]
    assert first != second
    with pytest.raises(SettingError, match=r"train.rerankers is 3 and there are 24 queries.*expected 20"):
        group_queries(TRAIN, DEV, {}, rerankers="3", min_queries=20, seed=0)
    sizes = sorted(map(len, first.values()))
    assert sizes[0] < sizes[-1]
    with pytest.raises(SettingError, match=f"a part has {sizes[0]}; expected {sizes[-1]}"):
        group_queries(TRAIN, DEV, {}, rerankers="3", min_queries=sizes[-1], seed=0)


def test_they_are_merged_into_one_that_still_knows(two, tiny_encoder, made_folder_of_several, learned, tmp_path):
    settings = {"prompts": PROMPTS, **SEVERAL}
    for method in ("average", "slerp"):
        made = trained(tiny_encoder, made_folder_of_several, merge=method, **settings)
        assert learned == []  # the rerankers are those that were there
        assert (made.path.name, made.notes["merged"]["method"]) == ("reranker", method)
        assert made.notes["merged"]["of"] == NAMES
        assert made.notes["merged"]["dev_ndcg"] > 0.5
        rate = scorers.load(made.path, CORPUS, max_tokens=32).score
        assert sum(rate([(QUERY, doc_id) for doc_id in GOOD])) > sum(rate([(QUERY, doc_id) for doc_id in BAD]))
    parts = [load_file(two.paths[name] / "model.safetensors") for name in NAMES]
    merge(list(two.paths.values()), tmp_path / "average", method="average")
    for name, tensor in load_file(tmp_path / "average" / "model.safetensors").items():
        assert torch.allclose(tensor, (parts[0][name] + parts[1][name]) / 2, atol=1e-6)
    merge([two.paths[NAMES[0]]] * 3, tmp_path / "same", method="slerp")
    same = load_file(tmp_path / "same" / "model.safetensors")
    assert all(torch.allclose(tensor, parts[0][name], atol=1e-6) for name, tensor in same.items())


def test_weights_of_another_shape_are_not_merged(two, tmp_path):
    from safetensors.torch import save_file

    shutil.copytree(two.paths[NAMES[0]], tmp_path / "other")
    state = load_file(tmp_path / "other" / "model.safetensors")
    save_file(
        {name: tensor[..., :1].contiguous() for name, tensor in state.items()}, tmp_path / "other/model.safetensors"
    )
    with pytest.raises(DataError, match="only rerankers of one base can be merged"):
        merge([two.paths[NAMES[0]], tmp_path / "other"], tmp_path / "out", method="average")


def test_each_of_several_has_the_same_share_of_an_arc():
    tensors = [torch.tensor([np.cos(angle), np.sin(angle)]) for angle in (0.0, 0.3, 0.6, 0.9)]
    merged = _merge_tensors(tensors, "slerp")
    assert merged.tolist() == pytest.approx([np.cos(0.45), np.sin(0.45)])


def test_slerp_keeps_lengths_and_ends_where_it_should():
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert torch.allclose(slerp(one, other, 0.5), torch.tensor([0.5, 0.5]) ** 0.5)
    assert torch.allclose(slerp(one, other, 0.0), one)
    assert torch.allclose(slerp(one, other, 1.0), other)
    assert torch.allclose(slerp(one, 3 * one, 0.5), 2 * one)
    assert torch.allclose(slerp(one, 0 * one, 0.5), one / 2)


# An ensemble

LIST = [(Query("q", "q"), doc_id) for doc_id in ("g0", "g1", "b0", "b1")]
OTHER = [(Query("p", "p"), doc_id) for doc_id in ("g0", "b0", "b2")]
BY_PLACE = FakeScorer(lambda query, doc_id: {"g0": 4.0, "g1": 3.0, "b0": 2.0}.get(doc_id, 0.0) + len(query), "place")
UPSIDE_DOWN = FakeScorer(lambda query, doc_id: -1000 * BY_PLACE.rate(query, doc_id), "down")
SURE = FakeScorer(lambda query, doc_id: 1e6 * (doc_id == "g1"), "sure")


def test_an_ensemble_hears_its_scorers_alike_whatever_their_scales():
    twice, once = Ensemble({"a": BY_PLACE, "b": BY_PLACE}), Ensemble({"a": BY_PLACE})
    assert twice.score(LIST) == pytest.approx(once.score(LIST))  # a mean, no sum
    both = Ensemble({"a": BY_PLACE, "b": UPSIDE_DOWN})
    assert both.score(LIST) == pytest.approx([both.score(LIST)[0]] * 4, abs=1e-6)
    mostly = Ensemble({"a": BY_PLACE, "b": UPSIDE_DOWN, "c": BY_PLACE})
    assert sorted(mostly.score(LIST), reverse=True) == mostly.score(LIST)
    assert both.score([]) == []
    flat = Ensemble({"a": FakeScorer(lambda *_: 7.0)}).score(LIST)
    assert len(set(flat)) == 1


def test_a_score_depends_on_the_candidates_of_its_own_query_alone():
    both = Ensemble({"a": BY_PLACE, "b": SURE})
    mixed = [pair for pairs in zip(LIST, OTHER, strict=False) for pair in pairs] + LIST[3:]
    scores = dict(zip(mixed, both.score(mixed), strict=True))
    assert [scores[pair] for pair in LIST] == both.score(LIST)
    assert [scores[pair] for pair in OTHER] == both.score(OTHER)


def test_an_ensemble_s_fingerprint_follows_from_its_scorers():
    prints = [
        Ensemble({"a": BY_PLACE, "b": SURE}).fingerprint,
        Ensemble({"a": BY_PLACE, "b": UPSIDE_DOWN}).fingerprint,
        Ensemble({"a": BY_PLACE}).fingerprint,
    ]
    assert len(set(prints)) == 3
    assert Ensemble({"b": SURE, "a": BY_PLACE}).fingerprint == prints[0]


def test_an_ensemble_of_nothing_is_refused():
    with pytest.raises(SettingError, match="expected one or more"):
        Ensemble({})
