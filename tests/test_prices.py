"""Money: known prices, unknown ones that stay unknown, and limits that stop."""

from __future__ import annotations

import pytest

from acclimate.base.errors import BudgetExceeded, DataError, SettingError
from acclimate.llm.prices import Budget, Price, as_options, cost, price, read_limits
from acclimate.llm.usage import Usage
from acclimate.run.store import Store

OWN = '["openai:mine"]\nprompt = 1\ncompletion = 4.0\n'


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(OWN)
    return path


def test_llms_here_cost_nothing_and_unknown_ones_are_unknown(own):
    assert price("embedded:smollm2-135m-instruct") == price("org/model") == Price(0, 0)
    assert price("openai:gpt-4.1-mini") is not None
    assert price("openai:mine") is None
    assert price("openai:mine", own) == price("openai-completions:mine@http://there/v1", own) == Price(1, 4)


def test_a_users_price_goes_before_ours(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('["openai:gpt-4.1-mini"]\nprompt = 7\ncompletion = 8\n')
    assert price("openai:gpt-4.1-mini", path) == Price(7, 8)


def test_a_ledger_costs_the_sum_of_its_llms_or_nobody_knows_what(own):
    ledger = {("generate", "openai:mine"): Usage(3, 1_000_000, 500_000), ("seed", "here"): Usage(9, 10**9, 10**9)}
    assert cost(ledger, own) == pytest.approx(3.0)
    assert cost({**ledger, ("seed", "openai:other"): Usage(1, 1, 1)}, own) is None
    assert cost({}, own) == 0


@pytest.mark.parametrize(
    "text",
    ["[broken", '["openai:m"]\nprompt = 1\n', '["openai:m"]\nprompt = -1\ncompletion = 1\n', '"openai:m" = 3\n',
     '["openai:m"]\nprompt = nan\ncompletion = 1\n'],
)  # fmt: skip
def test_a_file_that_is_no_table_of_prices_is_refused(tmp_path, text):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"prices\.toml"):
        price("openai:m", path)


def test_a_missing_price_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml: no such file"):
        price("openai:m", tmp_path / "none.toml")


def test_a_limit_in_dollars_needs_a_price(own):
    Budget(read_limits([], ["1.0"]), own).check_names({"seed": "openai:mine", "generate": "here"})
    Budget(read_limits(["1"], [])).check_names({"generate": "openai:other"})
    Budget(read_limits([], ["generate=1"])).check_names({"seed": "openai:other", "generate": "here"})
    with pytest.raises(SettingError, match=r'price of \S+ is not known.* \["openai:other"\]'):
        Budget(read_limits([], ["1.0"]), own).check_names({"generate": "openai-completions:other@http://h/v1"})
    for text in ("-1", "1.5", "generate=1.5"):
        with pytest.raises(SettingError, match=f"--max-tokens is '{text}'; expected a whole number: 0 to"):
            read_limits([text], [])
    with pytest.raises(SettingError, match="'sed', which asks no LLM in this run; these do: seed, generate"):
        Budget(read_limits(["sed=5"], [])).check_names({"seed": "here", "generate": "here"})


@pytest.mark.parametrize("text", ["many", "seed=", "seed=many", "=", "=1", " =1"])
def test_a_limit_that_is_no_number_or_of_no_stage_is_refused(text):
    with pytest.raises(SettingError, match="expected a number, or STAGE=NUMBER"):
        read_limits([text], [])
    with pytest.raises(SettingError, match="--max-cost"):
        read_limits([], [text])


def test_limits_stop_when_reached_and_not_when_all_is_done(own):
    ledger = {("seed", "openai:mine"): Usage(3, 900_000, 25_000)}  # $1.00
    for budget in (Budget(read_limits([], ["1"]), own), Budget(read_limits(["925000"], []))):
        with pytest.raises(BudgetExceeded, match=r"with 2 prompts left.* to resume"):
            budget.check(ledger, "generate", 2)
    for budget in (Budget(read_limits([], ["1.01"]), own), Budget(read_limits(["925001"], [])), Budget()):
        budget.check(ledger, "generate", 2)


def test_a_stage_s_own_limit_counts_what_that_stage_asked_and_stops_no_other(own):
    ledger = {("seed", "openai:mine"): Usage(3, 900_000, 25_000), ("generate", "here"): Usage(9, 50, 50)}
    Budget(read_limits(["generate=101"], ["generate=0.5"]), own).check(ledger, "generate", 2)
    for budget, stage, words in (
        (Budget(read_limits(["5000000", "generate=100"], [])), "generate", "100 tokens of --max-tokens generate=100"),
        (Budget(read_limits([], ["seed=1"]), own), "seed", r"\$1.0000 of --max-cost seed=1"),
    ):
        with pytest.raises(BudgetExceeded, match=f"LLMs of {stage} have (used|cost) {words}, with 2 prompts left"):
            budget.check(ledger, stage, 2)
        budget.check(ledger, "filter", 2)  # whatever earlier stages have used


def test_local_llms_never_reach_a_limit_in_dollars():
    Budget(read_limits([], ["0"])).check({("generate", "here"): Usage(3, 10**9, 10**9)}, "generate", 2)


@pytest.mark.parametrize("limit", ["nan", "inf", "-inf"])
def test_a_limit_that_could_never_be_reached_is_refused(limit):
    with pytest.raises(SettingError, match="expected a number: 0 to"):
        Budget(read_limits([], [limit])).check_names({"generate": "here"})


def test_what_nobody_knows_the_price_of_does_not_silence_a_limit(own):
    ledger = {("generate", "openai:mine"): Usage(3, 900_000, 25_000), ("generate", "openai:other"): Usage(1, 1, 1)}
    with pytest.raises(BudgetExceeded, match="have cost"):
        Budget(read_limits([], ["1"]), own).check(ledger, "generate", 2)


def test_limits_are_told_as_they_were_given():
    given = read_limits(["1e6", "seed=5"], ["2.5", "generate=0.1"])
    assert given[""].tokens == 1_000_000
    assert read_limits(**as_options(given)) == given


def test_the_usage_of_a_stage_is_not_that_of_others(tmp_path, monkeypatch):
    ledger = {("seed", "a"): Usage(1, 2, 3), ("filter", "a"): Usage(4, 5, 6), ("filter", "b"): Usage(7, 8, 9)}
    monkeypatch.setattr(Store, "ledger", lambda store: ledger)
    for stage in ("seed", "filter", "judge"):
        asked = Store(tmp_path, Budget()).asked(stage)["asked"]
        assert asked == {llm: used._asdict() for (of, llm), used in ledger.items() if of == stage}
