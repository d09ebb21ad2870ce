"""The measurement of an accelerator, on a CPU with small sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.studies import gpu
from dhm.studies.benchmarks.timing import BenchmarkRow
from dhm.studies.recorded_depth import RECORDED, compare, record

ROOT = Path(__file__).resolve().parents[2]
# What a machine with an accelerator need not have. absl comes with optax, msgpack with flax.
_ABSENT = (
    "cv2", "tensorflow_datasets", "grain", "trimesh", "igl", "ml_collections", "tqdm",
    "tensorboardX", "PIL", "imageio", "zstandard", "jinja2", "data_prep", "absl.app",
)  # fmt: skip
_BLOCKED = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {_ABSENT}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from dhm.studies.gpu import main
"""


def _without_packages(code: str, folder: Path) -> subprocess.CompletedProcess:
    """Runs code where the packages of `_ABSENT` cannot be imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-c", _BLOCKED + code], cwd=folder, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def test_measurements_import_without_the_data_packages(tmp_path):
    done = _without_packages("import dhm.studies.benchmarks.report", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_table_and_json_of_every_part_without_the_data_packages(tmp_path):
    done = _without_packages("sys.exit(main(['--small']))", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert content["machine"]["small"] and content["machine"]["jax"]
    parts, printed = content["parts"], done.stdout
    assert list(parts) == [
        "accuracy of the rasterizer", "speed of the rasterizer", "training step",
        "bfloat16 and float32", "prediction",
    ]  # fmt: skip
    for part in parts.values():
        assert part["error"] is None and part["seconds"] > 0
        assert all(row["name"] in printed for row in part["rows"])
    accuracy = parts["accuracy of the rasterizer"]["rows"]
    assert accuracy[0]["number"] <= 1e-5 and accuracy[1]["number"] <= 5e-3
    (speed,) = parts["speed of the rasterizer"]["rows"]
    assert (speed["must"], speed["aim"], speed["unit"]) == ("<= 5 ms", "<= 2 ms", "ms")
    assert [row["unit"] for row in parts["training step"]["rows"]] == ["images/s", "images/s", ""]
    curves = parts["bfloat16 and float32"]["curves"]
    assert list(curves) == ["float32", "bfloat16", "float32, another seed"]
    assert all(len(curve) == gpu.SMALL.steps for curve in curves.values())
    assert curves["float32"][0] != curves["float32, another seed"][0]
    assert len(parts["prediction"]["rows"]) == 3


def test_failed_part_is_reported_and_the_others_run(monkeypatch, tmp_path, capsys):
    def fail():
        raise ValueError("out of memory\nsecond line")

    row = BenchmarkRow("speed", "3 ms", number=3.0)
    parts = {"first": fail, "second": lambda: gpu.Measured([row])}
    monkeypatch.setattr(gpu.Accelerator, "parts", lambda self: parts)
    out = tmp_path / "numbers.json"
    assert gpu.main(["--small", "--out", str(out)]) == 1
    content = json.loads(out.read_text())["parts"]
    assert content["first"]["error"] == "ValueError: out of memory"
    assert content["second"]["error"] is None
    printed = capsys.readouterr()
    assert "FAILED  ValueError: out of memory" in printed.out and "3 ms" in printed.out
    assert "Traceback" in printed.err


def test_largest_gap_is_that_of_the_smoothed_curves():
    reference = np.full(100, 2.0)
    noisy = reference + np.tile([1.0, -1.0], 50)
    assert gpu._largest_gap(noisy, reference) == pytest.approx(0)
    assert gpu._largest_gap(1.25 * reference, reference) == pytest.approx(0.25)


def test_losses_that_are_not_finite_fail(monkeypatch):
    accelerator = gpu.Accelerator(gpu.SMALL)

    class Broken:
        @staticmethod
        def step(state, _batch):
            return state + 1, {"total": jnp.where(state == 3, jnp.nan, 1.0)}

    monkeypatch.setattr(accelerator, "compiled", lambda dtype: (None, None, None, Broken))
    monkeypatch.setattr(gpu, "fresh_state", lambda *_: 0)
    with pytest.raises(FloatingPointError, match="step 3"):
        accelerator._train(jnp.float32, 0, [None])


def test_accelerators_schedule_agrees_with_the_recorded_depth():
    hits, depth, gradient = compare("at_once")
    assert hits.number <= 1e-5
    assert depth.number <= 5e-3
    assert gradient.number <= 1e-4


def test_recording_gives_the_committed_file(tmp_path):
    record(tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as again, np.load(RECORDED) as recorded:
        assert sorted(again) == sorted(recorded)
        assert again["scene"] == recorded["scene"]
        hits = (np.unpackbits(record["hit"]) for record in (again, recorded))
        assert np.mean(np.not_equal(*hits)) <= 1e-5
        assert again["depth"].shape == recorded["depth"].shape == again["pixels"].shape
        np.testing.assert_allclose(again["depth"].mean(), recorded["depth"].mean(), rtol=1e-4)


def test_record_of_another_scene_is_refused(tmp_path):
    with np.load(RECORDED) as recorded:
        changed = {**recorded, "scene": np.array("0123")}
    np.savez(tmp_path / "changed.npz", **changed)
    with pytest.raises(BadInputError, match="a scene with digest 0123"):
        compare(path=tmp_path / "changed.npz")


@pytest.mark.mistake("dhm.studies.gpu", "--record on an accelerator", "refused")
def test_recording_needs_a_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    with pytest.raises(BadInputError, match="--record: found gpu, expected a CPU"):
        record(tmp_path / "again.npz")


@pytest.mark.mistake(
    "dhm.studies.gpu",
    "--out that is a folder, or in one that is not there",
    "refused before anything is measured",
)
def test_a_place_that_cannot_be_written_is_refused_before_it_measures(tmp_path, capsys):
    for place in (tmp_path, tmp_path / "none" / "gpu.json"):
        with pytest.raises(SystemExit):
            gpu.main(["--small", "--out", str(place)])
        assert "--out: found" in capsys.readouterr().err


@pytest.mark.mistake(
    "dhm.studies.gpu", "a machine without a GPU, or jax without CUDA's packages",
    "refused, unless --small only tries the command",
)  # fmt: skip
def test_a_cpu_is_no_accelerator(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    with pytest.raises(SystemExit):
        gpu.main(["--out", str(out)])
    assert "the device: found cpu, expected an accelerator" in capsys.readouterr().err
    assert not out.exists()
