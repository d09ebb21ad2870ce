"""The made-up capture's studio: a ring of cameras, and the colours of skin."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dhm.formats.release_annotations import KrtCamera

_CENTRE = np.array([120.0, -75.0, 940.0])
_DISTANCE = 950.0
_FOCAL = 1190.0


def place_cameras(num_cameras: int, image_size: tuple[int, int]) -> dict[str, KrtCamera]:
    """Places cameras around the hand, upright and looking at it, named as the colour cameras."""
    height, width = image_size
    cameras = {}
    for index in range(num_cameras):
        azimuth = 2 * np.pi * (index + 0.3) / num_cameras
        elevation = 0.45 * np.sin(2.4 * index)
        away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation),
                         np.sin(elevation)])  # fmt: skip
        right = np.cross([0.0, 0.0, 1.0], away)
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(right, away), -away])
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, -R @ (_CENTRE + _DISTANCE * away)
        focal = _FOCAL + 7.0 * index
        K = np.array([[focal, 0, width / 2 + 3.0 - index], [0, focal, height / 2 + 4.0], [0, 0, 1]])
        cameras[f"{400002 + 7 * index}"] = KrtCamera(K, np.zeros(5), T)
    return cameras


def studio_centre() -> Float[np.ndarray, " 3"]:
    """Returns where the hand is, in world mm."""
    return _CENTRE.copy()


def skin_colours(
    normals: Float[np.ndarray, "v 3"], palm_side: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "v 3"]:
    """Returns an albedo for each vertex: the palm's side is paler and pinker than the back."""
    share = np.clip(0.5 + 0.7 * normals @ palm_side, 0.0, 1.0)[:, None]
    back, palm = np.array([0.72, 0.50, 0.38]), np.array([0.88, 0.64, 0.55])
    grain = np.random.default_rng(0).normal(0.0, 0.012, (len(normals), 1))
    return back * (1 - share) + palm * share + grain


def write_jpeg(path: Path, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    """Writes an RGB picture as a JPEG of high quality."""
    if not cv2.imwrite(str(path), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise OSError(f"cannot write {path}")
