"""JSON files: read, checked field by field, and written.

Every check raises a `BadInputError` at the place it is given: the file, or the file and an entry of
it ("joints.json, frame 3").
"""

import json
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from dhm.errors import BadInputError

MAX_MAGNITUDE = 1e7
"""Largest coordinate that a file may hold, in mm or pixels."""

PARTIAL = ".partial"
"""Ends the name of a file that is being written."""

_KINDS = {
    bool: "true or false", int: "a whole number", float: "a fraction", str: "a text",
    list: "a list", dict: "an object",
}  # fmt: skip
_SHOWN = 80  # characters of a refused value


def read_json(path: Path, expected: str, kind: type = dict) -> Any:
    """Reads a file that holds one object or one list.

    Args:
        path: The file.
        expected: What the file should be, for error messages.
        kind: `dict` or `list`.

    Raises:
        BadInputError: The file is missing, is not JSON of that kind, or an object in it has two
            values of one name.
    """
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_unambiguous)
    except FileNotFoundError as error:
        raise BadInputError(path, "no such file", expected) from error
    except IsADirectoryError as error:
        raise BadInputError(path, "a folder", expected) from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(path, f"damaged JSON ({error})", expected) from error
    if not isinstance(content, kind):
        raise BadInputError(path, f"JSON of a {type(content).__name__}", expected)
    return content


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object; Python's own would keep the last of two values of one name."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} twice in one object")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file as a whole: a process that is killed while it writes leaves the old one.

    Raises:
        OSError: The file cannot be written.
    """
    partial = path.with_name(path.name + PARTIAL)
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def flat_fields(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of a nested dictionary by their dotted names."""
    flat = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        flat |= flat_fields(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def json_field(where: str | Path, entry: Any, key: str, kind: type | UnionType) -> Any:
    """Returns the value of a key.

    Args:
        where: The place, for error messages.
        entry: The object that has the key.
        key: Its name.
        kind: Type of the value, or several (`int | str`). true and false are no numbers.

    Raises:
        BadInputError: `entry` is no object, or the value is missing or of another type.
    """
    value = entry.get(key) if isinstance(entry, dict) else None
    kinds = kind.__args__ if isinstance(kind, UnionType) else (kind,)
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(_KINDS[kind] for kind in kinds)
        raise BadInputError(where, f"{key} = {_shown(value)}", expected)
    return value


def json_numbers(
    where: str | Path,
    value: Any,
    shape: tuple[int, ...],
    expected: str = "",
    needed: Any = Ellipsis,
) -> Float[np.ndarray, "..."]:
    """Returns nested lists of numbers as a float64 array.

    Args:
        where: The place, for error messages.
        value: The lists.
        shape: Shape that the array must have.
        expected: What the value should be, for error messages; by default numbers of the shape.
        needed: Index of the elements that must be finite; all by default.

    Raises:
        BadInputError: The lists do not form such an array, or a needed number is not finite or
            reaches MAX_MAGNITUDE.
    """
    expected = expected or f"numbers {list(shape)}"
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):  # text, rows of several lengths, huge integers
        raise BadInputError(where, _shown(value), expected) from None
    if array.shape != shape:
        raise BadInputError(where, _shown(value), expected)
    usable = np.abs(array[needed]) < MAX_MAGNITUDE  # False for NaN
    if not usable.all():
        found = f"{array[needed][~usable][0]} in {_shown(value)}"
        raise BadInputError(where, found, f"{expected}, each finite and below {MAX_MAGNITUDE:g}")
    return array


def json_points(
    where: str | Path,
    value: Any,
    shape: tuple[int, int],
    expected: str = "",
    needed: Any = Ellipsis,
) -> tuple[Float[np.ndarray, "n d"], Bool[np.ndarray, " n"]]:
    """Returns points of which some may not be measured: null, or with a null or NaN coordinate.

    Args:
        where: The place, for error messages.
        value: A list of points; null if none is measured.
        shape: Number of points and of coordinates.
        expected: What the value should be, for error messages; by default numbers of the shape.
        needed: Index of the points that are used; all by default.

    Returns:
        The points, 0 where not measured or needed, and which of them are measured and needed.

    Raises:
        BadInputError: The lists do not form such an array, or a measured number is infinite or
            reaches MAX_MAGNITUDE.
    """
    missing = [None] * shape[1]
    if value is None:
        value = [missing] * shape[0]
    if isinstance(value, list):
        value = [missing if point is None else point for point in value]
    points = json_numbers(where, value, shape, expected, needed=np.zeros(shape, bool))
    measured = np.zeros(len(points), bool)
    measured[needed] = ~np.isnan(points[needed]).any(axis=1)
    json_numbers(where, value, shape, expected, needed=measured)
    return np.where(measured[:, None], points, 0.0), measured


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
