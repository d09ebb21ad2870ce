"""The rasterizer's table and the timing that all tables share."""

import os
import sys

import numpy as np
import pytest

from dhm.studies.benchmarks import rasterizer, timing
from dhm.studies.benchmarks.rasterizer import benchmark_rasterizer
from dhm.studies.benchmarks.timing import BenchmarkRow, format_table
from tests.rendering.scenes import bumpy_sphere


def small_benchmark():
    vertices, faces = bumpy_sphere(12)
    return benchmark_rasterizer(vertices, faces, image_size=(48, 64), views=2, samples=3, repeats=2)


@pytest.mark.slow
def test_table_with_embree():
    rows = {row.name: row for row in small_benchmark()}
    assert list(rows) == [
        "depth / Embree, 2 views",
        "depth and gradient / Embree, 2 views",
        "3 samples x 2 views / 3 times one sample",
        "hit or miss differs from Embree",
        "depth error, median / max mm",
        "temporary memory, 3 samples x 2 views, depth and gradient",
    ]
    assert float(rows["depth / Embree, 2 views"].value.split()[0]) > 0
    assert float(rows["hit or miss differs from Embree"].value) <= 1e-3
    median, largest = map(float, rows["depth error, median / max mm"].value.split(" / "))
    assert 0 < median < 2e-4 and largest < 1e-2
    assert all(row.must and row.aim for row in rows.values())


def test_table_without_embreex_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "embreex.mesh_construction", None)
    rows = small_benchmark()
    assert rows[0].value.startswith("-  (") and "embreex is not installed" in rows[0].value
    assert not any("error" in row.name or "hit" in row.name for row in rows)


def test_one_core_restores_the_affinity():
    allowed = os.sched_getaffinity(0)

    def fail():
        assert len(os.sched_getaffinity(0)) == 1
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"), timing.one_core():
        fail()
    assert os.sched_getaffinity(0) == allowed


def test_interleaved_runs_each_once_a_round_after_a_warm_up():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = timing.interleaved(runs, repeats=3)
    assert "".join(calls) == "ab" * 4
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}


def test_cameras_around_frame_the_mesh():
    vertices = bumpy_sphere(6)[0] + np.float32([300, -50, 20])
    camera = rasterizer.cameras_around(vertices, (100, 200), views=4)
    for K, T in zip(np.asarray(camera.K), np.asarray(camera.T_camera_world), strict=True):
        points = (vertices @ T[:3, :3].T + T[:3, 3]) @ K.T
        pixels = points[:, :2] / points[:, 2:]
        assert (pixels >= -0.1).all() and (pixels <= [200.1, 100.1]).all()
        assert np.ptp(pixels, axis=0).max() == pytest.approx(90, rel=1e-3)


def test_table_is_aligned():
    table = format_table(
        "title", [BenchmarkRow("a long name", "1"), BenchmarkRow("b", "2", "3", "4")]
    )
    assert table.splitlines() == [
        "title        measured  must  aim",
        "a long name  1",
        "b            2         3     4",
    ]
