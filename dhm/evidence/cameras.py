"""Cameras of evidence files: calibration, keypoints, depth map, picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.evidence.values import (
    LARGEST,
    file_path,
    named_by,
    named_points,
    numbers,
    refuse_unknown,
    rigid_transform,
)
from dhm.fitting.surface import depth_points
from dhm.formats.npz import read_npy
from dhm.formats.picture import read_depth_picture
from dhm.formats.release_annotations import read_depth_pickle

_MAX_PIXELS = 1 << 24  # of a depth map; no sensor has as many, and each takes 200 bytes
_CAMERA = ("K", "T_camera_world", "R", "t", "points", "depth", "K_depth", "image")


class View(NamedTuple):
    """What one camera shows.

    Attributes:
        name: Of the camera.
        K: Of its pictures.
        T_camera_world: Rigid, mm.
        keypoints: Pixels, in the template's order.
        confidence: 0 where there is none.
        image: Picture for the overlay, or None.
    """

    name: str
    K: Float[np.ndarray, "3 3"]
    T_camera_world: Float[np.ndarray, "4 4"]
    keypoints: Float[np.ndarray, "j 2"]
    confidence: Float[np.ndarray, " j"]
    image: Path | None = None


def read_view(
    where: str, name: str, content: Any, folder: Path, joint_names: Sequence[str]
) -> tuple[View, list[tuple[np.ndarray, np.ndarray]]]:
    """A camera, and the skin that its depth map shows."""
    if not isinstance(content, dict):
        raise BadInputError(where, f"a {type(content).__name__}", f"an object with {_CAMERA}")
    refuse_unknown(where, content, _CAMERA)
    K, T = _intrinsics(where, content, "K"), _extrinsics(where, content)
    keypoints, confidence = named_points(where, "points", content.get("points", {}), joint_names, 2)
    skin = []
    if (depth := content.get("depth")) is not None:
        K_depth = _intrinsics(where, content, "K_depth") if "K_depth" in content else K
        skin.append(_skin(where, _depth(where, depth, folder), K_depth, T))
    image = None
    if "image" in content:
        image = file_path(where, content["image"], folder)
        if not image.is_file():
            raise BadInputError(f"{where}, {image}", "no such file", "the camera's picture")
    return View(name, K, T, keypoints, confidence, image), skin


def _skin(
    where: str, depth: np.ndarray, K: np.ndarray, T: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(all="ignore"):  # a forged K overflows, which is refused
        points, normals = depth_points(depth, K, T)
    if not (np.abs(points) < LARGEST).all():
        found = f"a depth map that K = {K.tolist()} spreads beyond {LARGEST:g} mm"
        raise BadInputError(where, found, "K_depth in the depth map's pixels, depths in mm")
    return points, normals


def _intrinsics(where: str, content: dict, key: str) -> Float[np.ndarray, "3 3"]:
    expected = f"{key} as [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with positive fx and fy"
    K = numbers(where, content.get(key), (3, 3), expected)
    if min(K[0, 0], K[1, 1]) <= 0 or K[1, 0] or not np.array_equal(K[2], [0, 0, 1]):
        raise BadInputError(where, f"{key} = {K.tolist()}", expected)
    return K


def _extrinsics(where: str, content: dict) -> Float[np.ndarray, "4 4"]:
    expected = "T_camera_world [4 4], or R [3 3] and t [3], or none for a camera in the origin"
    T = np.eye(4)
    if "T_camera_world" in content:
        T = numbers(where, content["T_camera_world"], (4, 4), expected)
        if {"R", "t"} & content.keys():
            raise BadInputError(where, "T_camera_world and R or t", "either")
    elif {"R", "t"} & content.keys():
        T[:3, :3] = numbers(where, content.get("R"), (3, 3), expected)
        T[:3, 3] = numbers(where, content.get("t"), (3,), expected)
    return rigid_transform(where, T)


def _depth(where: str, value: Any, folder: Path) -> Float[np.ndarray, "h w"]:
    """A depth map, mm, 0 = background: 16-bit PNG, .npy, the capture's .pkl, or an array."""
    if isinstance(value, np.ndarray):
        return _checked_depth(where, value)
    path = file_path(where, value, folder)
    with named_by(where):
        return _depth_file(path)


def _depth_file(path: Path) -> Float[np.ndarray, "h w"]:
    suffix = path.suffix.lower()
    if suffix == ".pkl":
        return _checked_depth(str(path), read_depth_pickle(path))
    if suffix == ".npy":
        return _checked_depth(str(path), read_npy(path))
    if suffix == ".png":
        return _checked_depth(str(path), read_depth_picture(path))
    expected = "a depth map in mm: .png of 16 bits, .npy of two axes, or .pkl"
    raise BadInputError(path, f"a file of type {suffix!r}", expected)


def _checked_depth(where: str, depth: np.ndarray) -> Float[np.ndarray, "h w"]:
    if depth.ndim != 2 or depth.dtype.kind not in "fiu" or min(depth.shape) < 3:
        found = f"{depth.dtype} {list(depth.shape)}"
        raise BadInputError(where, found, "a depth map of two axes in mm")
    if depth.size > _MAX_PIXELS:
        found = f"{depth.size} pixels"
        raise BadInputError(where, found, f"a depth map of at most {_MAX_PIXELS} pixels")
    depth = depth.astype(np.float64)
    if not ((depth >= 0) & (depth < LARGEST)).all():
        raise BadInputError(where, "a depth that is negative or not finite", "depths >= 0 in mm")
    return depth
