"""Keypoints of hands in JSON: the fields that `fit` and `predict` share.

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
