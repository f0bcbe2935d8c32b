"""Values by name are made when they are asked for, and once."""

from __future__ import annotations

import pytest

from acclimate.base.lazy import Lazy


def test_a_value_is_made_when_it_is_first_asked_for_and_once():
    made: list[str] = []
    first = Lazy({name: lambda name=name: made.append(name) or name.upper() for name in "ab"})
    both = first | Lazy({"c": lambda: made.append("c") or "C"})
    assert (list(both), len(both), "a" in both, "d" in both) == (["a", "b", "c"], 3, True, False)
    assert made == []
    assert (both["b"], first["b"], both["b"], made) == ("B", "B", "B", ["b"])
    assert dict(both) == {"a": "A", "b": "B", "c": "C"}
    with pytest.raises(KeyError):
        both["d"]
