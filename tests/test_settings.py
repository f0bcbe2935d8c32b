"""Settings: one home per default, every one of them typeable, and suggestions for what is mistyped."""

from __future__ import annotations

import inspect
import re
import typing
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from acclimate.base.errors import SettingError
from acclimate.run import settings
from acclimate.stages.chain import STAGES
from acclimate.stages.sample import sample

EVERY = [(stage, name) for stage, function in STAGES.items() for name in settings.settings_of(function)]


def stage(
    docs: object,
    *,
    count: int = 3,
    share: float = 0.5,
    name: str = "x",
    limit: int | None = None,
    on: bool = False,
    kinds: tuple[str, ...] = ("a", "b"),
    seed: int = 0,
    progress: object = None,
) -> None:
    """A stage.

    Parameters
    ----------
    count
        How many,
        over two lines.
    share
        How much.

    Returns
    -------
    nothing
        at all
    """


def changed(*texts, recipe=None):
    return settings.resolve({"stage": stage}, recipe or {}, texts)["stage"]


def test_spaces_are_a_part_of_texts_and_of_nothing_else():
    found = settings.resolve(STAGES, {}, ["index.query_prompt=query: ", " index.max_tokens = 99", "sample.n_docs= 7 "])
    assert found["index"]["query_prompt"] == "query: "
    assert (found["index"]["max_tokens"], found["sample"]["n_docs"]) == (99, 7)


