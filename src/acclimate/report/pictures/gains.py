"""Each query's gain as inline SVG: one step per query, sorted from the largest gain to the largest loss."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from acclimate.report.pictures.svg import tag

_STEPS = 500  # maximum; of more queries an evenly spaced subset is drawn
_HALF = 100  # px from no change to the largest


def gains(deltas: Sequence[float], label: str) -> Markup:
    """The picture, at full page width. deltas: after minus before, one per query, in any order."""
    ordered = sorted(deltas, reverse=True)
    if len(ordered) > _STEPS:
        ordered = [ordered[round(step * (len(ordered) - 1) / (_STEPS - 1))] for step in range(_STEPS)]
    most = max(map(abs, ordered), default=0.0) or 1.0
    ups = [max(delta, 0.0) / most for delta in ordered]
    downs = [min(delta, 0.0) / most for delta in ordered]
    return tag(
        "svg",
        tag("path", d=_stairs(ups), class_="up"),
        tag("path", d=_stairs(downs), class_="down"),
        tag("line", x1=0, x2=len(ordered), y1=_HALF, y2=_HALF, class_="base", vector_effect="non-scaling-stroke"),
        viewBox=f"0 0 {len(ordered)} {2 * _HALF}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def _stairs(heights: Sequence[float]) -> str:
    """A path of steps of these heights, -1 to 1, around the middle line."""
    steps = "".join(f"V{_HALF * (1 - height):.1f}H{place}" for place, height in enumerate(heights, 1))
    return f"M0,{_HALF}{steps}V{_HALF}Z"
