"""The model of scaling: exchanges counted in the program, times by hand."""

import functools
from itertools import pairwise
from types import SimpleNamespace

import jax
import pytest

from data_prep.toy.hand import make_toy_template
from dhm.networks.build import ModelSettings
from dhm.studies.benchmarks.scaling import (
    StepTime,
    Traffic,
    benchmark_scaling,
    count_traffic,
    exchange_seconds,
    line_through,
    step_seconds,
)
from dhm.studies.benchmarks.step import fresh_model, make_batch

SMALL = ModelSettings(depth=18, width=4, head_hidden=(8,), skeleton_hidden=8, skin_hidden=8)


@pytest.fixture(autouse=True, scope="module")
def count_once():
    """Builds the model and counts its exchanges once for all tests; both take seconds."""
    counted = functools.cache(_count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dhm.studies.benchmarks.scaling.count_traffic", lambda *_: counted())
        patch.setattr("dhm.studies.benchmarks.scaling.fresh_model", lambda *_: _small_model())
        yield


@functools.cache
def _small_model():
    return fresh_model(make_toy_template(300), SMALL, 32, 2)


def _count() -> Traffic:
    model, variables = _small_model()
    return count_traffic(model, variables, make_batch(model, variables, 1, 32, 1))


@pytest.mark.slow
def test_traffic_is_gradients_metrics_and_batchnorm_statistics():
    """A ResNet-18 has 20 BatchNorm layers; each gathers once forwards and sums once backwards."""
    traffic, (_, variables) = _count(), _small_model()
    params = sum(leaf.nbytes for leaf in jax.tree.leaves(variables["params"]))
    assert params < traffic.num_bytes < 1.5 * params
    assert traffic.all_reduces == 20 + 3 + 1  # the samples that count, devices; the update
    assert traffic.all_gathers == 20
    statistics = sum(leaf.nbytes for leaf in jax.tree.leaves(variables["batch_stats"]))
    assert traffic.gathered_bytes == statistics


def test_exchange_seconds_by_hand():
    traffic = Traffic(all_reduces=10, num_bytes=90_000_000)
    assert exchange_seconds(traffic, 1) == 0
    # NVLink: 2 * 7/8 * 90 MB at 450 GB/s, and 10 times three levels up and three down of 5 us.
    assert exchange_seconds(traffic, 8) == pytest.approx(0.35e-3 + 10 * 6 * 5e-6)
    # Four machines: 2 * 31/32 * 90 MB at 50 GB/s; two more levels of 15 us.
    expected = 2 * 31 / 32 * 1.8e-3 + 10 * (6 * 5e-6 + 4 * 15e-6)
    assert exchange_seconds(traffic, 32) == pytest.approx(expected)
    # 7 times what each has, 1.8 MB, at 450 GB/s; 10 times three levels one way.
    gathers = Traffic(0, 0, all_gathers=10, gathered_bytes=1_800_000)
    assert exchange_seconds(gathers, 8) == pytest.approx(7 * 4e-6 + 10 * 3 * 5e-6)


def test_step_time_is_a_line_through_two_times():
    one = line_through((8, 32), [0.006, 0.018])
    assert one == pytest.approx(StepTime(fixed=0.002, image=0.0005))
    assert step_seconds(one, Traffic(0, 0), 4, 16) == pytest.approx(0.010)
    assert line_through((8, 32), [0.006, 0.005]) == pytest.approx(StepTime(0.006, 0))
    assert line_through((8, 32), [0.001, 0.032]).fixed == 0


def test_table_goes_to_64_devices():
    rows = _table(step_ms=(6.0, 18.0))
    devices = [row for row in rows if row.unit == "images/s"]
    assert [row.name.split()[0] for row in devices] == ["1", "2", "4", "8", "16", "32", "64"]
    rates = [row.number for row in devices]
    assert rates[0] == pytest.approx(32 / 0.018)
    assert all(a < b <= 2.001 * a for a, b in pairwise(rates))
    assert "6 ms with 8 and 18 ms with 32" in rows[0].value


def test_measured_steps_are_timed(monkeypatch):
    """Each step moves a fake clock by 20 ms and 30 ms an image."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        "dhm.studies.benchmarks.timing.time", SimpleNamespace(perf_counter=lambda: clock.now)
    )

    def step_by_the_clock(_compiled, _model, _variables, batch, _devices):
        def run():
            clock.now += 0.02 + 0.03 * len(batch.image)

        return run

    scaling = "dhm.studies.benchmarks.scaling"
    monkeypatch.setattr(f"{scaling}.compile_step", lambda *_: None)
    monkeypatch.setattr(f"{scaling}.repeated_step", step_by_the_clock)
    (row,) = [row for row in _table() if row.name == "1 device"]
    assert row.number == pytest.approx(32 / (0.02 + 0.03 * 32), rel=1e-6)


def _table(**arguments):
    return benchmark_scaling(
        make_toy_template(300), image_size=32, views=1, settings=SMALL, repeats=3, **arguments
    )
