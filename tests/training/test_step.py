"""Four devices with eight samples each are one device with thirty-two."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.losses.objective import rigid_penetration_term
from dhm.training import step as step_module
from dhm.training.step import make_parallel_step, replicate, shard, train_step
from dhm.types import Batch
from tests.training.toy_step import SETTINGS, SIZE, toy_batch, toy_step


@functools.cache
def _step(num_devices: int, mesh_pose: str, resnet: bool):
    """Compiled once for each size of batch."""
    spec, _ = toy_step(mesh_pose, resnet)
    return make_parallel_step(spec, jax.devices()[:num_devices])


def _run(
    num_devices: int,
    batch: Batch,
    mesh_samples: int | None = None,
    mesh_pose: str = "encoder",
    resnet: bool = False,
):
    (_, before), devices = toy_step(mesh_pose, resnet), jax.devices()[:num_devices]
    step = _step(num_devices, mesh_pose, resnet)
    stride = len(batch.image) // (mesh_samples or len(batch.image))
    targets = batch.target_depth, batch.target_camera
    depth, camera = jax.tree.map(lambda x: x[::stride], targets)
    batch = batch._replace(target_depth=depth, target_camera=camera)
    after, metrics = step(replicate(before, devices), shard(batch, num_devices))
    return jax.device_get((metrics, after.opt_state.trace, after.batch_stats))


def _relative(a, b):
    leaves = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    difference = np.sqrt(sum(np.sum((np.float64(x) - y) ** 2) for x, y in leaves))
    return difference / np.sqrt(sum(np.sum(np.float64(y) ** 2) for _, y in leaves))


@pytest.mark.parametrize("resnet", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_four_devices_with_eight_samples_equal_one_with_thirty_two(resnet):
    batch = toy_batch(32)
    metrics, gradient, stats = _run(4, batch, resnet=resnet)
    expected_metrics, expected_gradient, expected_stats = _run(1, batch, resnet=resnet)
    assert metrics["dropped"] == expected_metrics["dropped"] == 1
    for name, value in expected_metrics.items():
        assert metrics[name] == pytest.approx(value, rel=1e-5), name
    assert expected_metrics["depth"] > 0
    spec, state = toy_step(resnet=resnet)
    variables = jax.tree.map(jnp.asarray, state.variables)
    change = np.float64(spec.model.apply(variables, method="skeleton_change"))
    assert metrics["skeleton"] == pytest.approx(np.mean(np.sum(change**2, axis=-1)), rel=1e-5)
    for name in expected_gradient:
        assert _relative(gradient[name], expected_gradient[name]) < 1e-5, name
    assert _relative(stats, expected_stats) < 1e-5


@pytest.mark.slow
def test_meshes_of_every_fourth_sample_do_not_depend_on_the_devices():
    """8 of 32: joints of all, the rest of every fourth; on four devices as on one."""
    batch = toy_batch(32)
    metrics, gradient, _ = _run(1, batch, mesh_samples=8)
    sharded_metrics, sharded_gradient, _ = _run(4, batch, mesh_samples=8)
    for name, value in metrics.items():
        assert sharded_metrics[name] == pytest.approx(value, rel=2e-5), name
    for name in gradient:
        assert _relative(sharded_gradient[name], gradient[name]) < 2e-5, name
    every, _, _ = _run(1, batch)
    assert metrics["joint"] == pytest.approx(every["joint"], rel=1e-5)
    assert metrics["P_err"] == pytest.approx(every["P_err"], rel=1e-5)
    assert abs(metrics["depth"] / every["depth"] - 1) > 1e-3
    weights = SETTINGS
    expected = (
        weights.joint * metrics["joint"]
        + weights.depth * metrics["depth"]
        + weights.penetration * metrics["penetration_rigid"]
        + weights.penetration * weights.non_rigid * metrics["penetration_non_rigid"]
        + weights.laplacian * metrics["laplacian"]
        + weights.skeleton * metrics["skeleton"]
    )
    assert metrics["total"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_mesh_terms_of_a_quarter_of_equal_samples_equal_those_of_all():
    """The 32 samples are four copies of eight: each choice of a quarter is the whole."""
    batch = jax.tree.map(lambda x: np.repeat(x, 4, axis=0), toy_batch(8))
    some, gradient, _ = _run(1, batch, mesh_samples=8)
    every, expected, _ = _run(1, batch)
    for name in ("depth", "laplacian", "joint", "total"):
        assert some[name] == pytest.approx(every[name], rel=1e-4), name
    for name in expected:
        assert _relative(gradient[name], expected[name]) < 1e-3, name


@pytest.mark.slow
def test_meshes_in_a_fitted_pose_give_the_encoder_no_gradient():
    """Their joints lie nearly on the targets; depth maps pull at the decoder, pictures do not."""
    batch = toy_batch(32)
    metrics, gradient, _ = _run(1, batch, mesh_samples=8, mesh_pose="fitted")
    with_encoder, of_encoder, _ = _run(1, batch, mesh_samples=8)
    assert metrics["joint"] == pytest.approx(with_encoder["joint"], rel=1e-4)
    assert metrics["joint_fitted"] < 0.1 * metrics["joint"]
    assert metrics["depth"] < 0.7 * with_encoder["depth"]
    farther = np.where(batch.target_depth > 0, batch.target_depth + 5, 0)
    moved_batch = batch._replace(target_depth=farther)
    _, moved, _ = _run(1, moved_batch, mesh_samples=8, mesh_pose="fitted")
    assert _relative(moved["encoder"], gradient["encoder"]) < 1e-6
    assert _relative(moved["identity_corrective"], gradient["identity_corrective"]) > 0.1
    assert _relative(of_encoder["encoder"], gradient["encoder"]) > 1e-3
    other_batch = batch._replace(image=255 - batch.image)
    _, other, _ = _run(1, other_batch, mesh_samples=8, mesh_pose="fitted")
    assert _relative(other["encoder"], gradient["encoder"]) > 0.1
    for part in gradient.keys() - {"encoder"}:
        assert _relative(other[part], gradient[part]) < 1e-6, part
    sharded, _, _ = _run(4, batch, mesh_samples=8, mesh_pose="fitted")
    for name, value in metrics.items():
        assert sharded[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


@pytest.mark.slow
def test_with_fitted_meshes_rigid_penetration_is_that_of_the_encoder_poses():
    """Eq. 2 needs no mesh: it holds for all samples, in the pose and at the place they have."""
    batch = toy_batch(32)
    fitted, _, _ = _run(1, batch, mesh_samples=8, mesh_pose="fitted")
    every, _, _ = _run(1, batch)
    assert every["penetration_rigid"] > 0
    # Spheres of 20 mm overlap by hundredths: what float32 leaves of the difference.
    assert fitted["penetration_rigid"] == pytest.approx(every["penetration_rigid"], rel=5e-3)
    spec, state = toy_step()
    variables = jax.tree.map(jnp.asarray, state.variables)
    hand = spec.model.apply(variables, jnp.zeros((1, 28)), method="decode")
    counted = jnp.asarray(np.delete(batch.joints, 3, axis=0))  # toy_batch's invalid sample
    of_targets = rigid_penetration_term(
        counted, hand.joints_zero, hand.v_zero, spec.topology.parts, SETTINGS
    )
    assert abs(of_targets.mean() / every["penetration_rigid"] - 1) > 0.1


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(BadInputError, match=r"6 samples a process.*multiple of its 4 devices"):
        shard(toy_batch(6), 4)


def test_a_step_is_traced_once_and_reuses_its_buffers(monkeypatch):
    traces = []

    def counted(state, batch, spec):
        traces.append(batch.image.shape)
        return train_step(state, batch, spec)

    monkeypatch.setattr(step_module, "train_step", counted)
    spec, host_state = toy_step()
    devices = jax.devices()[:2]
    step, state = (
        make_parallel_step(spec, devices),
        replicate(host_state, devices),
    )
    batch = shard(toy_batch(4), 2)
    for expected_step in (1, 2, 3):
        before, (state, _) = state, step(state, batch)
        assert int(state.step) == expected_step
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))
    assert traces == [(2, SIZE, SIZE, 3)]
    np.testing.assert_array_equal(state.identity["code"], host_state.identity["code"])
