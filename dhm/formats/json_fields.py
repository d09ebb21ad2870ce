"""Values out of JSON that was read, refused where they are not what they should be."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError

MAX_MAGNITUDE = 1e6
"""Of coordinates in mm or pixels."""


def json_field(path: Path, entry: Any, key: str, kind: Any) -> Any:
    """The value of a key, of one or of several types; true and false are no numbers.

    Raises:
        BadInputError: There is none.
    """
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BadInputError(path, f"{key} = {value!r}"[:200], f"{key} of each entry")
    return value


def json_list(path: Path, data: dict, key: str) -> list:
    """The list of a key.

    Raises:
        BadInputError: There is none.
    """
    if not isinstance(data.get(key), list):
        raise BadInputError(path, f"{key} as a {type(data.get(key)).__name__}", "a list")
    return data[key]


def json_entry(path: Path, data: dict, *keys: str) -> dict:
    """The object behind several keys, each in the object of the one before.

    Raises:
        BadInputError: There is none.
    """
    for key in keys:
        data = data.get(key)
        if not isinstance(data, dict):
            raise BadInputError(path, f"no entry {' '.join(keys)}", "all that the pictures need")
    return data


def json_numbers(
    path: Path, value: Any, shape: tuple[int, ...], where: str, needed: Any = Ellipsis
) -> Float[np.ndarray, "..."]:
    """An array from nested lists.

    Args:
        path: The file, for messages.
        value: The lists.
        shape: The shape it must have.
        where: What it is, for messages.
        needed: Index of the part that has to be finite and below MAX_MAGNITUDE; all by default.

    Raises:
        BadInputError: It is no such array.
    """
    array = json_array(value)
    if array is None or array.shape != shape:
        raise BadInputError(path, f"{where} = {value!r}"[:200], f"numbers {list(shape)}")
    if not (np.abs(array[needed]) < MAX_MAGNITUDE).all():  # not so of NaN
        raise BadInputError(path, f"{where} with a number that is not finite", "finite numbers")
    return array


def json_array(value: Any) -> Float[np.ndarray, "..."] | None:
    """An array from nested lists, None where they make none."""
    try:
        return np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):  # text, rows of several lengths, huge integers
        return None
