"""Where a hand stands before the camera: PnP from its joints' keypoints, robust to wrong ones.

The model has no global rotation of its own. Many small sets of keypoints each give a pose by SQPNP
(Terzakis and Lourakis 2020); those that suit most keypoints are refined by least squares on the
pixels with Cauchy's weights, whose width follows the median error.

What errs is not the keypoints alone but the hand's angles, too: with wrong fingers the median and
so the width is large, and all keypoints count nearly alike.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import OptimizeResult, least_squares
from scipy.spatial.transform import Rotation

MIN_KEYPOINTS = 4
"""Fewer leave several poses."""

_NUM_SETS = 60
_SET_SIZE = 5
_NUM_REFINED = 4
_MIN_SPREAD_PX = 2.0
# Width of a start's score, of the keypoints' extent: a hand whose angles are some ten degrees off.
_COARSE_WIDTH = 0.08
_MIN_WIDTH = 0.01  # of the keypoints' extent
_OUTLIER_WIDTHS = 3.0


class Placement(NamedTuple):
    """A hand before the camera.

    Attributes:
        T_camera_model: Rigid, mm.
        errors_px: Distance of each projected joint from its keypoint, NaN without one.
        outlier: Keypoints that do not fit the others.
    """

    T_camera_model: Float[np.ndarray, "4 4"]
    errors_px: Float[np.ndarray, " n"]
    outlier: Bool[np.ndarray, " n"]

    @property
    def mean_error_px(self) -> float:
        """Mean over all keypoints, the outliers too."""
        return float(np.nanmean(self.errors_px))


def place_hand(
    joints: Float[np.ndarray, "n 3"],
    keypoints: Float[np.ndarray, "n 2"],
    confidence: Float[np.ndarray, " n"],
    K: Float[np.ndarray, "3 3"],
) -> Placement | str:
    """Finds the rigid transform that puts the joints on their keypoints.

    Args:
        joints: In the model's frame, mm.
        keypoints: Pixels.
        confidence: 0 to 1; 0 where there is no keypoint.
        K: Intrinsics.

    Returns:
        The placement, or why there is none.
    """
    used = confidence > 0
    if used.sum() < MIN_KEYPOINTS:
        return f"{used.sum()} keypoints; {MIN_KEYPOINTS} are needed to place the hand"
    points, pixels = np.float64(joints[used]), np.float64(keypoints[used])
    extent = _extent(pixels)
    if extent < _MIN_SPREAD_PX:
        return f"the keypoints lie within {_MIN_SPREAD_PX:g} pixels"
    weights = np.sqrt(confidence[used])
    starts = _starts(points, pixels, K)
    if not starts:
        return "no pose before the camera suits the keypoints"

    def score(T: np.ndarray) -> float:
        error = _distances(T, points, pixels, K) / (_COARSE_WIDTH * extent)
        return float(np.sum(weights**2 * np.log1p(error**2)))

    starts = sorted(starts, key=score)[:_NUM_REFINED]
    refined = [T for T in (_refine(T, points, pixels, weights, K) for T in starts)
               if _depths(T, points).min() > 0]  # fmt: skip
    if not refined:
        return "no pose before the camera suits the keypoints"
    T = min(refined, key=lambda T: _final_cost(T, points, pixels, weights, K))
    distances = _distances(T, points, pixels, K)
    errors, outlier = np.full(len(used), np.nan), np.zeros(len(used), bool)
    errors[used] = distances
    widest = max(_OUTLIER_WIDTHS * _width(distances, pixels), _COARSE_WIDTH * extent)
    outlier[used] = distances > widest
    return Placement(T, errors, outlier)


def _starts(points: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> list[np.ndarray]:
    """Poses of all keypoints and of small sets of them, those before the camera."""
    rays = np.c_[pixels, np.ones(len(pixels))] @ np.linalg.inv(K).T
    rng = np.random.default_rng(0)
    size = min(_SET_SIZE, len(points) - 1)
    sets = [np.arange(len(points))]
    if size >= MIN_KEYPOINTS:
        sets += [rng.choice(len(points), size, replace=False) for _ in range(_NUM_SETS)]
    found = []
    for chosen in sets:
        for T in _solve(points[chosen], rays[chosen, :2]):
            if np.isfinite(T).all() and _depths(T, points).min() > 0:
                found.append(T)
    return found


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


def _depths(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ T[2, :3] + T[2, 3]


def _offsets(
    T: np.ndarray, points: np.ndarray, pixels: np.ndarray, K: np.ndarray
) -> Float[np.ndarray, "n 2"]:
    projected = (points @ T[:3, :3].T + T[:3, 3]) @ K.T
    # A step of the search may put a joint into the camera's plane.
    depth = np.where(np.abs(projected[:, 2:]) < 1e-6, 1e-6, projected[:, 2:])
    return projected[:, :2] / depth - pixels


def _distances(T: np.ndarray, points: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    return np.linalg.norm(_offsets(T, points, pixels, K), axis=1)


def _width(distances: np.ndarray, pixels: np.ndarray) -> float:
    """Standard deviation of the good ones, as the median tells it (of 2D normal errors)."""
    return max(float(np.median(distances)) / 1.1774, _MIN_WIDTH * _extent(pixels))


def _extent(pixels: np.ndarray) -> float:
    return float(np.linalg.norm(np.ptp(pixels, axis=0)))


def _final_cost(
    T: np.ndarray, points: np.ndarray, pixels: np.ndarray, weights: np.ndarray, K: np.ndarray
) -> float:
    """Median first: the pose that most keypoints agree on, whatever the others say."""
    distances = _distances(T, points, pixels, K)
    width = _width(distances, pixels)
    return float(np.log(width) + np.mean(weights**2 * np.log1p((distances / width) ** 2)))


def _refine(
    start: np.ndarray, points: np.ndarray, pixels: np.ndarray, weights: np.ndarray, K: np.ndarray
) -> np.ndarray:
    """Robust least squares over rotation and translation, twice: the width follows the errors."""
    T = start
    for _ in range(2):
        depth = float(_depths(T, points).mean())
        width = _width(_distances(T, points, pixels, K), pixels)

        def moved(step: np.ndarray, T: np.ndarray = T, depth: float = depth) -> np.ndarray:
            # The rotation is about the hand's own centre, the shift in units of its depth.
            result = np.eye(4)
            centre = points.mean(axis=0)
            turn = Rotation.from_rotvec(step[:3]).as_matrix()
            result[:3, :3] = T[:3, :3] @ turn
            before = T[:3, :3] @ centre + T[:3, 3]
            result[:3, 3] = before + depth * step[3:] - result[:3, :3] @ centre
            return result

        def residuals(step: np.ndarray, moved=moved, width: float = width) -> np.ndarray:
            offsets = _offsets(moved(step), points, pixels, K)
            return (weights[:, None] * offsets / width).ravel()

        best: OptimizeResult = least_squares(residuals, np.zeros(6), loss="cauchy", max_nfev=40)
        T = moved(best.x)
    return T
