"""The exported model on photographs: refusals, and refined angles against the true ones."""

import cv2
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.export.package import save_model
from dhm.photos.placement import place_hand
from dhm.photos.predictor import CameraKeypoints, Predictor, Refinement

K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "found data.image_size = None"),
        ({"data": 3}, "found data.image_size = None"),
        ({"data": {"image_size": "64"}}, "found data.image_size = '64'"),
        ({"data": {"image_size": 1}}, "found data.image_size = 1, expected"),
    ],
)
def test_an_export_without_the_size_of_crops_is_refused(toy_model, tmp_path, config, message):
    settings, model, variables = toy_model
    save_model(tmp_path, variables, model.template, settings, config)
    with pytest.raises(BadInputError, match=message):
        Predictor(tmp_path)


@pytest.fixture(scope="module")
def refine(predictor):
    return Refinement(predictor)


def _scene(predictor, seed, noise=0.0):
    """True angles, predicted ones with errors of 10 degrees, and the keypoints in a camera."""
    rng = np.random.default_rng(seed)
    true = np.clip(rng.normal(0.25, 0.25, 28), -0.3, 1.0).astype(np.float32)
    joints = predictor.decode(true)[1]
    turn = cv2.Rodrigues(np.array([1.0, 0.4, -0.2]))[0]
    points = (joints - joints.mean(axis=0)) @ turn.T + [5, 8, 500]
    pixels = points @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:] + rng.normal(0, noise, (len(joints), 2))
    predicted = (true + rng.normal(0, np.radians(10), 28)).astype(np.float32)
    return true, predicted, CameraKeypoints(pixels, np.ones(len(joints)), K), joints


def _aligned_error(a, b):
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    U, _, Vt = np.linalg.svd(a.T @ b)
    turn = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    return np.linalg.norm(a @ turn - b, axis=1).mean()


@pytest.mark.parametrize("noise", [0.0, 1.5])
def test_refined_angles_are_nearer_to_the_keypoints_and_the_true_joints(predictor, refine, noise):
    before, after, pixels = [], [], []
    for seed in range(4):
        _, predicted, seen, joints = _scene(predictor, seed, noise)
        found = refine(predicted, seen)
        assert found.shape == (28,) and np.isfinite(found).all()
        old, new = (predictor.decode(theta)[1] for theta in (predicted, found))
        before.append(_aligned_error(old, joints))
        after.append(_aligned_error(new, joints))
        pixels.append([place_hand(x, *seen).mean_error_px for x in (old, new)])
    assert np.mean(after) < 0.6 * np.mean(before)
    assert (np.diff(pixels, axis=1) < 0).all()


def test_the_refinement_is_compiled_before_the_first_picture(predictor):
    refine = Refinement(predictor)
    assert refine._angles._cache_size() == 1
    refine(*_scene(predictor, 0)[1:3])
    assert refine._angles._cache_size() == 1


def test_too_few_keypoints_leave_the_angles_unchanged(predictor, refine):
    _, predicted, seen, _ = _scene(predictor, 0)
    few = seen._replace(confidence=np.where(np.arange(22) < 3, 1.0, 0.0))
    assert refine(predicted, few) is predicted


def test_missing_keypoints_are_left_out_of_the_refinement(predictor, refine):
    _, predicted, seen, joints = _scene(predictor, 1)
    keypoints, confidence = seen.keypoints.copy(), seen.confidence.copy()
    keypoints[:4], confidence[:4] = np.nan, 0
    found = refine(predicted, seen._replace(keypoints=keypoints, confidence=confidence))
    assert np.isfinite(found).all()
    errors = [_aligned_error(predictor.decode(x)[1], joints) for x in (predicted, found)]
    assert errors[1] < errors[0]


def test_a_model_with_other_angles_is_not_refined(predictor):
    class Other:
        model, variables = object(), {}

    with pytest.raises(BadInputError, match="found a object, expected a hand model"):
        Refinement(Other())
