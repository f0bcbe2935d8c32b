"""What LLMs cost, and when to stop: dollars per million tokens, from `prices.toml` beside this file and the user's own.

An unknown price stays unknown: it is never taken for nothing.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from acclimate.errors import BudgetExceeded, DataError, SettingError
from acclimate.llm.completions import Usage

_OURS = Path(__file__).parent / "prices.toml"
_KEYS = {"prompt", "completion"}


class Price(NamedTuple):
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True)
class Budget:
    """What LLMs may use in all, over every time that the run was begun; `prices` is the user's own price file."""

    max_tokens: int | None = None
    max_cost: float | None = None  # US dollars
    prices: Path | None = None

    def check_names(self, llms: list[str]) -> None:
        """Raises SettingError for limits that are none, and for a limit in dollars on an LLM without a known price."""
        for option, limit in (("--max-tokens", self.max_tokens), ("--max-cost", self.max_cost)):
            if limit is not None and limit < 0:
                raise SettingError(f"{option} is {limit}; expected 0 or more")
        for llm in llms:
            if price(llm, self.prices) is None and self.max_cost is not None:
                raise SettingError(
                    f"--max-cost: the price of {llm} is not known; put it into a file like acclimate/llm/prices.toml "
                    "and add --prices FILE, or use --max-tokens"
                )

    def cost(self, llm: str, tokens: Mapping[str, int]) -> float | None:
        """US dollars for `prompt` and `completion` tokens of an LLM; None where its price is unknown."""
        found = price(llm, self.prices)
        return None if found is None else found.of(tokens["prompt"], tokens["completion"])

    def check(self, ledger: Mapping[str, Usage], done: int, total: int) -> None:
        """Raises BudgetExceeded once a limit is reached with prompts left to answer."""
        if done >= total:
            return
        left = f"{done:,} of {total:,} queries written; all are kept, and the same command with a higher limit goes on"
        tokens = sum(used.prompt_tokens + used.completion_tokens for used in ledger.values())
        if self.max_tokens is not None and tokens >= self.max_tokens:
            raise BudgetExceeded(f"the LLM has used {tokens:,} tokens of --max-tokens {self.max_tokens:,}, with {left}")
        spent = cost(ledger, self.prices)
        if self.max_cost is not None and spent is not None and spent >= self.max_cost and spent > 0:
            raise BudgetExceeded(f"the LLM has cost ${spent:,.4f} of --max-cost {self.max_cost:g}, with {left}")


def price(llm: str, own: Path | None = None) -> Price | None:
    """The price of an LLM by its name, without the address of its server; None when it is unknown.

    Raises DataError for a file that is not a table of prices.
    """
    name = llm.partition("@http")[0].replace("openai-completions:", "openai:")
    if not name.startswith("openai:"):
        return Price(0.0, 0.0)
    for path in (own, _OURS):
        if path is not None and name in (table := _read(path)):
            return table[name]
    return None


def cost(ledger: Mapping[str, Usage], own: Path | None = None) -> float | None:
    """US dollars for all that a ledger holds; None when one of its LLMs has no known price."""
    total = 0.0
    for llm, used in ledger.items():
        if (found := price(llm, own)) is None:
            return None
        total += found.of(used.prompt_tokens, used.completion_tokens)
    return total


def _read(path: Path) -> dict[str, Price]:
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such price file", path=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not TOML: {error}", path=path) from None
    return {llm: _price(llm, row, path) for llm, row in rows.items()}


def _price(llm: str, row: Any, path: Path) -> Price:
    if (
        not isinstance(row, dict)
        or row.keys() != _KEYS
        or not all(isinstance(value, int | float) and math.isfinite(value) and value >= 0 for value in row.values())
    ):
        raise DataError(f'{llm}: expected ["{llm}"] with prompt and completion, dollars per million tokens', path=path)
    return Price(float(row["prompt"]), float(row["completion"]))
