"""The studio's rig: kinematics compared with dhm.geometry's, limits, cupping, and the subjects."""

from dataclasses import replace
from itertools import combinations

import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.rig import (
    DOF_NAMES,
    JOINT_LIMITS,
    digit_joints,
    metacarpal_frames,
    pose_rig,
    rest_frames,
    rig_parents,
    rig_transforms,
)
from dhm.errors import BadInputError
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES, dof_indices, pose_to_euler
from dhm.geometry.kinematics import forward_kinematics
from dhm.geometry.transforms import euler_angles_to_matrix
from tests.data_prep.studio.poses import fist, pose, random_pose


@pytest.mark.parametrize("number", [0, 1, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_kinematics_without_cupping_equal_the_models(number, seed):
    person, theta = replace(subject(number), cupping=0.0), random_pose(seed)
    euler = pose_to_euler(jnp.asarray(theta, jnp.float32), dof_indices(JOINT_NAMES), 22)
    expected = forward_kinematics(
        jnp.asarray(rig_transforms(person), jnp.float32),
        euler_angles_to_matrix(euler),
        rig_parents(),
    )
    np.testing.assert_allclose(pose_rig(person, theta), expected, atol=2e-4)


def test_zero_pose_is_the_rest_pose():
    frames = rest_frames(subject(2))
    expected = [frames[name] for name in JOINT_NAMES]
    np.testing.assert_allclose(pose_rig(subject(2), np.zeros(28)), expected, atol=1e-12)


@pytest.mark.parametrize("number", range(5))
def test_bones_keep_their_lengths_in_any_pose(number):
    person = subject(number)
    T = dict(zip(JOINT_NAMES, pose_rig(person, random_pose(number)), strict=True))
    for finger, lengths in zip(FINGERS, person.lengths, strict=True):
        positions = np.array([T[name][:3, 3] for name in digit_joints(finger)])
        found = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        np.testing.assert_allclose(found, lengths, atol=1e-9)


def test_limits_are_in_the_order_of_the_rotations():
    assert JOINT_LIMITS.shape == (28, 2)
    limits = dict(zip(DOF_NAMES, JOINT_LIMITS.tolist(), strict=True))
    assert all(low < 0.0 < high for low, high in limits.values())
    for finger in FINGERS[1:]:
        assert limits[f"{finger}2_z"] == [-0.05, 1.85]
        assert limits[f"{finger}1_y"] == [-0.35, 0.35]
    assert limits["thumb3_z"] == [-0.35, 1.35]
    assert limits["thumb1_x"] == [-0.5, 0.9]


def test_positive_z_bends_a_finger_into_the_palm():
    T = pose_rig(subject(0), pose(index1_z=1.0))
    assert T[JOINT_NAMES.index("index_null"), 1, 3] > 40.0


def test_cupping_moves_only_the_two_outer_fingers_into_the_palm():
    person = subject(1)
    flat = replace(person, cupping=0.0)
    moved = pose_rig(person, fist())[:, :3, 3] - pose_rig(flat, fist())[:, :3, 3]
    shift = dict(zip(JOINT_NAMES, moved, strict=True))
    assert shift["pinky1"][1] > shift["ring1"][1] > 0.3
    assert shift["pinky1"][1] < 6.0
    still = [name for name in JOINT_NAMES if not name.startswith(("ring", "pinky"))]
    assert max(np.abs(shift[name]).max() for name in still) == 0.0
    np.testing.assert_array_equal(pose_rig(person, pose()), pose_rig(flat, pose()))


def test_metacarpal_frames_ignore_the_fingers_own_rotation():
    person = subject(0)
    straight, bent = (metacarpal_frames(person, theta) for theta in (pose(), fist()))
    for name, frame in straight.items():
        np.testing.assert_array_equal(frame, bent[name])
        np.testing.assert_allclose(frame, rest_frames(person)[name], atol=1e-12)


def _measures(number: int, name: str) -> np.ndarray:
    return np.concatenate(getattr(subject(number), name))


@pytest.mark.parametrize("name", ["lengths", "radii"])
@pytest.mark.parametrize(("one", "other"), list(combinations(range(5), 2)))
def test_people_differ_by_more_than_a_common_scale(one, other, name):
    ratio = _measures(one, name) / _measures(other, name)
    assert np.abs(ratio - 1).mean() > 0.015
    assert ratio.std() / ratio.mean() > 0.01
    assert np.abs(ratio - 1).max() < 0.45


def test_subject_2_has_a_small_slender_hand():
    for name, largest in (("lengths", 0.93), ("radii", 0.90)):
        assert _measures(2, name).mean() < largest * _measures(0, name).mean()
        assert all(_measures(n, name).mean() > _measures(2, name).mean() for n in (1, 3, 4))


def test_unknown_subject_is_refused():
    for number in (-1, 5):
        with pytest.raises(BadInputError, match="subject"):
            subject(number)
