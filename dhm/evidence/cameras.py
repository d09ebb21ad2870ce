"""Cameras of an evidence file: calibration, keypoints, depth map and picture."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.evidence.keypoints import (
    in_template_order,
    read_intrinsics,
    read_points,
    refuse_unknown_fields,
    without_placeholders,
)
from dhm.evidence.units import UNIT_FIELDS, Units, read_units
from dhm.fitting.evidence import depth_points, spread_sample
from dhm.formats.json_file import MAX_MAGNITUDE, json_numbers
from dhm.formats.npz import read_npy
from dhm.formats.paths import existing, home_expanded
from dhm.formats.picture import read_depth_picture
from dhm.formats.release_annotations import read_depth_pickle

_MAX_PIXELS = 1 << 24  # of a depth map; no sensor has as many, and each takes 200 bytes
_FIELDS = ("K", "T_camera_world", "R", "t", "points", "depth", "K_depth", "image", *UNIT_FIELDS)
# Bytes of a path and of a name in it; operating systems reject longer ones, and NUL.
_MAX_PATH, _MAX_NAME = 1024, 255
_ROTATION_TOLERANCE = 1e-3
_NUM_SAMPLES = 1500

SkinPoints = tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]
"""Points of the skin, world mm, and their unit normals."""


class CameraView(NamedTuple):
    """A calibrated camera and the keypoints in its picture.

    Attributes:
        name: The camera's name.
        K: Intrinsics of its picture.
        T_camera_world: Extrinsics, mm.
        keypoints: Pixels, in the template's order.
        confidence: 0 for missing keypoints.
        image: The picture for the overlay, or None.
        skin: A sample of the points of its depth map, world mm, or None.
        units: What its entry says of units and conventions.
        notes: Sentences for the reader of the result.
    """

    name: str
    K: Float[np.ndarray, "3 3"]
    T_camera_world: Float[np.ndarray, "4 4"]
    keypoints: Float[np.ndarray, "j 2"]
    confidence: Float[np.ndarray, " j"]
    image: Path | None = None
    skin: Float[np.ndarray, "n 3"] | None = None
    units: Units = Units()
    notes: tuple[str, ...] = ()


def read_camera(
    where: str,
    name: str,
    content: Any,
    folder: Path,
    joint_names: Sequence[str],
    units: Units,
) -> tuple[CameraView, list[SkinPoints]]:
    """Reads one entry of "cameras".

    Args:
        where: The entry's place, for messages.
        name: The camera's name.
        content: The entry.
        folder: The folder that its paths are relative to.
        joint_names: The template's joint names.
        units: Units and conventions of the frame; the entry's own come first.

    Returns:
        The camera, and the skin points of its depth map if there is one.

    Raises:
        BadInputError: If a field is unknown or invalid, or a file cannot be read.
    """
    if not isinstance(content, dict):
        raise BadInputError(where, f"a {type(content).__name__}", f"an object with {_FIELDS}")
    refuse_unknown_fields(where, content, _FIELDS)
    content = {key: value for key, value in content.items() if value is not None}
    units = read_units(where, content, units)
    K, T = read_intrinsics(where, content.get("K")), _read_extrinsics(where, content, units)
    points = read_points(where, "points", content.get("points", {}), joint_names, 2)
    points, notes = without_placeholders(points)
    notes = tuple(f"Camera {name}: {note}" for note in notes)
    skin = []
    if (depth := content.get("depth")) is not None:
        has_own = "K_depth" in content
        K_depth = read_intrinsics(where, content["K_depth"], "K_depth") if has_own else K
        depth = units.depth_mm * _read_depth(where, depth, folder)
        skin.append(_skin_points(where, depth, K_depth, T))
    image = None
    if "image" in content:
        image = read_path(where, content["image"], folder)
        if not image.is_file():
            raise BadInputError(f"{where}, {image}", "no such file", "the camera's picture")
    sample = skin[0][0][spread_sample(skin[0][0], _NUM_SAMPLES)] if skin else None
    keypoints, confidence = in_template_order(points, joint_names, 2)
    return CameraView(name, K, T, keypoints, confidence, image, sample, units, notes), skin


def read_path(where: str | Path, value: Any, folder: Path) -> Path:
    """Returns the path of a file that evidence names, relative to `folder`, or to a home with `~`.

    Raises:
        BadInputError: If it is no text that can be a path, or several files have such a name.
    """
    if not isinstance(value, str) or not _is_possible_path(value):
        raise BadInputError(where, repr(value)[:80], "the path of a file")
    return existing(folder / home_expanded(value))


def _is_possible_path(text: str) -> bool:
    encoded = text.encode(errors="replace")
    longest = max(map(len, encoded.split(b"/")))
    return 0 < len(encoded) <= _MAX_PATH and longest <= _MAX_NAME and b"\0" not in encoded


@contextmanager
def error_prefix(where: str | Path) -> Iterator[None]:
    """Puts the place in the evidence before the name of the refused file in a BadInputError."""
    try:
        yield
    except BadInputError as error:
        place = f"{where}, {error.where}"
        raise BadInputError(place, error.found, error.expected, error.line) from error


def rigid_transform(where: str, T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Returns a rigid transform with the rounding of its rotation removed.

    Raises:
        BadInputError: If it is no rigid transform.
    """
    R = T[:3, :3]
    off = np.abs(R @ R.T - np.eye(3)).max()
    if off > _ROTATION_TOLERANCE or np.linalg.det(R) < 0 or not np.allclose(T[3], [0, 0, 0, 1]):
        expected = "a rotation (R R^T = 1, det R = 1) above the row 0 0 0 1"
        raise BadInputError(where, f"R = {np.round(R, 4).tolist()}", expected)
    U, _, Vt = np.linalg.svd(R)
    return np.block([[U @ Vt, T[:3, 3:]], [T[3:]]])


