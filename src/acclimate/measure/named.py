"""Measures by their ir-measures names: `nDCG@10`, `R@1000`, `AP(rel=2)`, `RR`, `Judged@10`.

Each is computed by the first library of a fixed list that has it, whatever else is installed: numbers of different
libraries would not be comparable. The parser is our own, as that of ir-measures fails on Python 3.14 and reports errors
by assertions.
"""

from __future__ import annotations

import ast
import logging
import math
import re
import warnings
from collections.abc import Iterable
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, NamedTuple

from acclimate.base.errors import MissingExtra, SettingError, closest_name
from acclimate.base.text import counted, quoted

_PROVIDERS = ("pytrec_eval", "msmarco", "judged", "compat", "cwl_eval", "pyndeval")
_TO_THE_END = 1000  # ranks read by a measure without a cutoff, as in TREC
_DEEPEST = 999_999
_LONGEST = 200  # characters of a name
_SHARES = ("p", "alpha", "recall")  # parameters from 0 to 1
_EXAMPLES = "nDCG@10, R@1000, AP(rel=2), RR, Judged@10"


class Measure(NamedTuple):
    """A measure, and the library that computes it."""

    name: str  # in ir-measures' notation; canonical among synonyms
    computed: Any  # ir_measures.Measure
    provider: str
    takes_threshold: bool  # counts documents as relevant from grade 1 on, and its name says nothing about that

    @property
    def cutoff(self) -> int | None:
        """The last rank that it reads by its name."""
        return self.computed.params.get("cutoff")

    @property
    def depth(self) -> int:
        """The last rank that it reads; 1,000 without a cutoff."""
        return _TO_THE_END if self.cutoff is None else self.cutoff

    @property
    def threshold(self) -> int:
        """The lowest grade of a relevant document."""
        return self.computed.params.get("rel") or 1

    @property
    def is_count(self) -> bool:
        """True for counts such as NumRet, which are summed over queries instead of averaged."""
        return isinstance(self.computed.aggregator(), library().SumAgg)

    def with_threshold(self, grade: int) -> Measure:
        """The measure with documents relevant from `grade` on, if it has a threshold that its name leaves open."""
        return measure_of(repr(self.computed(rel=grade))) if self.takes_threshold and grade != 1 else self


def cut_below(measures: Iterable[Measure], deepest: int) -> list[str]:
    """The measures that read further than a run goes, and are too low if it was cut off there."""
    return [measure.name for measure in measures if (measure.cutoff or 0) > deepest]


def of_a_cut_run(run: str, deepest: int, too_low: Iterable[str]) -> str:
    """A warning of measures that read further than a run goes."""
    return (
        f"{run} has at most {counted(deepest, 'result')} for a query: if it was cut off there, {', '.join(too_low)} "
        "may be too low"
    )


def split_names(names: Iterable[str] | str) -> list[str]:
    """Split names separated by blanks or commas, but not within parentheses: `AP(rel=2, judged_only=True)`."""
    if not isinstance(names, Iterable):
        raise SettingError(f"measures is {quoted(names)}; expected names such as nDCG@10")
    text = names if isinstance(names, str) else ",".join(map(str, names))
    parts, depth = [""], 0
    for char in text:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(char, 0)
        if depth <= 0 and (char == "," or char.isspace()):
            parts.append("")
        else:
            parts[-1] += char
    return [part for part in parts if part]


def measures_of(names: Iterable[str] | str) -> list[Measure]:
    """The measures of these names, without duplicates. Raises as `measure_of`, and SettingError if there are none."""
    measures = {measure.name: measure for measure in map(measure_of, split_names(names))}
    if not measures:
        raise SettingError(f"no measures; expected some, for example {_EXAMPLES}")
    return list(measures.values())


def means_of(names: Iterable[str] | str) -> list[Measure]:
    """`measures_of`, restricted to measures with a value per query. Raises SettingError for counts, too."""
    measures = measures_of(names)
    for measure in measures:
        if measure.is_count:
            raise SettingError(f"{measure.name} counts over all queries; expected a measure of each query: nDCG@10")
    return measures


