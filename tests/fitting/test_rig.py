"""Posed joints and skin and their derivatives, against float64 twins and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.toy.hand import make_toy_template
from dhm.fitting.rig import (
    HandPose,
    Skin,
    joint_points,
    make_rig,
    move_pose,
    pose_rig,
    posed_joints,
    skin_normals,
    skin_points,
)
from dhm.geometry.hand_rig import dof_indices, joint_limits
from dhm.networks.hand_model import inverse_bind_pose
from tests.references import geometry as twin

TEMPLATE = make_toy_template(800)
RIG = make_rig(jnp.asarray(TEMPLATE.T_parent_joint), TEMPLATE.parents, TEMPLATE.joint_names)
LOW, HIGH = joint_limits(TEMPLATE.joint_names)
SAMPLE = np.arange(0, TEMPLATE.num_vertices, 97)
SKIN = Skin(
    jnp.asarray(TEMPLATE.lbs_weights[SAMPLE]),
    jnp.asarray(inverse_bind_pose(TEMPLATE), jnp.float32),
    jnp.asarray(TEMPLATE.v_template[SAMPLE]),
    jnp.tile(jnp.array([0.0, 0.6, 0.8]), (len(SAMPLE), 1)),
)


def _pose(seed):
    rng = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = twin.random_rotation(rng, 1)[0], rng.normal(scale=30, size=3)
    return rng.uniform(LOW, HIGH), T, float(rng.uniform(0.8, 1.2))


def _frames(theta):
    euler = np.zeros((22, 3))
    for value, (joint, axis) in zip(theta, dof_indices(TEMPLATE.joint_names), strict=True):
        euler[joint, axis] = value
    rotations = [twin.euler_matrix(e) for e in euler]
    return twin.forward_kinematics(TEMPLATE.T_parent_joint, rotations, TEMPLATE.parents)


def _joints(theta, T, scale):
    return scale * _frames(theta)[:, :3, 3] @ T[:3, :3].T + T[:3, 3]


def _skin(theta, T, scale):
    parts = (np.float64(x) for x in (SKIN.v_zero, SKIN.lbs_weights))
    bind = np.float64(inverse_bind_pose(TEMPLATE))
    v = twin.linear_blend_skinning(*parts, _frames(theta), bind)
    return scale * v @ T[:3, :3].T + T[:3, 3]


def _moved(theta, T, scale, step):
    """The pose after a step, independently: about the origin turned and grown, then shifted."""
    turn = twin.Rotation.from_rotvec(step[28:31]).as_matrix()
    growth = np.exp(step[34])
    place = np.eye(4)
    place[:3, :3] = turn @ T[:3, :3]
    place[:3, 3] = growth * turn @ T[:3, 3] + step[31:34]
    return theta + step[:28], place, scale * growth


def _hand_pose(theta, T, scale):
    return HandPose(jnp.float32(theta), jnp.float32(T), jnp.float32(scale))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", ["joints", "skin"])
def test_positions_and_derivatives(kind, seed):
    pose = _pose(seed)
    slow = {"joints": _joints, "skin": _skin}[kind]
    hand = _hand_pose(*pose)
    posed = pose_rig(RIG, hand.theta)
    if kind == "joints":
        points = joint_points(RIG, posed, hand)
    else:
        points = skin_points(RIG, posed, hand, SKIN)
    np.testing.assert_allclose(points.position, slow(*pose), atol=1e-3)
    size = 1e-5
    for column in range(35):
        step = np.zeros(35)
        step[column] = size
        ahead, behind = slow(*_moved(*pose, step)), slow(*_moved(*pose, -step))
        expected = (ahead - behind) / (2 * size)
        np.testing.assert_allclose(points.jacobian[:, :, column], expected, atol=5e-3)


def test_a_step_moves_the_pose_and_stays_within_the_limits():
    pose = _pose(2)
    rng = np.random.default_rng(5)
    step = np.concatenate([rng.normal(size=28) * 2, rng.normal(size=3) * 0.3, [4, -7, 2], [0.1]])
    moved = move_pose(RIG, _hand_pose(*pose), jnp.float32(step))
    theta, T, scale = _moved(*pose, step)
    np.testing.assert_allclose(moved.theta, np.clip(theta, LOW, HIGH), atol=1e-5)
    np.testing.assert_allclose(moved.T_world_model, T, atol=1e-4)
    assert float(moved.scale) == pytest.approx(scale, rel=1e-5)
    assert (np.asarray(moved.theta) < np.float32(HIGH)).any()


def test_normals_turn_with_a_rigid_hand_and_many_poses_at_once_are_the_same():
    theta, T, scale = _pose(3)
    hand = _hand_pose(np.zeros(28), T, scale)
    normals = skin_normals(pose_rig(RIG, hand.theta), hand, SKIN)
    np.testing.assert_allclose(normals, np.asarray(SKIN.normals) @ T[:3, :3].T, atol=1e-5)
    batch = jnp.float32(np.stack([np.zeros(28), theta]).reshape(1, 2, 28))
    joints = jax.jit(lambda angles: posed_joints(RIG, angles))(batch)
    np.testing.assert_allclose(joints[0, 1], _frames(theta)[:, :3, 3], atol=1e-3)
