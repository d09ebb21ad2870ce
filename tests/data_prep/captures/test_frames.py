"""Mirrored hands and the template's joint order."""

import numpy as np
import pytest

from data_prep.captures.frames import (
    TIP_TO_PALM_THEN_WRIST,
    WRIST_THEN_PALM_TO_TIP,
    WRIST_THEN_TIP_TO_PALM,
    Pinhole,
    as_template_joints,
    mirror_camera,
    mirror_points,
)
from dhm.formats.release_annotations import KEYPOINT_NAMES


def camera(seed):
    """Any camera that sees the origin, with skew."""
    rng = np.random.default_rng(seed)
    R = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    R *= np.sign(np.linalg.det(R))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, [*rng.uniform(-50, 50, 2), 600]
    K = np.array([[500, 3.5, 150.2], [0, 480, 260.9], [0, 0, 1]])
    return Pinhole(K, (512, 334), T)


def pixels(camera, points):
    in_camera = points @ camera.T_camera_world[:3, :3].T + camera.T_camera_world[:3, 3]
    return (in_camera / in_camera[:, 2:] @ camera.K.T)[:, :2]


@pytest.mark.parametrize("seed", range(5))
def test_the_mirrored_world_projects_onto_the_flipped_picture(seed):
    one, points = camera(seed), np.random.default_rng(seed).uniform(-90, 90, (30, 3))
    here = pixels(one, points)
    there = pixels(mirror_camera(one), mirror_points(points))
    np.testing.assert_allclose(there, np.stack([333 - here[:, 0], here[:, 1]], axis=1), atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_mirroring_a_camera_twice_gives_it_back(seed):
    one = camera(seed)
    other = mirror_camera(one)
    R = other.T_camera_world[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1)
    for a, b in zip(mirror_camera(other), one, strict=True):
        np.testing.assert_allclose(a, b)


def test_all_joint_orders_have_the_same_joints():
    right = [name.removeprefix("b_r_") for name in KEYPOINT_NAMES[:21]]
    assert list(TIP_TO_PALM_THEN_WRIST) == right
    assert sorted(WRIST_THEN_PALM_TO_TIP) == sorted(WRIST_THEN_TIP_TO_PALM) == sorted(right)
    assert WRIST_THEN_PALM_TO_TIP[5:9] == ("index1", "index2", "index3", "index_null")
    assert WRIST_THEN_TIP_TO_PALM[17:] == ("pinky_null", "pinky3", "pinky2", "pinky1")


def test_joints_are_matched_by_name_and_unknown_ones_are_zero():
    order, points = ("a", "b", "c"), np.arange(9.0).reshape(3, 3)
    joints, valid = as_template_joints(
        ("c", "d", "a", "b"), order, points, np.array([True, False, True])
    )
    np.testing.assert_array_equal(joints, [[6, 7, 8], [0, 0, 0], [0, 1, 2], [0, 0, 0]])
    np.testing.assert_array_equal(valid, [True, False, True, False])
    assert joints.dtype == np.float32
