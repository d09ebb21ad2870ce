"""Four devices with eight samples each are one device with thirty-two."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from data_prep.toy_hand import make_toy_template
from dhm.errors import BadInputError
from dhm.losses.objective import ObjectiveSettings
from dhm.networks.encoder import ImageEncoder
from dhm.networks.hand_model import HandModel
from dhm.rendering import render_depth
from dhm.training import parallel
from dhm.training.state import create_train_state, initial_variables
from dhm.training.step import make_step_spec, train_step
from dhm.types import Batch, Camera
from tests.references.geometry import random_rotation

SETTINGS = ObjectiveSettings(
    joint=1, depth=1, penetration=1, laplacian=5, non_rigid=5,
    depth_reduction="foreground", penetration_reduction="mean", depth_beta=1.0,
)  # fmt: skip
SIZE, VIEWS = 32, 2


@functools.cache
def _batch(size: int) -> Batch:
    """Tiles for images; joints and depth maps of hands in random poses, some joints missing.

    Targets that a hand can reach: with random joints and planes for depth maps rounding alone
    leaves 1.5e-5 in the encoder's gradient, with eight seeds of this batch at most 9.4e-6.
    """
    rng, (spec, state) = np.random.default_rng(0), _set_up()
    root = np.tile(np.eye(4, dtype=np.float32), (size, 1, 1))
    root[:, :3, :3] = random_rotation(rng, size)
    view = np.tile(np.eye(4, dtype=np.float32), (size, VIEWS, 1, 1))
    view[..., :3, :3] = random_rotation(rng, size * VIEWS).reshape(size, VIEWS, 3, 3)
    view[..., 2, 3] = 800
    K = np.tile(np.array([[120, 0, 16], [0, 120, 16], [0, 0, 1]], np.float32), (size, VIEWS, 1, 1))
    theta = rng.uniform(-0.3, 0.5, (size, 28)).astype(np.float32)
    arguments = jax.tree.map(jnp.asarray, (state.variables, theta, root))
    hand = spec.model.apply(*arguments, method="decode")
    camera = Camera(*jax.tree.map(jnp.asarray, (K, view)))
    depth = render_depth(hand.vertices, spec.model.template.faces, camera, (SIZE, SIZE))
    valid = rng.random((size, 22)) < 0.95
    valid[3] = False  # a sample that must not count, on one device only
    batch = Batch(
        image=rng.integers(0, 255, (size, 4, 4, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2),
        joints=hand.joints,
        joint_valid=valid,
        target_depth=depth,
        target_camera=camera,
        frame=np.arange(size, dtype=np.int32),
        record=np.arange(size, dtype=np.int32),
    )
    return jax.device_get(batch)


@functools.cache
def _set_up(mesh_pose: str = "encoder"):
    template = make_toy_template(800)
    encoder = ImageEncoder(depth=18, width=8, axis_name=parallel.AXIS)
    model = HandModel(template, encoder)
    variables = initial_variables(model, seed=0, subject=1, image_size=SIZE)
    # Momentum without memory keeps the exact gradient in its state.
    state = jax.device_get(create_train_state(model, variables, optax.trace(decay=0.0)))
    return make_step_spec(model, SETTINGS, parallel.AXIS, mesh_pose), state


@functools.cache
def _step(num_devices: int, mesh_pose: str):
    """Compiled once for each size of batch; each compilation takes half a minute."""
    spec, _ = _set_up(mesh_pose)
    return parallel.make_parallel_step(spec, jax.devices()[:num_devices])


def _run(num_devices: int, batch: Batch, mesh_samples: int | None = None, mesh_pose="encoder"):
    (_, before), devices = _set_up(), jax.devices()[:num_devices]
    step = _step(num_devices, mesh_pose)
    stride = len(batch.image) // (mesh_samples or len(batch.image))
    targets = batch.target_depth, batch.target_camera
    depth, camera = jax.tree.map(lambda x: x[::stride], targets)
    batch = batch._replace(target_depth=depth, target_camera=camera)
    after, metrics = step(parallel.replicate(before, devices), parallel.shard(batch, num_devices))
    return jax.device_get((metrics, after.opt_state.trace, after.batch_stats))


def _relative(a, b):
    leaves = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    difference = np.sqrt(sum(np.sum((np.float64(x) - y) ** 2) for x, y in leaves))
    return difference / np.sqrt(sum(np.sum(np.float64(y) ** 2) for _, y in leaves))


def test_four_devices_with_eight_samples_are_one_with_thirty_two():
    batch = _batch(32)
    metrics, gradient, stats = _run(4, batch)
    expected_metrics, expected_gradient, expected_stats = _run(1, batch)
    assert metrics["dropped"] == expected_metrics["dropped"] == 1
    for name, value in expected_metrics.items():
        assert metrics[name] == pytest.approx(value, rel=1e-5), name
    assert expected_metrics["depth"] > 0
    for name in expected_gradient:
        assert _relative(gradient[name], expected_gradient[name]) < 1e-5, name
    assert _relative(stats, expected_stats) < 1e-5


def test_meshes_of_some_samples_are_those_samples_whatever_the_devices():
    """8 of 32: joints of all, the rest of every fourth; on four devices as on one."""
    batch = _batch(32)
    metrics, gradient, _ = _run(1, batch, mesh_samples=8)
    sharded_metrics, sharded_gradient, _ = _run(4, batch, mesh_samples=8)
    for name, value in metrics.items():
        assert sharded_metrics[name] == pytest.approx(value, rel=1e-5), name
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
    )
    assert metrics["total"] == pytest.approx(expected, rel=1e-5)


def test_mesh_terms_of_all_samples_are_the_mean_over_every_choice():
    """The 32 samples are four copies of eight: each choice of a quarter is the whole."""
    batch = jax.tree.map(lambda x: np.repeat(x, 4, axis=0), _batch(8))
    some, gradient, _ = _run(1, batch, mesh_samples=8)
    every, expected, _ = _run(1, batch)
    for name in ("depth", "laplacian", "joint", "total"):
        assert some[name] == pytest.approx(every[name], rel=1e-4), name
    for name in expected:
        assert _relative(gradient[name], expected[name]) < 1e-3, name


def test_meshes_in_a_fitted_pose_are_free_of_the_encoder():
    """Their joints lie nearly on the targets; depth maps pull at the decoder, pictures do not."""
    batch = _batch(32)
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


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(BadInputError, match=r"6 samples a process.*multiple of its 4 devices"):
        parallel.shard(_batch(6), 4)


def test_a_step_is_traced_once_and_reuses_its_buffers(monkeypatch):
    traces = []

    def counted(state, batch, spec):
        traces.append(batch.image.shape)
        return train_step(state, batch, spec)

    monkeypatch.setattr(parallel, "train_step", counted)
    spec, host_state = _set_up()
    devices = jax.devices()[:2]
    step, state = (
        parallel.make_parallel_step(spec, devices),
        parallel.replicate(host_state, devices),
    )
    batch = parallel.shard(_batch(4), 2)
    for expected_step in (1, 2, 3):
        before, (state, _) = state, step(state, batch)
        assert int(state.step) == expected_step
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))
    assert traces == [(2, SIZE, SIZE, 3)]
    np.testing.assert_array_equal(state.identity["code"], host_state.identity["code"])
