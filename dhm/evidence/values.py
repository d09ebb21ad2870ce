"""Values of evidence files: checked once, refused with the place where they stand."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError

LARGEST = 1e7
"""Of any coordinate, mm or pixels."""

# Bytes of a path and of a name in it; beyond, and with NUL, systems do not even look.
_LONGEST_PATH, _LONGEST_NAME = 1024, 255
_ROTATION_TOLERANCE = 1e-3


def numbers(where: str | Path, value: Any, shape: tuple[int, ...], expected: str) -> np.ndarray:
    """An array of finite numbers of a shape.

    Raises:
        BadInputError: If it is none.
    """
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.shape != shape or not (np.abs(array) < LARGEST).all():
        raise BadInputError(where, repr(value)[:80], expected)
    return array


@contextmanager
def named_by(where: str | Path) -> Iterator[None]:
    """Refusals of a file that evidence names say which evidence that is."""
    try:
        yield
    except BadInputError as error:
        there = f"{where}, {error.where}"
        raise BadInputError(there, error.found, error.expected, error.line) from error


def flag(where: str | Path, content: dict, key: str) -> bool:
    """A field that is true or false; false where it is missing."""
    value = content.get(key, False)
    if not isinstance(value, bool):
        raise BadInputError(where, f"{key} = {value!r}", "true or false")
    return value


def file_path(where: str | Path, value: Any, folder: Path) -> Path:
    """A file's path, relative to the evidence's."""
    if not isinstance(value, str) or not _may_be_a_path(value):
        raise BadInputError(where, repr(value)[:80], "the path of a file")
    return folder / value


def _may_be_a_path(text: str) -> bool:
    encoded = text.encode(errors="replace")
    longest = max(map(len, encoded.split(b"/")))
    fits = 0 < len(encoded) <= _LONGEST_PATH and longest <= _LONGEST_NAME
    return fits and b"\0" not in encoded


def refuse_unknown(where: str | Path, entry: dict, known: Sequence[str]) -> None:
    """Refuses fields that there are not, which are mistyped ones."""
    for key in entry:
        if key not in known:
            raise BadInputError(where, f"{key!r}", f"one of {', '.join(known)}")


def named_points(
    where: str | Path, what: str, entry: Any, joint_names: Sequence[str], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and confidences by joint name, in the template's order."""
    points, confidence = np.zeros((len(joint_names), size)), np.zeros(len(joint_names))
    if not isinstance(entry, dict):
        raise BadInputError(where, f"{what} of a {type(entry).__name__}", "points by joint name")
    for name, value in entry.items():
        if name not in joint_names:
            raise BadInputError(where, f"joint {name!r}", f"one of {', '.join(joint_names)}")
        if isinstance(value, list) and len(value) == size:
            value = [*value, 1.0]
        expected = f"{size} coordinates and, if wanted, a confidence from 0 to 1"
        row = numbers(f"{where}, {name}", value, (size + 1,), expected)
        if not 0 <= row[-1] <= 1:
            raise BadInputError(f"{where}, {name}", f"confidence {row[-1]}", expected)
        index = joint_names.index(name)
        points[index], confidence[index] = row[:-1], row[-1]
    return points, confidence


def rigid_transform(where: str, T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """A matrix whose rotation is one, but for the rounding of a file, which is undone."""
    R = T[:3, :3]
    off = np.abs(R @ R.T - np.eye(3)).max()
    if off > _ROTATION_TOLERANCE or np.linalg.det(R) < 0 or not np.allclose(T[3], [0, 0, 0, 1]):
        expected = "a rotation (R R^T = 1, det R = 1) above the row 0 0 0 1"
        raise BadInputError(where, f"R = {np.round(R, 4).tolist()}", expected)
    U, _, Vt = np.linalg.svd(R)
    return np.block([[U @ Vt, T[:3, 3:]], [T[3:]]])
