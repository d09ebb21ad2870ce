"""Scalars of TensorBoard files, and the charts drawn of them."""

import math
import re

import numpy as np
import pytest
from tensorboardX import SummaryWriter

from dhm.report.curves import (
    HEIGHT,
    WIDTH,
    Series,
    axes,
    draw,
    read_events,
    running_mean,
    thinned,
)
from tests.references.tensorboard import read_scalars
from tests.report.html import Page


def _series(values, first=1):
    values = np.array(values, float)
    return Series(np.arange(first, first + len(values)), values)


def _curve(chart, kind="logged"):
    """The points of a chart's line, in chart units."""
    paths = [a["d"] for a in Page(str(chart)).all("path") if a.get("class") == f"curve {kind}"]
    numbers = re.findall(r"-?[\d.]+ -?[\d.]+", paths[0])
    return np.array([list(map(float, pair.split())) for pair in numbers])


def _values(points, series):
    """Steps and values of points, by the axes of the chart."""
    found = []
    for column, axis in zip(points.T, axes(series), strict=True):
        share = (column - axis.start) / (axis.end - axis.start)
        low, high = np.log([axis.low, axis.high]) if axis.is_log else (axis.low, axis.high)
        value = low + share * (high - low)
        found.append(np.exp(value) if axis.is_log else value)
    return np.array(found)


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(3, 7, 40),
        np.geomspace(1e-5, 10, 40),
        [5.0, 5.0, 5.0],
        [0.0, 0.0],
        [-3.0, 2.0, -1.0],
        [4.0],
        [1e-30, 2e-30, 1e-30],
        [1e9, 1.5e9],
    ],
)
def test_points_are_drawn_where_the_axes_place_them(values):
    series = _series(values)
    chart = draw("a", "mm", series)
    steps, found = _values(_curve(chart)[: len(values)], series)
    np.testing.assert_allclose(steps, series.steps, atol=0.05)
    _, y = axes(series)
    if y.is_log:
        np.testing.assert_allclose(found, values, rtol=0.01)
    else:
        np.testing.assert_allclose(found, values, atol=1e-4 * (y.high - y.low))
    points = _curve(chart)
    assert (points >= 0).all() and (points <= (WIDTH, HEIGHT)).all()


@pytest.mark.parametrize(
    ("values", "is_log"),
    [([1, 50], False), ([1, 101], True), ([0, 1, 101], False), ([-1, 0], False)],
)
def test_large_ranges_have_a_log_scale_and_the_title_says_so(values, is_log):
    series = _series(values)
    assert axes(series)[1].is_log == is_log
    assert ("log scale" in str(draw("a", "", series))) == is_log


@pytest.mark.parametrize("low", [1e-12, 3e-4, 0.7, 5.0])
@pytest.mark.parametrize("span", [1.0001, 1.5, 40, 1e3, 1e9])
def test_axes_have_a_few_ticks_within_their_range(low, span):
    _, y = axes(_series([low, low * span]))
    ticks = y.ticks()
    assert 2 <= len(ticks) <= 9
    assert all(y.low * (1 - 1e-6) <= tick <= y.high * (1 + 1e-6) for tick in ticks)


@pytest.mark.parametrize(
    ("values", "lines"),
    [([1, 2, np.nan, 4, np.inf, 6], 3), ([1, np.nan, 300], 2), ([0, 1, 300], 1)],
)
def test_values_that_are_not_finite_leave_gaps(values, lines):
    paths = Page(str(draw("a", "", _series(values)))).all("path")
    curve = next(path["d"] for path in paths if path["class"] == "curve logged")
    assert curve.count("M") == lines


def test_a_series_without_finite_values_is_refused():
    with pytest.raises(ValueError, match="no finite value"):
        draw("a", "", _series([np.nan]))


def test_a_long_series_is_thinned_and_has_its_mean():
    series = _series(np.sin(np.arange(5000)) + 2)
    thin = thinned(series)
    assert len(thin.steps) <= 600 and thin.steps[-1] == 5000
    np.testing.assert_array_equal(thin.values, series.values[thin.steps - 1])
    mean = running_mean(_series([1, np.nan, 3, 5, 7]), 3)
    np.testing.assert_allclose(mean.values, [3, 5])
    np.testing.assert_array_equal(mean.steps, [3, 4])
    assert "mean of 250" in str(draw("a", "", series))


