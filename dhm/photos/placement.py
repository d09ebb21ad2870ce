"""Robust PnP: the rigid transform that places a hand before the camera, from its keypoints.

Many small sets of keypoints each give a pose by SQPNP (Terzakis and Lourakis 2020); the poses that
suit most keypoints are refined by Levenberg-Marquardt on the pixels, with Cauchy weights at every
step whose width follows the median error.

The hand's angles have errors as well as the keypoints: with wrong fingers the median, and so the
width, is large, and all keypoints count nearly alike.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from dhm.geometry.transforms import skew_symmetric

MIN_KEYPOINTS = 4
"""With fewer, several poses are possible."""

_NUM_SETS = 40
_SET_SIZE = 5
_NUM_REFINED = 6
_NUM_STEPS = 12
_MIN_SPREAD_PX = 2.0
# Widths as shares of the keypoints' extent; the coarse one, which scores the initial poses, allows
# for a hand whose angles are some ten degrees off.
_COARSE_WIDTH = 0.08
_MIN_WIDTH = 0.01
_OUTLIER_WIDTHS = 3.0


class Placement(NamedTuple):
    """The pose of a hand in the camera.

    Attributes:
        T_camera_model: Rigid transform, mm.
        errors_px: Distance of each projected joint from its keypoint, NaN where it is missing.
        outlier: Keypoints that do not fit the others.
    """

    T_camera_model: Float[np.ndarray, "4 4"]
    errors_px: Float[np.ndarray, " n"]
    outlier: Bool[np.ndarray, " n"]

    @property
    def mean_error_px(self) -> float:
        """Mean over all keypoints, including outliers."""
        return float(np.nanmean(self.errors_px))


class NotPlaced(NamedTuple):
    """The reason why a hand cannot be placed in the camera."""

    reason: str


def place_hand(
    joints: Float[np.ndarray, "n 3"],
    keypoints: Float[np.ndarray, "n 2"],
    confidence: Float[np.ndarray, " n"],
    K: Float[np.ndarray, "3 3"],
) -> Placement | NotPlaced:
    """Computes the rigid transform that projects the joints onto their keypoints.

    Args:
        joints: In the model's frame, mm.
        keypoints: Pixels.
        confidence: 0 to 1; 0 for missing keypoints.
        K: Intrinsics.

    Returns:
        The placement, or the reason why there is none.
    """
    used = confidence > 0
    if used.sum() < MIN_KEYPOINTS:
        reason = f"{used.sum()} keypoints; {MIN_KEYPOINTS} are needed to place the hand"
        return NotPlaced(reason)
    points, pixels = np.float64(joints[used]), np.float64(keypoints[used])
    extent = _extent(pixels)
    if extent < _MIN_SPREAD_PX:
        return NotPlaced(f"the keypoints lie within {_MIN_SPREAD_PX:g} pixels")
    starts = _starts(points, pixels, K)
    certain = confidence[used]
    if len(starts):
        cost = _cost(_distances(starts, points, pixels, K), _COARSE_WIDTH * extent, certain)
        starts = _refine(starts[np.argsort(cost)[:_NUM_REFINED]], points, pixels, certain, K)
        starts = starts[_depths(starts, points).min(axis=-1) > 0]
    if not len(starts):
        return NotPlaced("no pose before the camera suits the keypoints")
    T = _best(starts, points, pixels, certain, K)
    distances = _distances(T[None], points, pixels, K)[0]
    errors, outlier = np.full(len(used), np.nan), np.zeros(len(used), bool)
    errors[used] = distances
    widest = max(_OUTLIER_WIDTHS * float(_width(distances, pixels)), _COARSE_WIDTH * extent)
    outlier[used] = distances > widest
    return Placement(T, errors, outlier)


def _starts(points: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> Float[np.ndarray, "s 4 4"]:
    """Returns the poses from all keypoints and from small sets of them, in front of the camera."""
    rays = np.c_[pixels, np.ones(len(pixels))] @ np.linalg.inv(K).T
    rng = np.random.default_rng(0)
    size = min(_SET_SIZE, len(points) - 1)
    sets = [np.arange(len(points))]
    if size >= MIN_KEYPOINTS:
        sets += [rng.choice(len(points), size, replace=False) for _ in range(_NUM_SETS)]
    found = [T for chosen in sets for T in _solve(points[chosen], rays[chosen, :2])]
    starts = np.array(found).reshape(-1, 4, 4)
    finite = np.isfinite(starts).all(axis=(1, 2))
    return starts[finite & (_depths(starts, points) > 0).all(axis=-1)]


def _solve(points: np.ndarray, rays: np.ndarray) -> list[np.ndarray]:
    arguments = np.ascontiguousarray(points), np.ascontiguousarray(rays), np.eye(3), None
    try:
        _, rotations, translations, _ = cv2.solvePnPGeneric(*arguments, flags=cv2.SOLVEPNP_SQPNP)
    except cv2.error:  # coincident points have no pose; other sets may
        return []
    transforms = []
    for rotation, translation in zip(rotations, translations, strict=True):
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = cv2.Rodrigues(rotation)[0], translation[:, 0]
        transforms.append(T)
    return transforms


def _depths(T: Float[np.ndarray, "s 4 4"], points: np.ndarray) -> Float[np.ndarray, "s n"]:
    return T[:, 2, :3] @ points.T + T[:, 2, 3:]


def _in_camera(T: np.ndarray, points: np.ndarray) -> Float[np.ndarray, "s n 3"]:
    return points @ T[:, :3, :3].swapaxes(1, 2) + T[:, None, :3, 3]


def _offsets(in_camera: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    projected = in_camera @ K.T
    return projected[..., :2] / _away_from_zero(projected[..., 2:]) - pixels


def _away_from_zero(depth: np.ndarray) -> np.ndarray:
    """Avoids division by zero where a step puts a joint into the camera's plane, to be rejected."""
    return np.where(np.abs(depth) < 1e-6, 1e-6, depth)


