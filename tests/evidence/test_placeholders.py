"""Joints that stand for what was not measured."""

import numpy as np
import pytest

from dhm.evidence.placeholders import without_far_joints

NAMES = tuple("abcdefgh")
JOINTS = np.random.default_rng(0).normal([100, -50, 900], 40, size=(8, 3))
ONES = np.ones(8)


def _with(**places):
    joints = JOINTS.copy()
    for name, place in places.items():
        joints[NAMES.index(name)] = place
    return joints


def test_joints_of_a_hand_stay():
    for scale in (0.5, 1.0, 1.8):
        centred = (JOINTS - JOINTS.mean(axis=0)) * scale
        confidence, doubts = without_far_joints(centred, ONES * 0.3, NAMES)
        np.testing.assert_array_equal(confidence, ONES * 0.3)
        assert doubts == ()


@pytest.mark.mistake(
    "fit, joints",
    "0 0 0 or -1 -1 -1 for what was not measured",
    "left out and `doubtful` where it lies more than 400 mm from the hand",
)
@pytest.mark.parametrize("mark", [0.0, -1.0])
def test_what_lies_far_from_a_hand_is_left_out(mark):
    confidence, doubts = without_far_joints(_with(c=mark, f=mark), ONES, NAMES)
    np.testing.assert_array_equal(confidence, [1, 1, 0, 1, 1, 0, 1, 1])
    (doubt,) = doubts
    assert "left out (c, f more than 400 mm from the other joints): null or a confid" in doubt


@pytest.mark.mistake(
    "fit, joints", "the wrist's place for what was not measured, as 0 0 0 is", "`doubtful`, by name"
)
def test_joints_in_one_place_are_named():
    confidence, doubts = without_far_joints(_with(c=JOINTS[0]), ONES, NAMES)
    np.testing.assert_array_equal(confidence, ONES)
    assert doubts[0].startswith("Joints in one place (a, c): null") and len(doubts) == 1
    unknown = without_far_joints(_with(c=JOINTS[0]), np.where(np.arange(8) == 2, 0, 1.0), NAMES)
    assert unknown[1] == ()


def test_joints_in_another_unit_are_not_left_out():
    """They are refused by their size."""
    for joints in (JOINTS * 1000, (JOINTS - JOINTS.mean(axis=0)) * 10):
        confidence, _ = without_far_joints(joints, ONES, NAMES)
        np.testing.assert_array_equal(confidence, ONES)


def test_nothing_known_says_nothing():
    assert without_far_joints(np.zeros((8, 3)), np.zeros(8), NAMES)[1] == ()
