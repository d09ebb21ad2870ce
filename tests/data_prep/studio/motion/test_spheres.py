"""Spheres, their overlaps and derivatives, and the repair of penetration."""

import numpy as np
import pytest

from data_prep.studio.anatomy.primitives import PART_JOINTS
from data_prep.studio.anatomy.proportions import Proportions, subject
from data_prep.studio.anatomy.rig import DOF_NAMES, JOINT_LIMITS, pose_rig
from data_prep.studio.motion.kinematics import point_velocities, pose_rigs, rotation_screws
from data_prep.studio.motion.poses import pose_angles
from data_prep.studio.motion.repair import TOLERANCE, Goal, goal_distances, repair
from data_prep.studio.motion.spheres import (
    find_contacts,
    overlaps,
    penetration_depth,
    sphere_centres,
    sphere_hand,
)
from dhm.geometry.hand_rig import JOINT_NAMES
from tests.data_prep.studio.poses import fist, pose, random_pose


@pytest.fixture(scope="module")
def hand():
    return sphere_hand(subject(0))


def test_overlap_of_two_spheres_is_the_sum_of_radii_minus_the_distance():
    centres = np.array([[[0.0, 0.0, 0.0], [3.0, 4.0, 0.0], [0.0, 0.0, 20.0]]])
    pairs = np.array([[0, 1], [0, 2]])
    depths = overlaps(centres, np.array([4.0, 3.0, 5.0]), pairs)
    np.testing.assert_allclose(depths, [[2.0, -11.0]])


def test_concentric_spheres_overlap_by_both_radii():
    assert overlaps(np.ones((1, 2, 3)), np.array([2.0, 3.0]), np.array([[0, 1]])) == 5.0


def test_spheres_end_at_the_tips_of_the_digits(hand):
    T = pose_rigs(hand.proportions, np.zeros((1, 28)))
    centres = sphere_centres(hand, T)[0]
    index = PART_JOINTS.index("index3")
    last = np.flatnonzero(hand.parts == index)[-1]
    knuckle, tip = (T[0, JOINT_NAMES.index(name), :3, 3] for name in ("index3", "index_null"))
    along = (tip - knuckle) / np.linalg.norm(tip - knuckle)
    assert (centres[last] - tip) @ along + hand.radii[last] == pytest.approx(0.0, abs=1e-9)


def test_adjacent_parts_are_not_paired_except_thumb_and_palm(hand):
    tested = {tuple(sorted(PART_JOINTS[p] for p in hand.parts[pair])) for pair in hand.pairs}
    assert ("index1", "index2") not in tested
    assert ("index1", "wrist") not in tested
    assert {("index1", "index3"), ("index3", "wrist"), ("thumb2", "wrist")} <= tested


def test_batched_kinematics_equal_the_rigs():
    proportions, theta = subject(2), random_pose(3)
    T = pose_rig(proportions, theta)
    np.testing.assert_allclose(pose_rigs(proportions, theta[None])[0], T, rtol=1e-12, atol=1e-12)


def test_screws_have_unit_axes_and_keep_their_joint_fixed(hand):
    theta = np.stack([random_pose(0), random_pose(1)])
    T = pose_rigs(hand.proportions, theta)
    screws = rotation_screws(theta, T)
    np.testing.assert_allclose(np.linalg.norm(screws[..., :3], axis=-1), 1.0)
    thumb0, tip = (JOINT_NAMES.index(name) for name in ("thumb0", "thumb_null"))
    still, moved = (
        point_velocities(T[:, joint, :3, 3], np.full(2, tip), screws)[:, 0]
        for joint in (thumb0, tip)
    )
    np.testing.assert_allclose(still, 0.0, atol=1e-12)
    assert np.linalg.norm(moved, axis=-1).min() > 10.0


def test_gradients_of_the_depths_equal_central_differences(hand):
    theta, eps = np.stack([random_pose(seed) for seed in range(3)]), 1e-5

    def depths(poses):
        centres = sphere_centres(hand, pose_rigs(hand.proportions, poses))
        return overlaps(centres, hand.radii, hand.pairs) - hand.allowances - 0.5

    contacts = find_contacts(hand, theta, pose_rigs(hand.proportions, theta), 0.5)
    there = np.nonzero(depths(theta) > 0)
    assert len(contacts.frames) > 30
    np.testing.assert_allclose(contacts.depths, depths(theta)[there])
    for dof in range(28):
        step = eps * np.eye(28)[dof]
        slope = (depths(theta + step)[there] - depths(theta - step)[there]) / (2 * eps)
        np.testing.assert_allclose(contacts.gradients[:, dof], slope, atol=1e-5)


def test_finger_through_the_thumb_is_repaired(hand):
    wanted = pose_angles("cylinder")
    wanted[DOF_NAMES.index("thumb3_z")] = 0.9
    assert penetration_depth(hand, wanted[None])[0] > 3.0
    repaired = repair(hand, wanted[None])[0]
    assert penetration_depth(hand, repaired[None])[0] <= TOLERANCE
    assert np.abs(repaired - wanted).max() < 0.6


def test_pose_without_contact_is_not_changed(hand):
    wanted = pose(thumb1_z=-0.2, index1_y=-0.2, middle1_y=-0.04, ring1_y=0.15, pinky1_y=0.3)
    assert penetration_depth(hand, wanted[None])[0] <= 0
    np.testing.assert_array_equal(repair(hand, wanted[None])[0], wanted)


def test_repair_stays_within_the_limits(hand):
    low, high = JOINT_LIMITS.T
    repaired = repair(hand, np.tile(high + 0.3, (1, 1)))
    assert (repaired >= low).all() and (repaired <= high).all()
    assert penetration_depth(hand, repaired)[0] < penetration_depth(hand, high[None])[0]


def test_repaired_motion_is_smooth_where_contact_begins(hand):
    share = np.linspace(0.0, 1.0, 25)[:, None]
    wanted = share * np.clip(fist(), *JOINT_LIMITS.T)
    repaired = repair(hand, wanted)
    assert penetration_depth(hand, repaired).max() <= TOLERANCE
    assert np.abs(np.diff(repaired - wanted, n=2, axis=0)).max() < 0.08


def test_goal_brings_two_points_together():
    proportions = Proportions()
    hand = sphere_hand(proportions)
    joints = tuple(JOINT_NAMES.index(name) for name in ("index3", "middle3"))
    goal = Goal(joints, ((12.0, 0.0, -8.0), (12.0, 0.0, 8.0)))
    wanted = pose(index1_y=-0.2, middle1_y=0.1)
    before = goal_distances(hand, wanted, (goal,))[0]
    repaired = repair(hand, wanted[None], (goal,))
    assert before > 10.0
    assert goal_distances(hand, repaired[0], (goal,))[0] < 2.5
    assert penetration_depth(hand, repaired)[0] <= TOLERANCE
