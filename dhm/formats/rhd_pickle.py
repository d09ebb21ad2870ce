"""RHD's annotations (Zimmermann and Brox, ICCV 2017), read without running anything.

`anno_training.pickle` and `anno_evaluation.pickle` hold a dictionary from a picture's number to
three arrays. Whatever the file names becomes a record (see `restricted_pickle`), and the arrays
are built from the records here.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from dhm.errors import BadInputError
from dhm.formats.restricted_pickle import ARRAY_GLOBALS, brief, build_array, load_dictionary
from dhm.formats.text import read_bytes

NUM_JOINTS = 42
"""Of both hands."""

_EXPECTED = "RHD's annotations: a pickled dictionary of pictures"
# RHD's own files have an opcode in every 18 bytes or more, nearly four million in all.
_SMALLEST_SHARE = 8
_MAX_OPCODES = 1 << 23
_MAX_MAGNITUDE = 1e6  # metres, pixels
_SHAPES = {"xyz": (NUM_JOINTS, 3), "uv_vis": (NUM_JOINTS, 3), "K": (3, 3)}


class RhdAnnotation(NamedTuple):
    """What is known of a picture.

    Attributes:
        points: Joints in the camera's frame, mm: the left hand's 21, then the right hand's.
        pixels: Where the picture shows them.
        visible: Whether it does.
        K: Intrinsics.
    """

    points: Float[np.ndarray, "42 3"]
    pixels: Float[np.ndarray, "42 2"]
    visible: Bool[np.ndarray, " 42"]
    K: Float[np.ndarray, "3 3"]


def read_rhd_pickle(path: str | Path) -> dict[int, RhdAnnotation]:
    """Reads the annotations of one split by the pictures' numbers; metres become millimetres.

    Raises:
        BadInputError: The file is missing, truncated or damaged; it refers to anything but NumPy's
            array reconstruction (nothing of it runs); or a picture lacks an array, or has one of
            another shape or with a number that is not finite.
    """
    path = Path(path)
    data = read_bytes(path)
    only = "NumPy's array reconstruction and nothing else"
    count = min((1 << 16) + len(data) // _SMALLEST_SHARE, _MAX_OPCODES)
    entries = load_dictionary(path, data, ARRAY_GLOBALS, only, _EXPECTED, max_opcodes=count)
    if not entries:
        raise BadInputError(path, "no picture", _EXPECTED)
    return {_number(path, key): _annotation(path, key, entries[key]) for key in entries}


def _number(path: Path, key: Any) -> int:
    if type(key) is not int or not 0 <= key < 100_000:
        raise BadInputError(path, f"a picture called {brief(key)!r}", "numbers of five digits")
    return key


def _annotation(path: Path, number: int, entry: Any) -> RhdAnnotation:
    if not isinstance(entry, dict):
        raise BadInputError(path, f"picture {number} as a {type(entry).__name__}", _EXPECTED)
    xyz, uv_vis, K = (_array(path, number, entry, name) for name in _SHAPES)
    if not (K[0, 0] > 0 and K[1, 1] > 0 and np.allclose(K[2], [0, 0, 1])):
        raise BadInputError(path, f"picture {number}: K = {K.tolist()}", "intrinsics of a camera")
    return RhdAnnotation(1000 * xyz, uv_vis[:, :2], uv_vis[:, 2] > 0.5, K)


def _array(path: Path, number: int, entry: dict, name: str) -> Float[np.ndarray, "n m"]:
    where, shape = f"picture {number}: {name}", _SHAPES[name]
    if name not in entry:
        raise BadInputError(path, f"no {name} of picture {number}", f"{name} {list(shape)}")
    try:
        array = build_array(entry[name]).astype(np.float64)
    except ValueError as error:
        raise BadInputError(path, f"{where}: {error}", f"an array {list(shape)}") from None
    if array.shape != shape:
        raise BadInputError(path, f"{where} {list(array.shape)}", f"an array {list(shape)}")
    if not (np.abs(array) < _MAX_MAGNITUDE).all():  # not so of NaN
        raise BadInputError(path, f"{where} with {_worst(array)}", "finite numbers")
    return array


def _worst(array: np.ndarray) -> float:
    return float(array[~(np.abs(array) < _MAX_MAGNITUDE)][0])
