"""Prices of LLMs and budgets: dollars per million tokens, from `prices.toml` beside this file and from the user's own.

An unknown price is never taken as zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.base.domains import MOST, Between
from acclimate.base.errors import BudgetExceeded, DataError, SettingError
from acclimate.base.files import read_toml
from acclimate.base.text import counted, quoted
from acclimate.llm.usage import Ledger

_OURS = Path(__file__).parent / "prices.toml"
_KEYS = {"prompt", "completion"}
_DOLLARS, _TOKENS = Between(0, MOST), Between(0, 10**15)


class Price(NamedTuple):
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for these tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True)
class Limit:
    """Maximum LLM usage over all sessions of a run."""

    tokens: int | None = None
    cost: float | None = None  # US dollars


@dataclass(frozen=True)
class Budget:
    """The limits of a run by stage; `""` is for all stages together. `prices` is the user's price file."""

    limits: Mapping[str, Limit] = field(default_factory=dict)
    prices: Path | None = None

    def check_names(self, llms: Mapping[str, str]) -> None:
        """Raises SettingError for invalid limits, and for a dollar limit on an LLM without a known price.

        llms: by stage.
        """
        for stage, limit in self.limits.items():
            if stage and stage not in llms:
                asking = ", ".join(llms)
                raise SettingError(f"a limit for {stage!r}, which asks no LLM in this run; these do: {asking}")
            for llm in [llms[stage]] if stage else llms.values():
                if limit.cost is not None and price(llm, self.prices) is None:
                    raise SettingError(
                        f"--max-cost: the price of {llm} is not known; add --prices FILE, a TOML file with a "
                        f'table ["{_priced(llm)}"] of prompt and completion in dollars per million tokens, or use '
                        "--max-tokens"
                    )

    def cost(self, llm: str, tokens: Mapping[str, int]) -> float | None:
        """US dollars for `prompt` and `completion` tokens of an LLM; None if its price is unknown."""
        known_price = price(llm, self.prices)
        return None if known_price is None else known_price.of(tokens["prompt"], tokens["completion"])

    def check(self, ledger: Ledger, stage: str, left: int) -> None:
        """Raises BudgetExceeded if the limit of `stage` or of all is reached; `left` prompts are about to be asked."""
        kept = (
            f"with {counted(left, 'prompt')} left; answers are kept; run the same command with a higher limit to resume"
        )
        for of, limit in self.limits.items():
            if of not in ("", stage):
                continue
            used = {key: usage for key, usage in ledger.items() if of in ("", key[0])}
            whose, prefix = (f"LLMs of {of}", f"{of}=") if of else ("LLMs", "")
            tokens = sum(usage.prompt_tokens + usage.completion_tokens for usage in used.values())
            if limit.tokens is not None and tokens >= limit.tokens:
                raise BudgetExceeded(
                    f"{whose} have used {counted(tokens, 'token')} of --max-tokens {prefix}{limit.tokens}, {kept}"
                )
            # Past usage of an LLM without a price is ignored; the current LLMs have one.
            spent = sum(cost({key: usage}, self.prices) or 0.0 for key, usage in used.items())
            if limit.cost is not None and spent >= limit.cost and spent > 0:
                raise BudgetExceeded(f"{whose} have cost ${spent:,.4f} of --max-cost {prefix}{limit.cost:g}, {kept}")


def as_options(limits: Mapping[str, Limit]) -> dict[str, list[str]]:
    """The limits in the format of `read_limits`, to resume a run with."""
    rows: dict[str, list[str]] = {"max_tokens": [], "max_cost": []}
    for stage, limit in limits.items():
        whose = f"{stage}=" if stage else ""
        rows["max_tokens"] += [f"{whose}{limit.tokens}"] if limit.tokens is not None else []
        rows["max_cost"] += [f"{whose}{limit.cost!r}"] if limit.cost is not None else []
    return rows


def read_limits(max_tokens: Sequence[str], max_cost: Sequence[str]) -> dict[str, Limit]:
    """Parse limits of a command line, each N or STAGE=N. Raises SettingError if invalid."""
    limits: dict[str, Limit] = {}
    for option, texts in (("tokens", max_tokens), ("cost", max_cost)):
        for text in texts:
            stage, equals, number = text.rpartition("=")
            domain = _TOKENS if option == "tokens" else _DOLLARS
            try:
                if equals and not stage.strip():  # an empty variable; not meant for all stages
                    raise ValueError
                most = float(number)
            except ValueError:
                raise SettingError(f"--max-{option} {quoted(text)}: expected a number, or STAGE=NUMBER") from None
            kind = "whole number" if option == "tokens" else "number"
            if most not in domain or (option == "tokens" and not most.is_integer()):
                raise SettingError(f"--max-{option} is {quoted(text)}; expected a {kind}: {domain}")
            most = int(most) if option == "tokens" else most
            limits[stage] = replace(limits.get(stage, Limit()), **{option: most})
    return limits


def price(llm: str, user_prices: Path | None = None) -> Price | None:
    """The price of an LLM by name, without its server's address; None if unknown.

    Raises DataError for an invalid price file.
    """
    name = _priced(llm)
    if not name.startswith("openai:"):
        return Price(0.0, 0.0)
    for path in (user_prices, _OURS):
        if path is not None and name in (table := read_prices(path)):
            return table[name]
    return None


def _priced(llm: str) -> str:
    """The name of an LLM in price files: without its server's address, whether it chats or completes."""
    return llm.partition("@http")[0].replace("openai-completions:", "openai:")


def cost(ledger: Ledger, user_prices: Path | None = None) -> float | None:
    """US dollars for a ledger; None if one of its LLMs has no known price."""
    total = 0.0
    for (_, llm), used in ledger.items():
        if (known_price := price(llm, user_prices)) is None:
            return None
        total += known_price.of(used.prompt_tokens, used.completion_tokens)
    return total


def read_prices(path: Path) -> dict[str, Price]:
    """LLM -> price, from a file. Raises DataError for an invalid one."""
    return {llm: _price(llm, row, path) for llm, row in read_toml(path).items()}


def _price(llm: str, row: Any, path: Path) -> Price:
    if not isinstance(row, dict) or row.keys() != _KEYS:
        raise DataError(
            f"{quoted(llm)}: expected a table with prompt and completion, dollars per million tokens", path=path
        )
    for name, value in row.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in _DOLLARS:
            raise DataError(f"{quoted(llm)}: {name} is {quoted(value)}; expected a number: {_DOLLARS}", path=path)
    return Price(float(row["prompt"]), float(row["completion"]))