def _read_extrinsics(where: str, content: dict, units: Units) -> Float[np.ndarray, "4 4"]:
    expected = "T_camera_world [4 4], or R [3 3] and t [3], or none for a camera in the origin"
    T = np.eye(4)
    if "T_camera_world" in content:
        T = json_numbers(where, content["T_camera_world"], (4, 4), expected)
        if {"R", "t"} & content.keys():
            raise BadInputError(where, "T_camera_world and R or t", "either")
    elif {"R", "t"} & content.keys():
        T[:3, :3] = json_numbers(where, content.get("R"), (3, 3), expected)
        T[:3, 3] = json_numbers(where, content.get("t"), (3,), expected)
    return units.to_project(rigid_transform(where, T))


def _skin_points(where: str, depth: np.ndarray, K: np.ndarray, T: np.ndarray) -> SkinPoints:
    with np.errstate(all="ignore"):  # a forged K overflows, which is refused
        points, normals = depth_points(depth, K, T)
    if not (np.abs(points) < MAX_MAGNITUDE).all():
        found = f"a depth map that K = {K.tolist()} spreads beyond {MAX_MAGNITUDE:g} mm"
        raise BadInputError(where, found, "K_depth in the depth map's pixels, depths in mm")
    return points, normals


def _read_depth(where: str, value: Any, folder: Path) -> Float[np.ndarray, "h w"]:
    """Reads a depth map: 16-bit PNG, .npy, the capture's .pkl, or an array.

    0 is the background, NaN a pixel that was not measured.
    """
    if isinstance(value, np.ndarray):
        return _checked_depth(where, value)
    path = read_path(where, value, folder)
    readers = {".pkl": read_depth_pickle, ".npy": read_npy, ".png": read_depth_picture}
    with error_prefix(where):
        if (suffix := path.suffix.lower()) not in readers:
            expected = "a depth map: .png of 16 bits, .npy of two axes, or .pkl"
            raise BadInputError(path, f"a file of type {suffix!r}", expected)
        return _checked_depth(str(path), readers[suffix](path))


def _checked_depth(where: str, depth: np.ndarray) -> Float[np.ndarray, "h w"]:
    if depth.ndim != 2 or depth.dtype.kind not in "fiu" or min(depth.shape) < 3:
        found = f"{depth.dtype} {list(depth.shape)}"
        raise BadInputError(where, found, "a depth map of two axes")
    if depth.size > _MAX_PIXELS:
        expected = f"a depth map of at most {_MAX_PIXELS} pixels"
        raise BadInputError(where, f"{depth.size} pixels", expected)
    depth = depth.astype(np.float64)
    depth[np.isnan(depth)] = 0  # not measured, as the background
    if not ((depth >= 0) & (depth < MAX_MAGNITUDE)).all():
        raise BadInputError(where, "a depth that is negative or infinite", "depths >= 0, or NaN")
    return depth
