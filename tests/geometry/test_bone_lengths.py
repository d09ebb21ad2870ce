"""Bone lengths of another hand, against a walk along the tree and by their properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.toy.hand import make_toy_template
from dhm.geometry.bone_lengths import adjust_bone_lengths
from tests.references.geometry import random_rotation

TEMPLATE = make_toy_template(400)
PARENTS, NAMES = TEMPLATE.parents, TEMPLATE.joint_names
NUM_JOINTS = len(PARENTS)


def slow(joints, target, valid, parents):
    """Joint by joint, each up the tree to the first ancestor with a target."""
    moved = {}

    def place(joint):
        if joint not in moved:
            parent = parents[joint]
            if parent < 0:
                moved[joint] = joints[joint]
                return moved[joint]
            place(parent)
            anchor = parent
            while anchor >= 0 and not valid[anchor]:
                anchor = parents[anchor]
            if not valid[joint] or anchor < 0:
                moved[joint] = moved[parent] + joints[joint] - joints[parent]
            else:
                bone = joints[joint] - joints[anchor]
                wanted = np.linalg.norm(target[joint] - target[anchor])
                moved[joint] = moved[anchor] + bone / np.linalg.norm(bone) * wanted
        return moved[joint]

    return np.stack([place(joint) for joint in range(len(parents))])


def hands(seed, share=1.0):
    rng = np.random.default_rng(seed)
    joints, target = rng.normal(0, 40, (2, NUM_JOINTS, 3)).astype(np.float32)
    return joints, target, rng.random(NUM_JOINTS) < share


def lengths(joints):
    child = np.array([j for j, p in enumerate(PARENTS) if p >= 0])
    return np.linalg.norm(joints[child] - joints[np.array(PARENTS)[child]], axis=-1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from((0.0, 0.3, 0.8, 1.0)))
def test_it_agrees_with_a_walk_along_the_tree(seed, share):
    joints, target, valid = hands(seed, share)
    fast = adjust_bone_lengths(jnp.array(joints), jnp.array(target), jnp.array(valid), PARENTS)
    np.testing.assert_allclose(fast, slow(joints, target, valid, PARENTS), atol=2e-3)


def test_children_may_come_before_their_parents():
    parents = (2, 0, -1, 1)
    joints, target, _ = (x[:4] for x in hands(5))
    valid = np.array([False, True, True, True])
    fast = adjust_bone_lengths(jnp.array(joints), jnp.array(target), jnp.array(valid), parents)
    np.testing.assert_allclose(fast, slow(joints, target, valid, parents), atol=1e-3)


def test_all_bones_get_the_target_s_lengths_and_keep_their_directions():
    joints, target, valid = hands(1)
    moved = np.asarray(adjust_bone_lengths(*map(jnp.array, (joints, target, valid)), PARENTS))
    np.testing.assert_allclose(lengths(moved), lengths(target), rtol=1e-4)
    child = np.array([j for j, p in enumerate(PARENTS) if p >= 0])
    bones = [(x[child] - x[np.array(PARENTS)[child]]) for x in (joints, moved)]
    unit = [b / np.linalg.norm(b, axis=-1, keepdims=True) for b in bones]
    np.testing.assert_allclose(unit[0], unit[1], atol=1e-4)
    np.testing.assert_array_equal(moved[PARENTS.index(-1)], joints[PARENTS.index(-1)])


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_twice_is_as_good_as_once(share):
    joints, target, valid = map(jnp.array, hands(2, share))
    once = adjust_bone_lengths(joints, target, valid, PARENTS)
    twice = adjust_bone_lengths(once, target, valid, PARENTS)
    np.testing.assert_allclose(once, twice, atol=1e-3)


def test_equal_lengths_change_nothing_wherever_the_target_is():
    joints, _, valid = hands(3)
    R = random_rotation(np.random.default_rng(3), 1)[0]
    target = (joints @ R.T + np.array([100.0, -50.0, 900.0])).astype(np.float32)
    moved = adjust_bone_lengths(*map(jnp.array, (joints, target, valid)), PARENTS)
    np.testing.assert_allclose(moved, joints, atol=2e-3)


def test_without_any_target_nothing_moves():
    joints, target, _ = hands(4)
    nothing = jnp.zeros(NUM_JOINTS, bool)
    moved = adjust_bone_lengths(jnp.array(joints), jnp.array(target), nothing, PARENTS)
    np.testing.assert_array_equal(moved, joints)


def test_a_missing_joint_lends_no_coordinates():
    """Those of a missing joint are zeros in the data; whatever stands there must not matter."""
    joints, target, valid = hands(6, 0.7)
    other = np.where(valid[:, None], target, np.nan).astype(np.float32)
    with_zeros, with_nan = (
        adjust_bone_lengths(jnp.array(joints), jnp.array(t), jnp.array(valid), PARENTS)
        for t in (np.where(valid[:, None], target, 0).astype(np.float32), other)
    )
    np.testing.assert_array_equal(with_zeros, with_nan)


def test_the_gradient_is_that_of_finite_differences():
    joints, target, valid = hands(7, 0.8)
    weight = np.random.default_rng(8).normal(size=joints.shape).astype(np.float32)

    def score(joints):
        moved = adjust_bone_lengths(joints, jnp.array(target), jnp.array(valid), PARENTS)
        return jnp.sum(moved * weight)

    gradient = np.asarray(jax.grad(score)(jnp.array(joints)))
    for joint in range(0, NUM_JOINTS, 3):
        step = np.zeros_like(joints)
        step[joint, 1] = 0.05
        ends = [
            np.sum(slow(np.float64(joints + s), np.float64(target), valid, PARENTS) * weight)
            for s in (step, -step)
        ]
        assert gradient[joint, 1] == pytest.approx((ends[0] - ends[1]) / 0.1, abs=2e-2)


@pytest.mark.parametrize("empty", ["joints", "target", "both"])
def test_bones_without_length_have_finite_gradients(empty):
    joints, target, valid = map(jnp.array, hands(9))
    joints = jnp.zeros_like(joints) if empty != "target" else joints
    target = jnp.zeros_like(target) if empty != "joints" else target

    def score(joints, target):
        return jnp.sum(adjust_bone_lengths(joints, target, valid, PARENTS) ** 2)

    value, gradients = jax.value_and_grad(score, (0, 1))(joints, target)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert all(np.abs(gradient).max() < 1e5 for gradient in gradients)


def test_it_keeps_leading_axes():
    joints, target, valid = (np.stack([a, b, a]) for a, b in zip(hands(10), hands(11), strict=True))
    many = adjust_bone_lengths(*map(jnp.array, (joints, target, valid)), PARENTS)
    one = adjust_bone_lengths(*(jnp.array(x[1]) for x in (joints, target, valid)), PARENTS)
    np.testing.assert_allclose(many[1], one, atol=1e-4)
