"""Training curves: scalars read from TensorBoard files, drawn as SVG with the page's colours.

A file is a sequence of records: length (8 bytes, little endian), its checksum (4), an Event
message, its checksum (4). The checksums are CRC-32C, rotated and shifted as in TFRecord files.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from jaxtyping import Float, Int
from markupsafe import Markup, escape
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

WIDTH, HEIGHT = 460, 270
"""Size of a chart in its own units; the page scales it."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 34, 40
_LOG_FROM = 99.0  # ratio of the largest to the smallest value: two decades, less rounding
_MAX_POINTS = 600  # more would not be visible
_MEANS_FROM = 60  # points; curves of fewer have no running mean
_MEAN_OF = 5  # points of the running mean at least; a twentieth of all if that is more

_HEAD, _TAIL = 12, 4  # bytes around a record's content
_MASK_DELTA = 0xA282EAD8


class Series(NamedTuple):
    """A scalar over the steps of a run.

    Attributes:
        steps: Increasing.
        values: One a step, of float32 precision; may hold NaN or infinity.
    """

    steps: Int[np.ndarray, " n"]
    values: Float[np.ndarray, " n"]


class Events(NamedTuple):
    """The scalars in a folder of TensorBoard files.

    Attributes:
        scalars: By tag, in the order in which the tags first appear.
        began: Time of the first scalar, seconds since 1970; None without scalars.
        ended: Time of the last scalar.
        remarks: A sentence for each damaged or incomplete file.
    """

    scalars: dict[str, Series]
    began: float | None
    ended: float | None
    remarks: tuple[str, ...]


def read_events(folder: Path) -> Events:
    """Reads all event files of a folder, the oldest first.

    A run that was resumed has a file for each start; if two have the same step, the later file
    counts. Damaged records are left out. A file is read up to a damaged length, or to where it
    breaks off, as after a killed process.

    Args:
        folder: With files named events.out.tfevents.*; may be missing.

    Raises:
        OSError: If a file cannot be read.
    """
    points: dict[str, dict[int, float]] = {}
    times: list[float] = []
    remarks: list[str] = []
    # The names contain the second in which each file was created.
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in _events(path, remarks):
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    points.setdefault(value.tag, {})[event.step] = value.simple_value
                    times.append(event.wall_time)
    scalars = {
        tag: Series(np.array(sorted(values)), np.array([values[step] for step in sorted(values)]))
        for tag, values in points.items()
    }
    return Events(scalars, min(times, default=None), max(times, default=None), tuple(remarks))


def _events(path: Path, remarks: list[str]) -> Iterator[Event]:
    """Yields the intact events of a file; appends a sentence to `remarks` about the others."""
    data, at, skipped = path.read_bytes(), 0, 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        head_is_whole = at + _HEAD <= len(data)
        if head_is_whole and not _checks(data[at : at + 8], data[at + 8 : at + _HEAD]):
            remarks.append(f"{path.name} is damaged at byte {at}; the rest of it is left out.")
            break
        end = at + _HEAD + length
        if not head_is_whole or end + _TAIL > len(data):
            remarks.append(f"{path.name} breaks off within its last record, which is left out.")
            break
        content, checksum = data[at + _HEAD : end], data[end : end + _TAIL]
        at = end + _TAIL
        event = _decode(content) if _checks(content, checksum) else None
        if event is None:
            skipped += 1
        else:
            yield event
    if skipped:
        noun = "record, which is" if skipped == 1 else "records, which are"
        remarks.append(f"{path.name} has {skipped} damaged {noun} left out.")


def _decode(content: bytes) -> Event | None:
    try:
        return Event.FromString(content)
    except DecodeError:
        return None


def _checks(content: bytes, checksum: bytes) -> bool:
    crc = crc32c(content)
    masked = (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
    return masked == int.from_bytes(checksum, "little")


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
        """Returns the coordinates of values."""
        low, high = (math.log(x) if self.is_log else x for x in (self.low, self.high))
        share = ((np.log(values) if self.is_log else values) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Returns three to eight round values within the axis."""
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
    """Chooses the axes of a series, for steps and values.

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
    # The axis of positive values starts at zero if that takes little room.
    bottom = 0.0 if 0 <= low < 0.5 * high else low - margin
    return x, Axis(*_spread(bottom, high + margin), *vertical)


def _spread(low: float, high: float) -> tuple[float, float]:
    """Widens a range without extent: a flat curve, or a single point."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    room = 0.5 * abs(high) or 0.5
    return low - room, high + room


def thinned(series: Series) -> Series:
    """Keeps every n-th point and the last, at most 600."""
    stride = math.ceil(len(series.steps) / _MAX_POINTS)
    index = np.arange(len(series.steps) - 1, -1, -stride)[::-1]
    return Series(series.steps[index], series.values[index])


def running_mean(series: Series, window: int) -> Series:
    """Computes means of `window` neighbouring finite values, each at its middle step."""
    finite = np.isfinite(series.values)
    steps, values = series.steps[finite], series.values[finite]
    if len(steps) < window:
        return Series(steps[:0], values[:0])
    means = np.convolve(values, np.full(window, 1 / window), "valid")
    return Series(steps[window // 2 : window // 2 + len(means)], means)


def draw(name: str, unit: str, series: Series) -> Markup:
    """Draws a chart with axes, ticks, a title and a legend, as an <svg> element.

    Args:
        name: Title; any text.
        unit: Of the values, "" for none.
        series: With at least one finite value; other values leave gaps.

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
    description = (
        f"{name} over {len(series.steps)} logged steps, last {_short(last)} {unit}".strip()
    )
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">'
        '<text class="name" x="{}" y="18">{}</text>{}{}</svg>'
    ).format(WIDTH, HEIGHT, description + scale, _LEFT, name + scale, Markup("").join(parts),
             _legend(entries))  # fmt: skip


def _frame(x: Axis, y: Axis, unit: str) -> Markup:
    """Grid lines, ticks, numbers and names of the axes."""
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
    """A line through the points with gaps at values that are not finite; lone points are dots."""
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
    # Leaves room for the name of the step axis at the right end of the line.
    return Markup('<g transform="translate(-40 0)">{}</g>').format(Markup("".join(parts)))


def _short(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.4g}"
