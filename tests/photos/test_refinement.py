"""Refined angles: nearer to the keypoints and to the truth than the prediction."""

import cv2
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.photos.placement import place_hand
from dhm.photos.predict_hand import Evidence
from dhm.photos.refinement import Refinement

K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])


@pytest.fixture(scope="module")
def refine(predictor):
    return Refinement(predictor)


def _scene(predictor, seed, noise=0.0):
    """True angles, a prediction that is off by 10 degrees, and what a camera saw."""
    rng = np.random.default_rng(seed)
    true = np.clip(rng.normal(0.25, 0.25, 28), -0.3, 1.0).astype(np.float32)
    joints = predictor.decode(true)[1]
    turn = cv2.Rodrigues(np.array([1.0, 0.4, -0.2]))[0]
    points = (joints - joints.mean(axis=0)) @ turn.T + [5, 8, 500]
    pixels = points @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:] + rng.normal(0, noise, (len(joints), 2))
    predicted = (true + rng.normal(0, np.radians(10), 28)).astype(np.float32)
    return true, predicted, Evidence(pixels, np.ones(len(joints)), K), joints


def _aligned_error(a, b):
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    U, _, Vt = np.linalg.svd(a.T @ b)
    turn = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    return np.linalg.norm(a @ turn - b, axis=1).mean()


@pytest.mark.parametrize("noise", [0.0, 1.5])
def test_angles_come_nearer_to_the_keypoints_and_the_truth(predictor, refine, noise):
    before, after, pixels = [], [], []
    for seed in range(4):
        _, predicted, evidence, joints = _scene(predictor, seed, noise)
        found = refine(predicted, evidence)
        assert found.shape == (28,) and np.isfinite(found).all()
        old, new = (predictor.decode(theta)[1] for theta in (predicted, found))
        before.append(_aligned_error(old, joints))
        after.append(_aligned_error(new, joints))
        pixels.append([place_hand(x, *evidence).mean_error_px for x in (old, new)])
    assert np.mean(after) < 0.6 * np.mean(before)
    assert (np.diff(pixels, axis=1) < 0).all()


def test_too_few_keypoints_change_nothing(predictor, refine):
    _, predicted, evidence, _ = _scene(predictor, 0)
    few = evidence._replace(confidence=np.where(np.arange(22) < 3, 1.0, 0.0))
    assert refine(predicted, few) is predicted


def test_missing_keypoints_do_no_harm(predictor, refine):
    _, predicted, evidence, joints = _scene(predictor, 1)
    keypoints, confidence = evidence.keypoints.copy(), evidence.confidence.copy()
    keypoints[:4], confidence[:4] = np.nan, 0
    found = refine(predicted, evidence._replace(keypoints=keypoints, confidence=confidence))
    assert np.isfinite(found).all()
    errors = [_aligned_error(predictor.decode(x)[1], joints) for x in (predicted, found)]
    assert errors[1] < errors[0]


def test_a_model_that_cannot_be_fitted_is_refused(predictor):
    class Other:
        model, variables = object(), {}

    with pytest.raises(BadInputError, match="found a object, expected a hand model"):
        Refinement(Other())
