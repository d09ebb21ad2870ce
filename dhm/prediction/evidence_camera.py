"""Cameras of evidence files: calibration, keypoints, depth map, picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.fitting.surface import depth_points
from dhm.formats.depth_pickle import read_depth_pickle
from dhm.formats.text import read_bytes
from dhm.prediction.evidence_values import (
    LARGEST,
    file_path,
    named_points,
    numbers,
    refuse_unknown,
    rigid_transform,
)

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
        skin.append(depth_points(_depth(where, depth, folder), K_depth, T))
    image = None
    if "image" in content:
        image = file_path(where, content["image"], folder)
        if not image.is_file():
            raise BadInputError(image, "no such file", "the camera's picture")
    return View(name, K, T, keypoints, confidence, image), skin


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
    suffix = path.suffix.lower()
    if suffix == ".pkl":
        return _checked_depth(str(path), read_depth_pickle(path))
    expected = "a depth map in mm: .png of 16 bits, .npy of two axes, or .pkl"
    data = read_bytes(path)
    if suffix == ".npy":
        try:
            return _checked_depth(str(path), np.load(path, allow_pickle=False))
        except (ValueError, EOFError, OSError) as error:
            raise BadInputError(path, f"a damaged file ({error})", expected) from error
    if suffix != ".png":
        raise BadInputError(path, f"a file of type {suffix!r}", expected)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None or image.dtype != np.uint16:
        found = "no picture" if image is None else f"a picture of {image.dtype}"
        raise BadInputError(path, found, expected)
    return _checked_depth(str(path), image)


def _checked_depth(where: str, depth: np.ndarray) -> Float[np.ndarray, "h w"]:
    if depth.ndim != 2 or depth.dtype.kind not in "fiu" or min(depth.shape) < 3:
        found = f"{depth.dtype} {list(depth.shape)}"
        raise BadInputError(where, found, "a depth map of two axes in mm")
    depth = depth.astype(np.float64)
    if not ((depth >= 0) & (depth < LARGEST)).all():
        raise BadInputError(where, "a depth that is negative or not finite", "depths >= 0 in mm")
    return depth