def test_names_are_escaped():
    chart = str(draw("<script>x</script>", "<b>", _series([1, 2])))
    assert "<script" not in chart and "<b>" not in chart
    Page(chart)


STEPS = 12


@pytest.fixture
def folder(tmp_path):
    """Event files of one start: 12 steps of two tags."""
    _write(tmp_path, range(1, STEPS + 1))
    return tmp_path


def _write(folder, steps, offset=0.0):
    with SummaryWriter(str(folder)) as writer:
        for step in steps:
            writer.add_scalar("train/total", offset + 1 / step, step, walltime=1000 + step)
            writer.add_scalar("train/P_err", offset + step, step, walltime=1000 + step)


def _file(folder):
    (path,) = folder.glob("events*")
    return path


def _records(data):
    """Where each record of a file begins."""
    at, starts = 0, []
    while at < len(data):
        starts.append(at)
        at += 16 + int.from_bytes(data[at : at + 8], "little")
    return starts


def test_all_scalars_are_read_with_their_times(folder):
    events = read_events(folder)
    expected = read_scalars(_file(folder))
    assert list(events.scalars) == ["train/total", "train/P_err"]
    for tag, values in expected.items():
        series = events.scalars[tag]
        assert dict(zip(series.steps.tolist(), series.values.tolist(), strict=True)) == values
    assert (events.began, events.ended, events.remarks) == (1001, 1000 + STEPS, ())


def test_of_two_values_for_a_step_that_of_the_later_file_counts(folder):
    _file(folder).rename(folder / "events.out.tfevents.1000.a")
    _write(folder, range(9, 15), offset=100)
    series = read_events(folder).scalars["train/P_err"]
    np.testing.assert_array_equal(series.steps, range(1, 15))
    np.testing.assert_array_equal(series.values, [*range(1, 9), *range(109, 115)])


def test_values_that_are_not_finite_are_kept(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step, value in enumerate((math.nan, 1.0, math.inf)):
            writer.add_scalar("a", value, step)
    np.testing.assert_array_equal(read_events(tmp_path).scalars["a"].values, [np.nan, 1, np.inf])


def test_a_missing_or_empty_folder_has_no_scalars(tmp_path):
    (tmp_path / "events.out.tfevents.1.a").touch()
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert read_events(folder) == ({}, None, None, ())


def test_a_truncated_file_gives_its_complete_records(folder):
    path = _file(folder)
    data = path.read_bytes()
    starts = _records(data)
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        events = read_events(folder)
        whole = sum(start <= cut for start in [*starts[1:], len(data)]) - 1  # the first: a version
        assert sum(len(series.steps) for series in events.scalars.values()) == max(whole, 0)
        assert len(events.remarks) == (cut not in (0, *starts)), cut
        assert all("breaks off" in remark for remark in events.remarks)


def test_damaged_bytes_never_become_values(folder):
    path = _file(folder)
    data = path.read_bytes()
    expected = read_events(folder).scalars
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        events = read_events(folder)
        assert events.remarks, at
        for tag, series in events.scalars.items():
            before = dict(zip(*map(np.ndarray.tolist, expected[tag]), strict=True))
            after = dict(zip(*map(np.ndarray.tolist, series), strict=True))
            assert after.items() <= before.items()


def test_only_a_damaged_record_is_left_out_and_reported(folder):
    path = _file(folder)
    data = bytearray(path.read_bytes())
    data[_records(data)[5] + 20] ^= 1
    path.write_bytes(data)
    events = read_events(folder)
    assert sum(len(series.steps) for series in events.scalars.values()) == 2 * STEPS - 1
    assert events.remarks == (f"{path.name} has 1 damaged record, which is left out.",)


def test_a_record_longer_than_the_file_is_not_read(folder):
    from tensorboardX.record_writer import masked_crc32c

    path = _file(folder)
    length = (1 << 62).to_bytes(8, "little")
    path.write_bytes(
        path.read_bytes() + length + masked_crc32c(length).to_bytes(4, "little") + b"x"
    )
    events = read_events(folder)
    assert len(events.scalars["train/P_err"].steps) == STEPS
    assert "breaks off" in events.remarks[0]
