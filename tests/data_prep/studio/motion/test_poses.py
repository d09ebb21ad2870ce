"""The 26 named poses: within the limits, without penetration, touching where they should."""

from functools import lru_cache

import numpy as np
import pytest

from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.rig import DOF_NAMES, JOINT_LIMITS
from data_prep.studio.motion.kinematics import pose_rigs
from data_prep.studio.motion.poses import POSES, contact_goals, pose_angles, solve_pose
from data_prep.studio.motion.repair import TOLERANCE, goal_distances
from data_prep.studio.motion.spheres import penetration_depth, sphere_hand
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES


@lru_cache
def solved(number: int, name: str):
    hand = sphere_hand(subject(number))
    return hand, solve_pose(hand, name)


def bend(theta, finger):
    """Flexion of a finger's first two joints together."""
    return theta[DOF_NAMES.index(f"{finger}1_z")] + theta[DOF_NAMES.index(f"{finger}2_z")]


def test_angles_of_the_26_poses_are_rotations_of_the_rig():
    assert len(POSES) == 26
    for name, pose in POSES.items():
        assert set(pose.angles) <= set(DOF_NAMES)
        low, high = JOINT_LIMITS.T
        assert (pose_angles(name) >= low).all() and (pose_angles(name) <= high).all()


def test_poses_are_distinct():
    angles = np.array([pose_angles(name) for name in POSES])
    apart = np.abs(angles[:, None] - angles[None]).max(axis=-1)
    assert apart[~np.eye(len(POSES), dtype=bool)].min() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", list(POSES))
def test_solved_pose_is_within_the_limits_and_does_not_penetrate(name):
    hand, theta = solved(2, name)
    low, high = JOINT_LIMITS.T
    assert (theta >= low).all() and (theta <= high).all()
    assert penetration_depth(hand, theta[None])[0] <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    "name", ["fist", "point", "three", "pinch_index", "pinch_middle", "precision", "key"]
)
def test_points_that_should_touch_are_close(number, name):
    hand, theta = solved(number, name)
    assert goal_distances(hand, theta, contact_goals(hand.proportions, name)).max() < 6.0


def test_pinch_brings_two_tips_together_and_no_others():
    hand, theta = solved(2, "pinch_index")
    joints = pose_rigs(hand.proportions, theta[None])[0, :, :3, 3]
    thumb, *fingers = (joints[JOINT_NAMES.index(f"{finger}_null")] for finger in FINGERS)
    distances = [np.linalg.norm(tip - thumb) for tip in fingers]
    assert distances[0] < 22.0 < 40.0 < min(distances[1:])


@pytest.mark.parametrize(
    ("name", "straight"),
    [
        ("fist", ""),
        ("point", "index"),
        ("victory", "index middle"),
        ("three", "index middle ring"),
        ("shaka", "pinky"),
        ("horns", "index pinky"),
    ],
)
def test_straight_fingers_are_straight_and_the_others_are_folded(name, straight):
    _, theta = solved(2, name)
    for finger in FINGERS[1:]:
        if finger in straight.split():
            assert bend(theta, finger) < 0.6
        else:
            assert bend(theta, finger) > 2.4


def test_thumb_is_on_the_palmar_side_of_a_fist():
    hand, theta = solved(2, "fist")
    joints = pose_rigs(hand.proportions, theta[None])[0, :, :3, 3]
    tip, knuckle = (joints[JOINT_NAMES.index(name)] for name in ("thumb_null", "middle2"))
    assert tip[1] > knuckle[1] - 12.0
    assert joints[JOINT_NAMES.index("index1"), 2] > tip[2]
