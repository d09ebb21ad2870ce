"""The whole job as a user runs it, in processes of its own, on a small capture."""

import json
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from dhm.export.package import load_model
from dhm.formats.obj import read_obj
from dhm.formats.ply import read_ply
from tests.launcher import launch, launch_here, make_home, small_job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def programs_beside_the_runs() -> Iterator[None]:
    """Where a user's launches keep what they compile, not with that of other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JAX_COMPILATION_CACHE_DIR")
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def finished(home) -> Path:
    """The workdir of a run that went through without a break."""
    done = launch(home, *small_job("whole", "--config.profile.steps=(3,4)"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "errors on training frames" in done.stdout
    return home / "whole"


def test_the_main_job_learns_and_reports_its_errors(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    overall = metrics["errors"]["overall"]
    assert (metrics["split"], metrics["unit"], overall["images"]) == ("train", "mm", 18)
    assert overall["P_err"] < 6  # 20 to 30 at the start
    assert overall["M_err"] < 4
    assert metrics["errors_fitted"]["overall"]["images"] == 6
    assert metrics["errors_fitted"]["overall"]["P_err"] < 2  # the decoder alone
    assert overall["chamfer"] == pytest.approx((overall["M_err"] + overall["scan_to_mesh"]) / 2)


def test_the_export_rebuilds_the_model_without_the_data(finished):
    folder = finished / "export"
    model, variables = load_model(folder)
    theta = jnp.zeros((1, 28))
    zero = model.apply(variables, theta, method="decode")
    mesh = read_obj(folder / "zero_pose.obj")
    np.testing.assert_allclose(mesh.vertices, zero.v_zero[0], atol=1e-3)
    np.testing.assert_array_equal(mesh.faces_uv, model.template.faces_uv)
    np.testing.assert_allclose(read_ply(folder / "zero_pose.ply")[0], mesh.vertices, atol=1e-3)
    assert len(list((folder / "posed").glob("*.obj"))) == 2
    assert json.loads((folder / "config.json").read_text())["train"]["epochs"] == 60


def test_the_trace_names_the_stages(finished):
    (trace,) = (finished / "profile").rglob("*.xplane.pb")
    data = trace.read_bytes()
    for stage in ("encode", "decode", "rasterize", "joint_loss", "depth_loss", "penetration_loss",
                  "laplacian_loss", "update"):  # fmt: skip
        assert stage.encode() in data, stage


@pytest.mark.mistake(
    "train",
    "again in the workdir of a finished run",
    "understood: nothing is trained, the results are written again",
)
def test_a_second_launch_goes_on_from_the_end_with_what_is_compiled(home, finished):
    def compiled():
        """Names of the programs that are kept, and the digests of each."""
        files = [path.name for path in (home / ".jax_cache").iterdir()]
        names = {file.rsplit("-", 2)[0] for file in files}
        return {name: {file for file in files if file.startswith(f"{name}-")} for name in names}

    first = compiled()
    assert "jit__fun" in first  # what pmap calls the step
    before = (finished / "export" / "params.msgpack").read_bytes()
    again = launch(home, *small_job("whole", "--config.profile.steps=(3,4)"))
    assert again.returncode == 0, again.stderr[-3000:]
    assert (finished / "export" / "params.msgpack").read_bytes() == before
    # On a slow machine one that was too quick to be kept may be kept now; none is there twice.
    assert {name: files for name, files in compiled().items() if name in first} == first


def test_another_config_on_the_same_workdir_is_refused(home, finished):
    other = launch_here(home, *small_job("whole", "--config.train.seed=1", task=("train",)))
    assert other.returncode == 1
    assert "config.train.seed = 0, expected 1" in other.stderr


@pytest.mark.parametrize("task", ["evaluate", "export"])
@pytest.mark.mistake(
    "export", "the config of another model", "refused, with the first setting that differs"
)
@pytest.mark.mistake(
    "evaluate", "the config of another model", "refused, with the first setting that differs"
)
def test_a_model_is_measured_and_exported_as_it_was_trained(home, finished, task):
    before = (finished / "export" / "config.json").read_bytes()
    (home / "some.safetensors").touch()
    weights = "--config.encoder.weights=some.safetensors"
    other = launch_here(home, *small_job("whole", weights, task=(task,)))
    assert other.returncode == 1
    assert "config.encoder.weights = '', expected 'some.safetensors'" in other.stderr
    assert (finished / "export" / "config.json").read_bytes() == before
