"""PnP on synthetic hands: known poses, noise, outliers, degenerate input."""

import cv2
import numpy as np
import pytest
from scipy.optimize import approx_fprime

from data_prep.studio.template.hand_template import hand_template
from dhm.networks.hand_model import inverse_bind_pose
from dhm.photos.placement import NotPlaced, _in_camera, _jacobian, _moved, _offsets, place_hand
from tests.references.geometry import random_rotation

K = np.array([[900.0, 0, 640], [0, 920, 360], [0, 0, 1]])
SEEN_FLAT = np.diag([1.0, -1, -1]) @ np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])


@pytest.fixture(scope="module")
def joints():
    return np.linalg.inv(inverse_bind_pose(hand_template("coarse")))[:, :3, 3]


def _posed(joints, rotation, at=(20.0, -30.0, 550.0)):
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = np.array(at) - rotation @ joints.mean(axis=0)
    return T


def _project(T, joints, K=K):
    points = (joints @ T[:3, :3].T + T[:3, 3]) @ K.T
    return points[:, :2] / points[:, 2:]


def _difference(found, true, joints):
    """Degrees between the rotations, and mm between the hands' centres."""
    turn = found[:3, :3].T @ true[:3, :3]
    degrees = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    centre = joints.mean(axis=0)
    moved = (found - true) @ [*centre, 1]
    return degrees, np.linalg.norm(moved)


@pytest.mark.parametrize("seed", range(10))
def test_exact_keypoints_give_the_exact_pose(joints, seed):
    rng = np.random.default_rng(seed)
    T = _posed(joints, random_rotation(rng, 1)[0], rng.uniform([-100, -100, 300], [100, 100, 900]))
    found = place_hand(joints, _project(T, joints), np.ones(len(joints)), K)
    degrees, mm = _difference(found.T_camera_model, T, joints)
    assert degrees < 0.01 and mm < 0.01
    assert found.mean_error_px < 1e-2 and not found.outlier.any()
    assert np.linalg.det(found.T_camera_model[:3, :3]) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(20))
def test_a_fifth_of_outliers_is_tolerated(joints, seed):
    rng = np.random.default_rng(seed)
    T = _posed(joints, random_rotation(rng, 1)[0])
    keypoints = _project(T, joints) + rng.normal(0, 1, (len(joints), 2))
    wrong = rng.choice(len(joints), len(joints) // 5, replace=False)
    angle = rng.uniform(0, 2 * np.pi, len(wrong))
    keypoints[wrong] += 150 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = place_hand(joints, keypoints, np.ones(len(joints)), K)
    degrees, mm = _difference(found.T_camera_model, T, joints)
    assert degrees < 3 and mm < 0.03 * 550
    assert set(np.flatnonzero(found.outlier)) == set(wrong)
    # What plain least squares, OpenCV's own, makes of the same keypoints is far off.
    _, turn, shift = cv2.solvePnP(joints, keypoints, K, None, flags=cv2.SOLVEPNP_SQPNP)
    plain = np.eye(4)
    plain[:3, :3], plain[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
    assert _difference(plain, T, joints)[0] > degrees


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("tilt", [-0.4, 0.0, 0.4])
def test_a_flat_hand_is_placed_in_front_of_the_camera(joints, flip, tilt):
    """All joints in a plane, seen from either side: the mirrored pose must not win."""
    flat = joints * [1, 0, 1]
    turn = cv2.Rodrigues(np.array([0.3, tilt, 0.2]))[0] @ np.diag([1.0, flip, flip])
    T = _posed(flat, turn @ SEEN_FLAT, (0, 0, 400.0))
    found = place_hand(flat, _project(T, flat), np.ones(len(flat)), K)
    degrees, mm = _difference(found.T_camera_model, T, flat)
    assert degrees < 0.5 and mm < 1
    assert (flat @ found.T_camera_model[2, :3] + found.T_camera_model[2, 3]).min() > 0


def test_keypoints_count_by_confidence(joints):
    T = _posed(joints, np.eye(3))
    keypoints = _project(T, joints)
    keypoints[:3] += 25
    confidence = np.ones(len(joints))
    confidence[:3] = 0
    keypoints[0] = np.nan
    found = place_hand(joints, keypoints, confidence, K)
    assert _difference(found.T_camera_model, T, joints)[0] < 0.01
    assert np.isnan(found.errors_px[:3]).all() and np.isfinite(found.errors_px[3:]).all()
    confidence[1:3] = [1e-3, 1e-3]
    doubtful = place_hand(joints, keypoints, confidence, K)
    confidence[1:3] = 1
    trusted = place_hand(joints, keypoints, confidence, K)
    errors = [_difference(x.T_camera_model, T, joints)[0] for x in (doubtful, trusted)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize(("count", "placed"), [(0, False), (3, False), (4, True), (5, True)])
def test_four_keypoints_are_needed(joints, count, placed):
    T = _posed(joints, random_rotation(np.random.default_rng(5), 1)[0])
    confidence = np.zeros(len(joints))
    confidence[[4, 0, 8, 16, 12][:count]] = 1
    found = place_hand(joints, _project(T, joints), confidence, K)
    if placed:
        assert found.mean_error_px < 0.5
    else:
        assert found == NotPlaced(f"{count} keypoints; 4 are needed to place the hand")


def test_coincident_keypoints_do_not_place_the_hand(joints):
    found = place_hand(joints, np.full((len(joints), 2), 300.0), np.ones(len(joints)), K)
    assert found == NotPlaced("the keypoints lie within 2 pixels")


@pytest.mark.parametrize("seed", range(4))
def test_random_keypoints_give_a_finite_pose_or_a_reason(joints, seed):
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 1000, (len(joints), 2))
    if seed == 3:  # on a line
        keypoints[:, 1] = 200
    found = place_hand(joints, keypoints, np.ones(len(joints)), K)
    if not isinstance(found, NotPlaced):
        assert np.isfinite(found.T_camera_model).all()
        assert (joints @ found.T_camera_model[2, :3] + found.T_camera_model[2, 3]).min() > 0


def test_a_camera_with_skew_is_supported(joints):
    skewed = K + np.array([[0, 80, 0], [0, 0, 0], [0, 0, 0]])
    T = _posed(joints, random_rotation(np.random.default_rng(2), 1)[0])
    keypoints = _project(T, joints, skewed)
    found = place_hand(joints, keypoints, np.ones(len(joints)), skewed)
    assert _difference(found.T_camera_model, T, joints)[0] < 0.01


def test_the_jacobian_agrees_with_finite_differences(joints):
    T = _posed(joints, random_rotation(np.random.default_rng(7), 1)[0])[None]
    keypoints, centre = _project(T[0], joints) + 3, joints.mean(axis=0)
    J = _jacobian(T, joints - centre, _in_camera(T, joints), K)[0].reshape(-1, 6)

    def offsets(step):
        return _offsets(_in_camera(_moved(T, centre, step[None]), joints), keypoints, K).ravel()

    np.testing.assert_allclose(J, approx_fprime(np.zeros(6), offsets, 1e-6), rtol=1e-3, atol=0.05)
