"""Metrics of a service in Prometheus' text format."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Histogram:
    """Observations by upper bound, for each set of labels."""

    def __init__(self, name: str, what: str, bounds: tuple[float, ...]) -> None:
        self.name, self.what, self.bounds = name, what, bounds
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, value: float, labels: str = "") -> None:
        """Count a value. labels: in Prometheus syntax, such as `path="/search"`."""
        counts = self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))
        counts[sum(value > bound for bound in self.bounds)] += 1
        self._sums[labels] = self._sums.get(labels, 0) + value

    def lines(self) -> list[str]:
        lines = [f"# HELP {self.name} {self.what}", f"# TYPE {self.name} histogram"]
        for labels, counts in sorted(self._counts.items()):
            below = 0
            for bound, count in zip((*map(str, self.bounds), "+Inf"), counts, strict=True):
                below += count
                all_labels = ",".join(filter(None, (labels, f'le="{bound}"')))
                lines.append(f"{self.name}_bucket{{{all_labels}}} {below}")
            braces = f"{{{labels}}}" if labels else ""
            lines += [f"{self.name}_sum{braces} {self._sums[labels]}", f"{self.name}_count{braces} {below}"]
        return lines


class Metrics:
    """Counters of one service; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds = Histogram("acclimate_request_seconds", "Seconds from request to answer.", _SECONDS)
        self._batches = Histogram("acclimate_batch_questions", "Queries per batch.", _SIZES)
        self._reloads: Counter[str] = Counter()

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request. path: that of a route, so that clients cannot create new labels."""
        with self._lock:
            self._requests[path, status] += 1
            self._seconds.observe(seconds, f'path="{path}"')

    def batch(self, size: int) -> None:
        """Count a batch of questions."""
        with self._lock:
            self._batches.observe(size)

    def reload(self, outcome: str) -> None:
        """Count a reload; outcome: `swapped`, `same` or `failed`."""
        with self._lock:
            self._reloads[outcome] += 1

    def text(self, info: Mapping[str, str], n_waiting: int) -> str:
        """All metrics in text format. info: labels of the served run. n_waiting: queries that wait."""
        with self._lock:
            lines = _counter("acclimate_requests_total", "Requests answered.", [
                (f'path="{path}",status="{status}"', count) for (path, status), count in sorted(self._requests.items())
            ])  # fmt: skip
            lines += self._seconds.lines() + self._batches.lines()
            lines += _counter("acclimate_reloads_total", "Reloads of the run, successful and failed.", [
                (f'outcome="{outcome}"', count) for outcome, count in sorted(self._reloads.items())
            ])  # fmt: skip
        lines += _gauge("acclimate_questions_waiting", "Queries that wait.", "", n_waiting)
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in info.items())
        lines += _gauge("acclimate_run_info", "The served run.", f"{{{labels}}}", 1)
        return "\n".join([*lines, ""])


def _counter(name: str, what: str, values: list[tuple[str, int]]) -> list[str]:
    lines = [f"# HELP {name} {what}", f"# TYPE {name} counter"]
    return lines + [f"{name}{{{labels}}} {value}" for labels, value in values]


def _gauge(name: str, what: str, braces: str, value: int) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} gauge", f"{name}{braces} {value}"]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
