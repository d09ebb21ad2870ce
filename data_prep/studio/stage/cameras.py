"""The studio's calibrated cameras: on a dome around the hand, one metre away."""

import numpy as np
from jaxtyping import Float

from data_prep.captures.release_capture import K_SIZE
from dhm.errors import BadInputError
from dhm.formats.release_annotations import KrtCamera

CENTRE = np.array([30.0, -40.0, 1050.0])
"""Where the middle of the hand is on average, world mm. The fingers point to +z, the palm to -y."""

MAX_CAMERAS = 400
# mm; pixels. So wide that a hand lying across the picture stays in it wherever it drifts.
_DISTANCE, _FOCAL = 1000.0, 1000.0
_SPREAD = 0.02  # relative, from camera to camera
# The dome's axis, in front of the palm and above it, and how far from it cameras stand.
_AXIS, _REACH = np.array([0.0, -1.0, 0.45]), np.radians(112.0)
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


def studio_cameras(num_cameras: int, seed: int) -> dict[str, KrtCamera]:
    """Returns cameras by name, spread evenly over front, sides and top.

    Args:
        num_cameras: How many, from 1 on.
        seed: Draws their small irregularities: distance, focal length, principal point, roll.

    Raises:
        BadInputError: No such number of cameras.
    """
    if not 1 <= num_cameras <= MAX_CAMERAS:
        raise BadInputError("cameras", str(num_cameras), f"1 to {MAX_CAMERAS}")
    rng = np.random.default_rng([seed, 77])
    height, width = K_SIZE
    cameras = {}
    for index, away in enumerate(_dome(num_cameras)):
        focal = _FOCAL * (1.0 + rng.uniform(-_SPREAD, _SPREAD))
        cx, cy = np.array([width, height]) / 2 + rng.uniform(-4.0, 4.0, 2)
        distance = _DISTANCE * (1.0 + rng.uniform(-_SPREAD, _SPREAD))
        R = _upright(away, rng.normal(0.0, 0.03))
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, -R @ (CENTRE + distance * away)
        K = np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])
        cameras[f"{400001 + index}"] = KrtCamera(K, np.zeros(5), T)
    return cameras


def _dome(count: int) -> Float[np.ndarray, "n 3"]:
    """Directions of equal area each: a golden spiral from the dome's axis outwards."""
    axis = _AXIS / np.linalg.norm(_AXIS)
    right = np.cross(axis, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    along = 1.0 - (1.0 - np.cos(_REACH)) * (np.arange(count) + 0.5) / count
    turn = _GOLDEN_ANGLE * np.arange(count)
    across = np.sqrt(1.0 - along**2)
    frame = np.stack([axis, right, np.cross(right, axis)])
    return np.stack([along, across * np.cos(turn), across * np.sin(turn)], axis=1) @ frame


def _upright(away: Float[np.ndarray, " 3"], roll: float) -> Float[np.ndarray, "3 3"]:
    """Rotation of a camera that looks against `away`, its rows pointing up in the world."""
    # Seen from right above, the back of the hand is up.
    up = np.array([0.0, 0.0, 1.0]) if abs(away[2]) < 0.97 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, away)
    right /= np.linalg.norm(right)
    cos, sin = np.cos(roll), np.sin(roll)
    rolled = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return rolled @ np.stack([right, np.cross(right, away), -away])
