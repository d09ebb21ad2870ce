"""Training an encoder before a decoder that stays as it is (paper section 8.4)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dhm.networks.hand_model import joints_aligned
from dhm.training.checkpoint import Checkpoints
from dhm.training.replay import Finding, Replay, find_non_finite
from dhm.training.state import TrainState, create_train_state, encoder_only, make_optimiser
from dhm.training.step import AXIS, StepSpec, make_parallel_step, make_step_spec, replicate, shard
from dhm.types import Batch, Camera
from tests.training.toy_step import SETTINGS, SIZE, toy_batch, toy_step

NUM = 8


def batch_without_views() -> Batch:
    """As the input pipeline makes it where no depth is read; some joints are missing."""
    batch = toy_batch(NUM)
    camera = Camera(np.zeros((NUM, 0, 3, 3), np.float32), np.zeros((NUM, 0, 4, 4), np.float32))
    depth = np.zeros((NUM, 0, SIZE, SIZE), np.float32)
    return batch._replace(target_depth=depth, target_camera=camera)


@functools.cache
def fixed() -> tuple[StepSpec, TrainState]:
    """A step that leaves the decoder alone, and a state at its start."""
    toy, before = toy_step()
    spec = make_step_spec(toy.model, SETTINGS, AXIS, fixed_decoder=True)
    made = encoder_only(make_optimiser("muon", lambda step: 1e-3, 10.0))
    variables = jax.tree.map(jnp.asarray, before.variables)
    return spec, jax.device_get(create_train_state(toy.model, variables, made))


def run(spec, state, num_devices=2, steps=3):
    devices = jax.devices()[:num_devices]
    step = make_parallel_step(spec, devices)
    state, batch = replicate(state, devices), batch_without_views()
    seen = []
    for _ in range(steps):
        state, metrics = step(state, shard(batch, num_devices))
        seen.append({name: float(value) for name, value in metrics.items()})
    return jax.device_get(state), seen


@pytest.fixture(scope="module")
def trained():
    return run(*fixed())


def test_only_the_encoder_changes(trained):
    _, before = fixed()
    after, _ = trained
    assert before.params.keys() == after.params.keys()
    for name, part in before.params.items():
        pairs = list(zip(jax.tree.leaves(part), jax.tree.leaves(after.params[name]), strict=True))
        if name == "encoder":
            assert all(np.any(a != b) for a, b in pairs)
        else:
            assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs), name
    np.testing.assert_array_equal(before.identity["code"], after.identity["code"])


def test_the_optimiser_has_no_state_for_the_decoder():
    _, state = fixed()
    sizes = {
        name: sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in state.params.items()
    }
    kept = sum(np.size(leaf) for leaf in jax.tree.leaves(state.opt_state))
    assert 0 < kept <= 2 * sizes["encoder"] + 20  # and a few counters
    assert sum(sizes.values()) > 10 * kept


def test_the_total_is_the_pose_loss_and_decreases(trained):
    _, seen = trained
    assert set(seen[0]) == {"joint", "P_err", "total", "grad_norm", "dropped"}
    assert seen[0]["total"] == pytest.approx(SETTINGS.joint * seen[0]["joint"])
    assert seen[0]["dropped"] == 1
    assert seen[-1]["joint"] < seen[0]["joint"]


def test_the_loss_is_that_of_joints_with_adjusted_bone_lengths(trained):
    """Calculated again outside the step, sample by sample."""
    spec, state = fixed()
    batch, variables = jax.tree.map(jnp.asarray, (batch_without_views(), state.variables))
    apply = jax.vmap(
        lambda images: spec.model.apply(
            variables, images, train=True, method="encode", mutable=["batch_stats"]
        )[0],
        axis_name=AXIS,
    )
    theta = apply(batch.image[None])[0]
    joints, aligned = joints_aligned(spec.model, variables, theta, batch, bone_lengths=True)
    losses, errors = [], []
    for i in np.flatnonzero(aligned):
        difference = np.asarray(joints[i] - batch.joints[i])[np.asarray(batch.joint_valid[i])]
        losses.append(np.abs(difference).sum() / len(difference))
        errors.append(np.linalg.norm(difference, axis=1).mean())
    assert trained[1][0]["joint"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert trained[1][0]["P_err"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_only_the_encoder_has_a_gradient_which_does_not_depend_on_the_devices():
    (spec, _), (_, before) = fixed(), toy_step()  # the toy's optimiser keeps the exact gradient
    one, _ = run(spec, before, 1, 1)
    four, _ = run(spec, before, 4, 1)
    for name, gradient in one.opt_state.trace.items():
        leaves = jax.tree.leaves(gradient)
        if name != "encoder":
            assert not any(np.any(leaf) for leaf in leaves), name
            continue
        pairs = list(zip(leaves, jax.tree.leaves(four.opt_state.trace[name]), strict=True))
        difference = np.sqrt(sum(np.sum((np.float64(a) - b) ** 2) for a, b in pairs))
        assert difference < 1e-5 * np.sqrt(sum(np.sum(np.float64(a) ** 2) for a, _ in pairs))


def test_resuming_from_a_checkpoint_is_bit_identical(trained, tmp_path):
    spec, before = fixed()
    first, _ = run(spec, before, steps=2)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(first)
    restored = checkpoints.restore(fixed()[1])
    checkpoints.close()
    again, _ = run(spec, restored, steps=1)
    jax.tree.map(np.testing.assert_array_equal, again.params, trained[0].params)
    jax.tree.map(np.testing.assert_array_equal, again.opt_state, trained[0].opt_state)


def test_a_joint_that_is_not_finite_is_found_in_a_saved_step():
    spec, state = fixed()
    batch = batch_without_views()
    joints = batch.joints.copy()
    joints[2, 0] = np.nan
    names = tuple(map(str, range(NUM)))
    finding = find_non_finite(
        spec, Replay(1, state.variables, batch._replace(joints=joints), names)
    )
    assert isinstance(finding, Finding)
    assert (finding.term, finding.samples) == ("joint", (2,))
