"""Every setting has a domain, and a value outside it is refused in one line that names the setting."""

from __future__ import annotations

import math
import typing

import pytest

from acclimate.base.domains import Above, AtLeast, Between, OneOf, Text
from acclimate.base.errors import SettingError
from acclimate.run.settings import checked, resolve, settings_of
from acclimate.stages.chain import STAGES

SETTINGS = {f"{stage}.{name}": s for stage, function in STAGES.items() for name, s in settings_of(function).items()}
# Texts whose values other files or models decide on; checks.py looks at them, and every one is a Text.
OPEN = {
    "index.query_prompt", "index.document_prompt", "sample.examples", "seed.llm", "seed.prompt", "generate.llm",
    "generate.prompt", "generate.task", "generate.language", "generate.style", "filter.reranker", "filter.llm",
    "filter.judge", "mine.retriever", "train.base", "label.teachers", "label.weights", "distill.base", "distill.tune",
    "evaluate.rerank", "evaluate.systems", "evaluate.measures",
}  # fmt: skip

NO_NUMBERS = [
    "",
    "many",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-2",
    "-1e9",
    "1" + "0" * 20,
    "9" * 5000,
    "\ud800",
    "0x10",
    "9,,9",
]
NO_NAMES = ["nonsense", "-1", "9" * 5000, "\ud800", "a\0b"]
NO_TEXTS = ["\ud800", "a\0b", "\x1b[31m", "x" * 100_000, "\x9b31m"]
OF_A_RECIPE = [
    [],
    {},
    {"a": 1},
    [[1]],
    [{}],
    math.nan,
    math.inf,
    -math.inf,
    10**20,
    -2,
    -(10**400),
    10**400,
    True,
    1e300,
]


def refused(name: str, value: object) -> None:
    stage, _, key = name.partition(".")
    typed = isinstance(value, str)
    with pytest.raises(SettingError) as error:
        resolve(STAGES, {} if typed else {stage: {key: value}}, [f"{name}={value}"] if typed else [])
    said = str(error.value)
    assert name in said
    assert "\n" not in said
    assert len(said) < 1500
    said.encode()


def test_every_setting_but_open_texts_has_a_domain():
    switches = {name for name, setting in SETTINGS.items() if setting.type is bool}
    assert {name for name, setting in SETTINGS.items() if setting.domain is None} == OPEN | switches
    for name, setting in SETTINGS.items():
        if name in switches:
            continue
        parts = setting.default if isinstance(setting.default, tuple) else (setting.default,)
        assert name in OPEN or all(part in setting.domain for part in parts), name


@pytest.mark.parametrize("name", SETTINGS)
def test_a_value_of_the_wrong_kind_is_refused_by_name(name):
    setting = SETTINGS[name]
    kinds = typing.get_args(setting.type) or (setting.type,)
    numeric = int in kinds or float in kinds
    for value in NO_NUMBERS if numeric else NO_TEXTS if name in OPEN else NO_NAMES:
        if not (typing.get_origin(setting.type) is tuple and value in ("", "9,,9")):
            refused(name, value)
    is_list = typing.get_origin(setting.type) is tuple
    for value in OF_A_RECIPE:
        if not (is_list and value == []) and not (setting.type is bool and value is True):
            refused(name, value)
    if is_list:
        refused(name, ["x"] * 2000)


@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if isinstance(setting.domain, Between)])
def test_numbers_are_taken_up_to_both_ends_and_not_beyond(name):
    stage, _, key = name.partition(".")
    domain = SETTINGS[name].domain
    step = 1 if SETTINGS[name].type is not float else 1e-9
    for value in (domain.high, domain.low + step * domain.above, *domain.besides):
        found = resolve(STAGES, {}, [f"{name}={value}"])[stage][key]
        assert found in (value, (value,), str(value))
    for value in (domain.high + max(step, 1), domain.low if domain.above else domain.low - step):
        if value not in domain.besides:
            refused(name, str(value))


def test_a_stage_that_a_program_calls_refuses_the_same():
    @checked
    def stage(data, *, count: typing.Annotated[int, AtLeast(1)] = 3, name: str = "x"):
        return data, count, name

    assert stage(1, count=2, name="y") == (1, 2, "y")
    for values in ({"count": 0}, {"count": 10**400}, {"count": math.nan}, {"name": "\ud800"}):
        with pytest.raises(SettingError, match=next(iter(values))):
            stage(1, **values)


def test_what_a_domain_says_is_what_it_holds():
    assert str(AtLeast(0)) == "0 to 1,000,000,000"
    assert str(Above(0, 1)) == "above 0, to 1"
    assert str(Between(2, 9, besides=(0,))) == "0, or 2 to 9"
    assert str(Between(1, 1000, besides=("one", "prompt"))) == "one, prompt, or 1 to 1,000"
    assert str(OneOf({"a": 1, "b": 2})) == "a, b"
    assert "7" in Between(1, 9)
    assert not any(text in Between(1, 9) for text in ("10", "０", "-1", "1.5", "", "x"))
    assert "多\n\t行" in Text()
