"""Keypoints of hands: the fields that `fit` and `predict` share, and the pixels they are in.

What was not measured may be left out or null; of a point the confidence may be 0, or a number NaN.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.export.hand_files import LEFT, RIGHT
from dhm.formats.json_file import json_numbers

_AXES = {2: "u, v", 3: "x, y, z"}
_PLACEHOLDERS = ((0.0, 0.0), (-1.0, -1.0))
_SHOWN_NAMES = 5

PARTS = (1, 1)
"""The size of a picture whose coordinates are parts of its width and height."""

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""


class Detection(NamedTuple):
    """A hand in a picture, found by a detector or described by a keypoints file.

    Attributes:
        box: Tight around the hand's joints: x, y, width, height; None if unknown.
        keypoints: (u, v, confidence from 0 to 1) by joint name of the hand model; may be empty.
        side: "right", "left", or None if unknown.
        K: Intrinsics, or None if unknown.
        size: Width and height of the picture whose pixels all of these are in; PARTS for parts of
            the picture; None for those of the picture itself.
        notes: Sentences for the reader of the result.
    """

    box: Box | None
    keypoints: dict[str, tuple[float, float, float]]
    side: str | None
    K: Float[np.ndarray, "3 3"] | None = None
    size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def refuse_unknown_fields(where: str | Path, entry: Mapping, known: Sequence[str]) -> None:
    """Raises BadInputError at a field that is not in `known`, most likely a mistyped one."""
    for key in entry:
        if key not in known:
            raise BadInputError(where, repr(key), f"one of {', '.join(known)}")


def read_points(
    where: str | Path, field: str, entry: Any, joint_names: Sequence[str], size: int
) -> dict[str, tuple[float, ...]]:
    """Returns the measured points by joint name: `size` coordinates and a confidence, 1 by default.

    Points that are null, have a confidence of 0, or a null or NaN in place of a number were not
    measured: they are left out.

    Raises:
        BadInputError: If a joint is unknown, or a point is no such list.
    """
    if entry is None:
        return {}
    if not isinstance(entry, dict):
        raise BadInputError(where, f"{field} of a {type(entry).__name__}", "points by joint name")
    expected = (
        f"[{_AXES[size]}] or [{_AXES[size]}, confidence], the confidence from 0 to 1; null for a "
        "point that was not measured"
    )
    points = {}
    for name, value in entry.items():
        if name not in joint_names:
            raise BadInputError(where, f"joint {name!r}", f"one of {', '.join(joint_names)}")
        if value is None:
            continue
        if isinstance(value, list) and len(value) == size:
            value = [*value, 1.0]
        if is_unmeasured(value, size):
            continue
        point = json_numbers(f"{where}, {name}", value, (size + 1,), expected)
        if not 0 <= point[-1] <= 1:
            raise BadInputError(f"{where}, {name}", f"confidence {point[-1]}", expected)
        points[name] = tuple(point.tolist())
    return points


def without_placeholders(
    points: Mapping[str, tuple[float, ...]],
) -> tuple[dict[str, tuple[float, ...]], tuple[str, ...]]:
    """Leaves out the keypoints at exactly (0, 0) or (-1, -1), and says which.

    Tools write these for points that they did not find, whatever the confidence. No hand is
    measured there, in the corner of the picture and on a whole pixel.
    """
    left_out = [name for name, point in points.items() if tuple(point[:2]) in _PLACEHOLDERS]
    if not left_out:
        return dict(points), ()
    names = ", ".join(left_out[:_SHOWN_NAMES]) + ", ..." * (len(left_out) > _SHOWN_NAMES)
    kept = {name: point for name, point in points.items() if name not in left_out}
    return kept, (f"Keypoints at (0, 0) or (-1, -1) count as not measured: {names}.",)


def in_picture(where: str | Path, found: Detection, size: tuple[int, int]) -> Detection:
    """Returns a detection in the pixels of a picture, with a note if it was in others.

    Pixel centres are whole numbers: a picture that is s times as large has x' = (x + 0.5) s - 0.5.

    Args:
        where: The picture's place, for messages.
        found: The detection.
        size: (height, width) of the picture.

    Raises:
        BadInputError: If the detection is for a picture of another shape.
    """
    if found.size is None or found.size == size[::-1]:
        return found._replace(size=None)
    (height, width), (given_width, given_height) = size, found.size
    sx, sy = width / given_width, height / given_height
    # Sizes are rounded: the smaller of the two pictures may be a pixel off.
    is_same_shape = abs(width / sy - given_width) <= 1 or abs(given_width * sy - width) <= 1
    if found.size == PARTS:
        shift = np.array([-0.5, -0.5])
        note = "Keypoints, box and K are parts of the picture by their file."
    elif is_same_shape:
        shift = np.array([sx - 1, sy - 1]) / 2
        note = (
            f"Keypoints, box and K are for {given_width} x {given_height} pixels by their file: "
            f"they are scaled by {sx:.4g} to the picture's {width} x {height}."
        )
    else:
        expected = f"that of the upright picture, {width} x {height}, at any scale"
        raise BadInputError(where, f'"size": [{given_width}, {given_height}]', expected)
    M = np.array([[sx, 0, shift[0]], [0, sy, shift[1]], [0, 0, 1]])
    box = found.box and (
        sx * found.box[0] + shift[0], sy * found.box[1] + shift[1],
        sx * found.box[2], sy * found.box[3],
    )  # fmt: skip
    keypoints = {
        name: (sx * u + shift[0], sy * v + shift[1], *confidence)
        for name, (u, v, *confidence) in found.keypoints.items()
    }
    K = None if found.K is None else M @ found.K
    return Detection(box, keypoints, found.side, K, None, (*found.notes, note))


def is_unmeasured(point: Any, size: int) -> bool:
    """Returns whether a point of `size` coordinates and a confidence says: not measured.

    Its confidence is 0, or one of its numbers is null or NaN. What is no such list says nothing.
    """
    if not isinstance(point, list | tuple) or len(point) != size + 1:
        return False
    if not all(x is None or type(x) in (int, float) for x in point):
        return False
    return point[-1] == 0 or any(x is None or x != x for x in point)  # NaN != NaN


def in_template_order(
    points: Mapping[str, tuple[float, ...]], joint_names: Sequence[str], size: int
) -> tuple[Float[np.ndarray, "j s"], Float[np.ndarray, " j"]]:
    """Returns coordinates and confidences as arrays over all joints; 0 where none is measured."""
    coordinates, confidence = np.zeros((len(joint_names), size)), np.zeros(len(joint_names))
    for name, point in points.items():
        point = (*point, 1.0) if len(point) == size else point  # a detector's without a confidence
        if not is_unmeasured(list(map(float, point)), size):  # a detector's may have NaN as well
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
