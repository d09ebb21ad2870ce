import re

import numpy as np
import pytest

from dhm.report.curves import HEIGHT, WIDTH, axes, draw, running_mean, thinned
from dhm.report.events import Series
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
    """What the points say, by the axes that the chart has beside them."""
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
def test_points_stand_where_the_axes_say(values):
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
def test_long_spans_are_on_a_log_scale_which_the_title_says(values, is_log):
    series = _series(values)
    assert axes(series)[1].is_log == is_log
    assert ("log scale" in str(draw("a", "", series))) == is_log


@pytest.mark.parametrize("low", [1e-12, 3e-4, 0.7, 5.0])
@pytest.mark.parametrize("span", [1.0001, 1.5, 40, 1e3, 1e9])
def test_axes_have_a_handful_of_ticks_within(low, span):
    _, y = axes(_series([low, low * span]))
    ticks = y.ticks()
    assert 2 <= len(ticks) <= 9
    assert all(y.low * (1 - 1e-6) <= tick <= y.high * (1 + 1e-6) for tick in ticks)


@pytest.mark.parametrize(
    ("values", "lines"),
    [([1, 2, np.nan, 4, np.inf, 6], 3), ([1, np.nan, 300], 2), ([0, 1, 300], 1)],
)
def test_gaps_stay_gaps(values, lines):
    paths = Page(str(draw("a", "", _series(values)))).all("path")
    curve = next(path["d"] for path in paths if path["class"] == "curve logged")
    assert curve.count("M") == lines


def test_nothing_finite_is_refused():
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
