"""Curves as inline SVG, whose colours are the page's."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape

from dhm.report.events import Series

WIDTH, HEIGHT = 460, 270
"""Of a chart, in its own units; the page scales it."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 34, 40
_LOG_FROM = 99.0  # ratio of the largest to the smallest value, but for float32: two decades
_MAX_POINTS = 600  # more would not be seen
_MEANS_FROM = 60  # points; fewer are seen without their mean
_MEAN_OF = 5  # points at least, and a twentieth of them


class Axis(NamedTuple):
    """A linear or logarithmic map of values onto a side of the chart.

    Attributes:
        low: Value at `start`.
        high: Value at `end`.
        start: Coordinate, chart units.
        end: Coordinate, chart units.
        is_log: Whether equal ratios are equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Coordinates of values."""
        low, high = (math.log(x) if self.is_log else x for x in (self.low, self.high))
        share = ((np.log(values) if self.is_log else values) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Three to eight round values within the axis."""
        if not self.is_log:
            return _round_values(self.low, self.high)
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        stride = max(1, math.ceil(len(exponents) / 7))
        powers = [10.0**exponent for exponent in exponents if exponent % stride == 0]
        slack = 1 + 1e-9
        return [x for x in powers if self.low / slack <= x <= self.high * slack]


def _round_values(low: float, high: float) -> list[float]:
    raw = (high - low) / 6
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * x for x in (1, 2, 2.5, 5, 10) if unit * x >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def axes(series: Series) -> tuple[Axis, Axis]:
    """The axes on which a series is drawn, steps and values.

    Values are on a log scale where all are positive and span two decades or more.

    Raises:
        ValueError: If no value is finite.
    """
    finite = np.isfinite(series.values)
    if not finite.any():
        raise ValueError("no finite value")
    steps, values = series.steps[finite], series.values[finite]
    first, last = float(steps.min()), float(steps.max())
    x = Axis(*_spread(first if first > 0.1 * last else 0.0, last), _LEFT, WIDTH - _RIGHT)
    vertical = (HEIGHT - _BOTTOM, _TOP)
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low >= _LOG_FROM:
        return x, Axis(low / 1.2, high * 1.2, *vertical, True)
    margin = 0.06 * (high - low)
    # A term that stays positive is seen from zero where that costs little room.
    bottom = 0.0 if 0 <= low < 0.5 * high else low - margin
    return x, Axis(*_spread(bottom, high + margin), *vertical)


def _spread(low: float, high: float) -> tuple[float, float]:
    """Two values that differ, also where a curve is flat or a point."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    room = 0.5 * abs(high) or 0.5
    return low - room, high + room


def thinned(series: Series) -> Series:
    """Every n-th point, so that at most 600 are left, and the last."""
    stride = math.ceil(len(series.steps) / _MAX_POINTS)
    index = np.arange(len(series.steps) - 1, -1, -stride)[::-1]
    return Series(series.steps[index], series.values[index])


def running_mean(series: Series, window: int) -> Series:
    """Means of `window` neighbouring finite values, each at its middle step."""
    finite = np.isfinite(series.values)
    steps, values = series.steps[finite], series.values[finite]
    if len(steps) < window:
        return Series(steps[:0], values[:0])
    means = np.convolve(values, np.full(window, 1 / window), "valid")
    return Series(steps[window // 2 : window // 2 + len(means)], means)


def draw(name: str, unit: str, series: Series) -> Markup:
    """A chart with axes, ticks, a title and a legend, as an <svg> element.

    Args:
        name: What is drawn; any text.
        unit: Of the values, "" for none.
        series: At least one value of it finite. Values that are not leave a gap.

    Raises:
        ValueError: If no value is finite.
    """
    x, y = axes(series)
    window = max(_MEAN_OF, len(series.steps) // 20)
    has_mean = len(series.steps) >= _MEANS_FROM
    parts = [_frame(x, y, unit), _path("logged", thinned(series), x, y)]
    entries = [("logged", "logged")]
    if has_mean:
        mean = thinned(running_mean(series, window))
        parts.append(_path("mean", mean, x, y))
        entries.append(("mean", f"mean of {window}"))
    last = series.values[np.isfinite(series.values)][-1]
    scale = ", log scale" if y.is_log else ""
    told = f"{name} over {len(series.steps)} logged steps, last {_short(last)} {unit}".strip()
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<text class="name" x="{}" y="18">{}</text>{}{}</svg>'
    ).format(WIDTH, HEIGHT, told + scale, _LEFT, name + scale, Markup("").join(parts),
             _legend(entries))  # fmt: skip


def _frame(x: Axis, y: Axis, unit: str) -> Markup:
    """Grid lines, numbers beside them and the axes' names."""
    parts = []
    for value, at in zip(y.ticks(), y.place(np.array(y.ticks())), strict=True):
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    bottom = HEIGHT - _BOTTOM
    for value, at in zip(x.ticks(), x.place(np.array(x.ticks())), strict=True):
        parts.append(
            f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
            f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{_short(value)}</text>'
        )
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{WIDTH - _RIGHT}"/>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 5}" text-anchor="end">step</text>')
    middle = (_TOP + bottom) // 2
    parts.append(
        f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">'
        f"{escape(unit)}</text>"
    )
    return Markup("".join(parts))


def _path(kind: str, series: Series, x: Axis, y: Axis) -> Markup:
    """A line through the points, broken where one cannot be drawn; lone points are dots."""
    drawn = np.isfinite(series.values)
    runs = np.split(np.arange(len(drawn)), np.flatnonzero(np.diff(drawn)) + 1)
    commands = []
    for run in runs:
        if len(run) and drawn[run[0]]:
            at = zip(x.place(series.steps[run]), y.place(series.values[run]), strict=True)
            points = [f"{column:.2f} {row:.2f}" for column, row in at]
            commands.append(f"M{points[0]}L" + "L".join(points[1:] or points))
    return Markup('<path class="curve {}" d="{}"/>').format(kind, "".join(commands))


def _legend(entries: list[tuple[str, str]]) -> Markup:
    parts, left = [], WIDTH - _RIGHT - 105 * len(entries)
    for number, (kind, words) in enumerate(entries):
        at = left + 105 * number
        parts.append(
            f'<path class="curve {kind}" d="M{at} {HEIGHT - 9}h18"/>'
            f'<text x="{at + 23}" y="{HEIGHT - 5}">{words}</text>'
        )
    # The step's name stands at the right end of the same line.
    return Markup('<g transform="translate(-40 0)">{}</g>').format(Markup("".join(parts)))


def _short(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.4g}"