@lru_cache(maxsize=1000)
def measure_of(name: str) -> Measure:
    """The measure of that name.

    Raises SettingError for an unknown measure, or one that cannot be computed as written, and MissingExtra if its
    library is not installed.
    """
    where, match = quoted(name), re.fullmatch(r"([^\W\d]\w*)(?:\((.*)\))?(?:@(\S+))?", name.strip())
    if match is None or len(name) > _LONGEST:
        raise SettingError(f"{where} is not a measure; expected a name of ir-measures, for example {_EXAMPLES}")
    registry = library().measures.registry
    if match[1] not in registry:
        raise SettingError(f"no measure named {where}.{_hint(name, registry)} Expected for example {_EXAMPLES}")
    measure = registry[match[1]]
    given = _literals(match[2] or "", where)
    if match[3] is not None:
        given[measure.AT_PARAM] = _literals(f"at={match[3]}", where)["at"]
    measure = measure(**{key: _fitting(measure, key, value, where) for key, value in given.items()})
    for key, parameter in measure.SUPPORTED_PARAMS.items():
        if parameter.required and key not in measure.params:
            example = f"{match[1]}@10" if key == "cutoff" else f"{match[1]}({key}=...)"
            raise SettingError(f"{where} is no measure without {key}; expected for example {example}")
    threshold = measure.params.get("rel") or getattr(measure.SUPPORTED_PARAMS.get("rel"), "default", None)
    takes_threshold = "rel" not in given and threshold == 1  # NumRelRet is NumRet(rel=1) by another name
    return Measure(repr(measure), measure, _provider(measure, where), takes_threshold)


def _literals(text: str, where: str) -> dict[str, Any]:
    """Parse `rel=2, judged_only=True` into a dict."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        if call.args or not all(keyword.arg for keyword in call.keywords):
            raise ValueError
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, TypeError, Warning, AssertionError, RecursionError, MemoryError):
        raise SettingError(f"{where} is not a measure; expected parameters as in AP(rel=2)@10") from None


def _fitting(measure: Any, key: str, value: Any, where: str) -> Any:
    """Validate a parameter of a measure."""
    known = measure.SUPPORTED_PARAMS
    if key not in known:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise SettingError(f"{where}: {measure.NAME} has no {key}; {takes}")
    if known[key].dtype is float and isinstance(value, int):
        value = float(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = known[key].validate(value) and isinstance(value, bool) == (known[key].dtype is bool)
    fits = fits and (not is_number or math.isfinite(value))
    fits = fits and (key not in ("cutoff", "rel") or 1 <= value <= _DEEPEST)
    fits = fits and (key not in _SHARES or 0 <= value <= 1)
    grades = [grade for pair in value.items() for grade in pair] if isinstance(value, dict) else []
    fits = fits and all(type(grade) is int for grade in grades)
    if not fits:
        whole = f"a whole number from 1 to {_DEEPEST:,}"
        expected = {"cutoff": whole, "rel": whole} | dict.fromkeys(_SHARES, "a number from 0 to 1")
        raise SettingError(
            f"{where}: {key} is {quoted(value)}; expected {expected.get(key, known[key].dtype.__name__)}"
        )
    return value


def _provider(measure: Any, where: str) -> str:
    """The name of the library that computes a measure."""
    providers = library().providers.registry
    for name in _PROVIDERS:
        if providers[name].supports(measure):
            if not providers[name].is_available():
                raise MissingExtra(f"The measure {where}", str(providers[name].install_instructions()))
            return name
    missing = {
        key
        for name in _PROVIDERS
        for supported in providers[name].SUPPORTED_MEASURES
        if supported.NAME == measure.NAME
        for key, values in supported.params.items()
        if key not in measure.params and repr(values) == "REQUIRED"
    }
    expected = (
        f"; expected {', '.join(sorted(missing))}, too, as in {measure.NAME}({sorted(missing)[0]}=1)" if missing else ""
    )
    raise SettingError(f"no library here computes {where} as it stands{expected}")


def _hint(name: str, known: Iterable[str]) -> str:
    """The measure that was probably meant: by case, by its trec_eval name, or by similarity."""
    from_trec = {
        "map": "AP",
        "recip_rank": "RR",
        "recall": "R",
        "ndcg_cut": "nDCG",
        "ndcg": "nDCG",
        "success": "Success",
    }
    word, _, cutoff = name.partition("@")
    trec = re.fullmatch(r"([A-Za-z_]+?)(?:_cut)?(?:[_.]([0-9]+))?", word)
    if trec and not cutoff:
        word, cutoff = trec[1], trec[2] or ""
    by_lower = {**{known_name.lower(): known_name for known_name in known}, **from_trec}
    meant = closest_name(word, by_lower)
    return f" Did you mean {'@'.join(filter(None, [by_lower[meant], cutoff]))!r}?" if meant else ""


@cache
def library() -> ModuleType:
    """ir_measures, without the log handler that it installs on import."""
    import ir_measures

    ir_measures.logger.removeHandler(ir_measures.log_handler)
    ir_measures.logger.addHandler(logging.NullHandler())
    return ir_measures
