"""The baseline's decoder against MANO's own forward model, and what training asks of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.studio.template.hand_template import hand_template
from dhm.networks.build import ModelSettings, build_linear_model
from dhm.networks.mano import OUTPUT_NAMES, mano
from dhm.training.state import initial_variables
from tests.references.mano import random_mano


@functools.cache
def _model():
    rig, linear = hand_template("coarse"), random_mano(num_vertices=200)
    model = build_linear_model(linear, rig, ModelSettings(depth=18, width=4, head_hidden=(8,)))
    return model, initial_variables(model, seed=0, subject=1, image_size=32)


def _poses(number=3):
    return 0.3 * jax.random.normal(jax.random.key(5), (number, 45))


def _shaped(variables, factor):
    """Variables with a shape vector that is not as good as nothing."""
    params = jax.tree.map(lambda x: x, variables["params"])
    params["shape_layers_1"]["bias"] = factor * jnp.ones_like(params["shape_layers_1"]["bias"])
    return variables | {"params": params}


def test_vertices_and_joints_are_manos():
    model, variables = _model()
    variables, theta = _shaped(variables, 0.7), _poses()
    output = model.apply(variables, theta, method="decode")
    betas = jnp.tile(model.apply(variables, method="betas"), (len(theta), 1))
    assert float(jnp.abs(betas).min()) > 0.5
    expected = mano(model.linear, betas, theta, None, None)
    np.testing.assert_allclose(output.vertices, expected.vertices, atol=2e-4)
    own = [model.template.joint_names.index(name) for name in OUTPUT_NAMES]
    np.testing.assert_allclose(output.joints[:, own], expected.joints, atol=2e-4)
    at_rest = mano(model.linear, betas, jnp.zeros_like(theta), None, None)
    np.testing.assert_allclose(output.v_zero, at_rest.vertices, atol=2e-4)
    np.testing.assert_allclose(output.joints_zero[:, own], at_rest.joints, atol=2e-4)


def test_joints_alone_are_those_of_the_mesh_and_the_root_transform_moves_both():
    model, variables = _model()
    theta, move = _poses(), np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))
    move[:, :3, 3] = (10, 20, 30)
    frames = model.apply(variables, theta, method="pose_joints")
    output = model.apply(variables, theta, method="decode")
    np.testing.assert_allclose(frames[..., :3, 3], output.joints, atol=1e-4)
    moved = model.apply(variables, theta, jnp.asarray(move), method="decode")
    np.testing.assert_allclose(moved.joints, output.joints + move[0, :3, 3], atol=1e-3)
    np.testing.assert_allclose(moved.vertices, output.vertices + move[0, :3, 3], atol=1e-3)


def test_only_encoder_and_shape_are_learned_and_one_joint_is_unknown():
    model, variables = _model()
    assert set(variables["params"]) == {"encoder", "shape_layers_0", "shape_layers_1"}
    names = np.array(model.template.joint_names)
    assert names[~model.joint_mask].tolist() == ["thumb0"]
    assert not np.any(model.apply(variables, method="skeleton_change"))


@pytest.mark.slow
def test_the_fit_finds_the_joints_of_a_pose():
    """Poses near the prior's, on a hand whose joints lie where a hand's do."""
    model, variables = _model()
    mean = jnp.asarray(model.linear.hands_mean, jnp.float32)
    joints = model.apply(variables, mean + 0.3 * _poses(6), method="pose_joints")[..., :3, 3]
    fit = jax.jit(lambda joints, valid: model.apply(variables, joints, valid, method="fit"))
    valid = jnp.ones(joints.shape[:2], bool)
    found = fit(joints, valid)
    assert np.median(found.residual) < 0.3
    fitted = model.apply(variables, found.theta, found.T_world_model, method="decode")
    distance = jnp.linalg.norm(fitted.joints - joints, axis=-1)[:, model.joint_mask].mean(axis=1)
    np.testing.assert_allclose(distance, found.residual, atol=0.02)
    # The joint that the model lacks may lie anywhere.
    lacking = int(np.flatnonzero(~model.joint_mask)[0])
    moved = fit(joints.at[:, lacking].add(500.0), valid)
    np.testing.assert_allclose(moved.residual, found.residual, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("theta", [jnp.zeros((1, 45)), _poses(1)])
def test_gradients_reach_pose_and_shape(theta):
    model, variables = _model()

    def loss(params, theta):
        output = model.apply({**variables, "params": params}, theta, method="decode")
        return jnp.sum(jnp.square(output.vertices)) / 1e4

    shape, pose = jax.grad(loss, (0, 1))(variables["params"], theta)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((shape, pose)))
    assert np.abs(shape["shape_layers_1"]["bias"]).max() > 0 and np.abs(pose).max() > 0