def test_settings_from_a_program_are_those_of_a_command_line():
    texts = ["sample.n_docs=7", "distill.student=dense,static", "train.base=models/x", "label.n_ways= 5 "]
    texts += ["train.rerankers=3", "index.passage_words=9"]
    typed = {
        "sample": {"n_docs": 7},
        "distill": {"student": ["dense", "static"]},
        "train": {"base": Path("models/x"), "rerankers": 3},
        "index": {"passage_words": 9},
        "label": {"n_ways": "5"},
    }
    assert settings.resolve(STAGES, {}, typed) == settings.resolve(STAGES, {}, texts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampel": {}, "sample": {"n_doc": 7}}, "no setting of sample named 'n_doc'. Did you mean 'n_docs'"),
        ({"sampel": {"n_docs": 7}}, "no stage named 'sampel'"),
        ({"sample": 7}, "sample is 7; expected the settings of a stage"),
        ({"sample": {"n_docs": "many"}}, "sample.n_docs is 'many'; expected a whole number"),
        ({"sample": {"n_docs": object}}, "sample.n_docs is <class 'object'>; expected a whole number"),
        ({"sample": {"n_docs": Decimal("7.5")}}, "sample.n_docs is Decimal('7.5'); expected a whole number"),
        ({"sample": {"n_docs": np.float32(7.5)}}, f"sample.n_docs is {np.float32(7.5)!r}; expected a whole number"),
        ({1: {"n_docs": 7}}, "no stage named 1"),
        (None, "settings has None; expected texts such as 'sample.n_docs=500'"),
        ([("sample.n_docs", 7)], "settings has ('sample.n_docs', 7); expected texts"),
        ("sample.n_doc=7", "no setting of sample named 'n_doc'"),
    ],
)
def test_what_a_program_cannot_mean_is_refused_as_on_a_command_line(changes, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        settings.resolve(STAGES, {}, changes)


def test_defaults_are_those_of_the_signatures():
    values = settings.resolve(STAGES, {})
    for name, function in STAGES.items():
        keyword_only = {
            key: parameter.default
            for key, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and key not in ("seed", "progress")
        }
        assert values[name] == keyword_only
    assert list(values) == list(STAGES)
    assert values["sample"]["n_docs"] == inspect.signature(sample).parameters["n_docs"].default


def test_seed_and_progress_belong_to_the_run():
    assert list(settings.settings_of(stage)) == ["count", "share", "name", "limit", "on", "kinds"]


def test_the_help_is_the_docstring_of_the_parameter():
    of = settings.settings_of(stage)
    assert of["count"].help == "How many, over two lines."
    assert of["share"].help == "How much."
    assert of["name"].help == ""


@pytest.mark.parametrize(("stage", "name"), EVERY)
def test_every_setting_has_a_help_and_takes_its_own_default_as_text(stage, name):
    setting = settings.settings_of(STAGES[stage])[name]
    assert setting.help.endswith((".", ")")), f"{stage}.{name}"
    default = setting.default
    text = ",".join(default) if isinstance(default, tuple) else "none" if default is None else str(default)
    typed = settings.resolve(STAGES, {}, [f"{stage}.{name}={text}"])[stage][name]
    assert typed == default
    assert type(typed) is type(default)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("stage.count=7", "count", 7),
        ("stage.count=-7", "count", -7),
        (" stage.count = 7 ", "count", 7),
        ("stage.share=1", "share", 1.0),
        ("stage.share=1e-3", "share", 0.001),
        ("stage.name=a=b", "name", "a=b"),
        ("stage.name=001", "name", "001"),
        ("stage.limit=5", "limit", 5),
        ("stage.limit=none", "limit", None),
        ("stage.limit=", "limit", None),
        ("stage.on=true", "on", True),
        ("stage.on=FALSE", "on", False),
        ("stage.kinds=c", "kinds", ("c",)),
        ("stage.kinds=c, d", "kinds", ("c", "d")),
        ("stage.kinds=", "kinds", ()),
    ],
)
def test_what_a_user_types_has_the_type_of_the_setting(text, name, value):
    found = changed(text)[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "typed"),
    [
        ("kinds", ["c", "d"], ("c", "d")),
        ("kinds", np.array(["c", "d"]), ("c", "d")),
        ("count", 7, 7),
        ("count", 7.0, 7),
        ("count", np.int64(7), 7),
        ("share", 2, 2.0),
        ("share", np.float32(2), 2.0),
        ("on", True, True),
        ("on", np.True_, True),
    ],
)
def test_what_a_recipe_holds_has_the_type_of_the_setting(name, value, typed):
    found = changed(recipe={"stage": {name: value}})[name]
    assert found == typed
    assert type(found) is type(typed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stage.count=many", "stage.count is 'many'; expected a whole number"),
        ("stage.count=1.5", "stage.count is '1.5'; expected a whole number"),
        ("stage.share=half", "stage.share is 'half'; expected a number"),
        ("stage.on=perhaps", "stage.on is 'perhaps'; expected true or false"),
        ("stage.limit=few", "stage.limit is 'few'; expected a whole number or none"),
        ("stage.cuont=3", "no setting of stage named 'cuont'. Did you mean 'count'?"),
        ("satge.count=3", "no stage named 'satge'. Did you mean 'stage'?"),
        ("stage.seed=3", "no setting of stage named 'seed'"),
        ("count=3", "expected stage.setting=value"),
        ("stage.count", "expected stage.setting=value"),
    ],
)
def test_a_mistake_is_named_with_what_is_expected(text, said):
    with pytest.raises(SettingError) as error:
        changed(text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 1.5), ("name", 3), ("kinds", 3), ("share", "x"), ("count", []), ("count", True), ("count", np.True_),
        ("share", np.True_), ("kinds", np.array([1])),
    ],
)  # fmt: skip
def test_a_recipe_with_a_wrong_type_is_refused(name, value):
    with pytest.raises(SettingError, match=f"stage.{name} is "):
        changed(recipe={"stage": {name: value}})


def test_texts_come_after_the_recipe_and_the_last_one_counts():
    found = changed("stage.count=5", "stage.count=6", recipe={"stage": {"count": 4, "share": 0.25}})
    assert (found["count"], found["share"]) == (6, 0.25)


def test_a_recipe_of_bare_settings_is_refused():
    with pytest.raises(SettingError, match="'count' is not a table"):
        changed(recipe={"count": 3})


def test_types_are_plain_ones():
    for stage_name, name in EVERY:
        kind = settings.settings_of(STAGES[stage_name])[name].type
        assert typing.get_origin(kind) is tuple or set(typing.get_args(kind) or [kind]) <= {
            str, int, float, bool, type(None)
        }  # fmt: skip
