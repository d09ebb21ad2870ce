"""Keypoints of hands in JSON: the fields that `fit` and `predict` share, and the file of `predict`.

A keypoints file describes the hand of each picture by the picture's name:

    {"a.jpg": {"keypoints": {"wrist": [u, v, confidence], "index1": [u, v], ...},
               "K": [[fx, s, cx], [0, fy, cy], [0, 0, 1]], "side": "left", "bbox": [x, y, w, h]}}

Each of the four fields is optional. A video has a list `frames` of such objects, with null for a
frame without a hand. Pixels are those of the upright picture; the first pixel's centre is (0, 0).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.export.hand_files import LEFT, RIGHT
from dhm.formats.json_file import json_numbers, read_json

_FIELDS = ("keypoints", "K", "side", "bbox")
_EXPECTED = 'keypoints by picture: {"a.jpg": {"keypoints": {"wrist": [u, v, confidence], ...}}}'
_AXES = {2: "u, v", 3: "x, y, z"}

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


class Detection(NamedTuple):
    """A hand in a picture, found by a detector or described by a keypoints file.

    Attributes:
        box: Tight around the hand's joints: x, y, width, height; None if unknown.
        keypoints: (u, v, confidence from 0 to 1) by joint name of the hand model; may be empty.
        side: "right", "left", or None if unknown.
        K: Intrinsics, or None if unknown.
    """

    box: Box | None
    keypoints: dict[str, tuple[float, float, float]]
    side: str | None
    K: Float[np.ndarray, "3 3"] | None = None


class VideoDetections(NamedTuple):
    """The hand of each frame of a video, None in frames without a hand."""

    frames: tuple[Detection | None, ...]


def read_keypoints_file(
    path: Path, joint_names: Sequence[str]
) -> dict[str, Detection | VideoDetections]:
    """Reads a keypoints file.

    Args:
        path: The file.
        joint_names: The template's joint names.

    Returns:
        The hands by picture name.

    Raises:
        BadInputError: If the file is missing or damaged, or has an unknown joint, an unknown field
            or an invalid value; the message names the picture.
    """
    detections = {}
    for name, entry in read_json(path, _EXPECTED).items():
        is_video = isinstance(entry, dict) and "frames" in entry
        read = _read_video if is_video else _read_detection
        detections[name] = read(f"{path}, {name}", entry, joint_names)
    return detections


def _read_video(where: str, entry: dict, joint_names: Sequence[str]) -> VideoDetections:
    refuse_unknown_fields(where, entry, ("frames", "K", "side"))
    frames = entry["frames"]
    if not isinstance(frames, list):
        raise BadInputError(where, f"frames of a {type(frames).__name__}", "a list of frames")
    shared = {key: entry[key] for key in ("K", "side") if key in entry}
    detections: list[Detection | None] = []
    for number, frame in enumerate(frames):
        if isinstance(frame, dict):
            frame = shared | frame
        place = f"{where}, frame {number}"
        detections.append(None if frame is None else _read_detection(place, frame, joint_names))
    return VideoDetections(tuple(detections))


def _read_detection(where: str, entry: Any, joint_names: Sequence[str]) -> Detection:
    if not isinstance(entry, dict):
        raise BadInputError(where, f"a {type(entry).__name__}", f"an object with {list(_FIELDS)}")
    refuse_unknown_fields(where, entry, _FIELDS)
    K, box = entry.get("K"), entry.get("bbox")
    return Detection(
        None if box is None else _read_box(where, box),
        read_points(where, "keypoints", entry.get("keypoints", {}), joint_names, 2),
        read_side(where, entry),
        None if K is None else read_intrinsics(where, K),
    )


def _read_box(where: str, value: Any) -> Box:
    expected = "bbox as [x, y, width, height] in pixels"
    x, y, width, height = json_numbers(where, value, (4,), expected).tolist()
    if width <= 0 or height <= 0:
        raise BadInputError(where, repr(value)[:80], expected)
    return x, y, width, height


def refuse_unknown_fields(where: str | Path, entry: Mapping, known: Sequence[str]) -> None:
    """Raises BadInputError at a field that is not in `known`, most likely a mistyped one."""
    for key in entry:
        if key not in known:
            raise BadInputError(where, repr(key), f"one of {', '.join(known)}")


def read_points(
    where: str | Path, field: str, entry: Any, joint_names: Sequence[str], size: int
) -> dict[str, tuple[float, ...]]:
    """Returns points by joint name, each of `size` coordinates and a confidence (1 by default).

    Raises:
        BadInputError: If a joint is unknown, or a point is no such list.
    """
    if not isinstance(entry, dict):
        raise BadInputError(where, f"{field} of a {type(entry).__name__}", "points by joint name")
    expected = f"[{_AXES[size]}] or [{_AXES[size]}, confidence], the confidence from 0 to 1"
    points = {}
    for name, value in entry.items():
        if name not in joint_names:
            raise BadInputError(where, f"joint {name!r}", f"one of {', '.join(joint_names)}")
        if isinstance(value, list) and len(value) == size:
            value = [*value, 1.0]
        point = json_numbers(f"{where}, {name}", value, (size + 1,), expected)
        if not 0 <= point[-1] <= 1:
            raise BadInputError(f"{where}, {name}", f"confidence {point[-1]}", expected)
        points[name] = tuple(point.tolist())
    return points


def in_template_order(
    points: Mapping[str, tuple[float, ...]], joint_names: Sequence[str], size: int
) -> tuple[Float[np.ndarray, "j s"], Float[np.ndarray, " j"]]:
    """Returns coordinates and confidences as arrays over all joints; 0 for missing points."""
    coordinates, confidence = np.zeros((len(joint_names), size)), np.zeros(len(joint_names))
    for name, point in points.items():
        index = joint_names.index(name)
        coordinates[index], confidence[index] = point[:-1], point[-1]
    return coordinates, confidence


def read_intrinsics(where: str | Path, value: Any, key: str = "K") -> Float[np.ndarray, "3 3"]:
    """Returns a matrix of intrinsics in pixels.

    Raises:
        BadInputError: If it is not upper triangular with positive focal lengths.
    """
    expected = f"{key} as [[fx, s, cx], [0, fy, cy], [0, 0, 1]] in pixels with positive fx and fy"
    K = json_numbers(where, value, (3, 3), expected)
    if min(K[0, 0], K[1, 1]) <= 0 or K[1, 0] or K[2].tolist() != [0, 0, 1]:
        raise BadInputError(where, f"{key} = {K.tolist()}", expected)
    return K


def read_side(where: str | Path, entry: Mapping) -> str | None:
    """Returns the field "side": RIGHT, LEFT, or None if it is missing.

    Raises:
        BadInputError: If it is anything else.
    """
    side = entry.get("side")
    if side not in (None, LEFT, RIGHT):
        raise BadInputError(where, f"side {side!r}", f"{LEFT!r} or {RIGHT!r}")
    return side