def _distances(T: np.ndarray, points: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    return np.linalg.norm(_offsets(_in_camera(T, points), pixels, K), axis=-1)


def _width(distances: Float[np.ndarray, "*s n"], pixels: np.ndarray) -> Float[np.ndarray, "*s"]:
    """Estimates the inliers' standard deviation from the median, for 2D normal errors."""
    return np.maximum(np.median(distances, axis=-1) / 1.1774, _MIN_WIDTH * _extent(pixels))


def _extent(pixels: np.ndarray) -> float:
    return float(np.linalg.norm(np.ptp(pixels, axis=0)))


def _cost(
    distances: np.ndarray, width: np.ndarray | float, confidence: np.ndarray
) -> Float[np.ndarray, " s"]:
    """Computes Cauchy's negative log likelihood, but for the width's own term."""
    scaled = distances / np.asarray(width)[..., None]
    return np.sum(confidence * np.log1p(scaled**2), axis=-1)


def _best(
    T: np.ndarray, points: np.ndarray, pixels: np.ndarray, confidence: np.ndarray, K: np.ndarray
) -> Float[np.ndarray, "4 4"]:
    """Returns the pose of highest likelihood under a Cauchy distribution of its own width."""
    distances = _distances(T, points, pixels, K)
    width = _width(distances, pixels)
    cost = _cost(distances, width, confidence) + confidence.sum() * np.log(width)
    return T[np.argmin(cost)]


def _refine(
    T: np.ndarray, points: np.ndarray, pixels: np.ndarray, confidence: np.ndarray, K: np.ndarray
) -> Float[np.ndarray, "s 4 4"]:
    """Levenberg-Marquardt over rotation and translation, for all initial poses at once.

    The rotation is about the hand's centre and the translation in units of its depth, so that the
    six parameters are of similar scale and nearly independent.
    """
    centre = points.mean(axis=0)
    damping = np.full(len(T), 1e-3)
    for _ in range(_NUM_STEPS):
        in_camera = _in_camera(T, points)
        offsets = _offsets(in_camera, pixels, K)
        distances = np.linalg.norm(offsets, axis=-1)
        width = _width(distances, pixels)
        weights = confidence / (1 + (distances / width[:, None]) ** 2)
        J = _jacobian(T, points - centre, in_camera, K)
        gradient = np.einsum("snij,sni->sj", J, weights[..., None] * offsets)
        hessian = np.einsum("snij,snik->sjk", J, weights[..., None, None] * J)
        diagonal = np.einsum("sii->si", hessian)
        damped = hessian + np.eye(6) * (damping[:, None] * diagonal + 1e-9)[:, None]
        moved = _moved(T, centre, -np.linalg.solve(damped, gradient[..., None])[..., 0])
        moved_distances = _distances(moved, points, pixels, K)
        better = _cost(moved_distances, width, confidence) < _cost(distances, width, confidence)
        better &= (_depths(moved, points) > 0).all(axis=-1)
        T = np.where(better[:, None, None], moved, T)
        damping = np.clip(damping * np.where(better, 0.2, 8.0), 1e-9, 1e6)
    return T


def _jacobian(
    T: np.ndarray, centred: np.ndarray, in_camera: np.ndarray, K: np.ndarray
) -> Float[np.ndarray, "s n 2 6"]:
    """Computes the derivative of the pixels with respect to the step of `_moved`."""
    depth = _away_from_zero(in_camera[..., 2])
    d_pixel = np.zeros((*depth.shape, 2, 3))
    d_pixel[..., :, :2] = K[:2, :2] / depth[..., None, None]
    projected = (in_camera[..., :2] / depth[..., None]) @ K[:2, :2].T
    d_pixel[..., :, 2] = -projected / depth[..., None]
    d_turn = np.einsum("sij,njk->snik", T[:, :3, :3], skew_symmetric(-centred))
    shift = np.eye(3) * in_camera[..., 2].mean(axis=-1)[:, None, None]
    d_shift = np.broadcast_to(shift[:, None], d_turn.shape)
    return d_pixel @ np.concatenate([d_turn, d_shift], axis=-1)


def _moved(
    T: np.ndarray, centre: np.ndarray, step: Float[np.ndarray, "s 6"]
) -> Float[np.ndarray, "s 4 4"]:
    result = T.copy()
    middle = T[:, :3, :3] @ centre + T[:, :3, 3]
    result[:, :3, :3] = T[:, :3, :3] @ Rotation.from_rotvec(step[:, :3]).as_matrix()
    middle = middle + middle[:, 2:] * step[:, 3:]
    result[:, :3, 3] = middle - result[:, :3, :3] @ centre
    return result
