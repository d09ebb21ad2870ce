"""Depth maps that were pickled as NumPy arrays, read without running anything.

The array is built from the records that `restricted_pickle` makes of the file. No code that the
file names is called.
"""

import pickle
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.formats.restricted_pickle import ARRAY_GLOBALS, brief, build_array, load_records
from dhm.formats.text import read_bytes

_EXPECTED = "a pickled 2-D NumPy array of depths in mm"
_MAX_DEPTH = 1e12


def read_depth_pickle(path: str | Path) -> Float[np.ndarray, "h w"]:
    """Reads a depth map: float32 mm along the camera's z, 0 = background.

    Raises:
        BadInputError: The pickle refers to anything but NumPy's array reconstruction (nothing of
            it runs), is damaged or truncated, or does not hold finite depths >= 0 in two axes.
    """
    path = Path(path)
    data = read_bytes(path)
    only = "NumPy's array reconstruction and nothing else"
    try:
        depth = build_array(load_records(path, data, ARRAY_GLOBALS, only))
        if depth.ndim != 2:
            raise ValueError(f"shape {brief(depth.shape)}")
    except BadInputError:  # a ValueError too
        raise
    except ValueError as error:
        raise BadInputError(path, f"a damaged pickle ({error})", _EXPECTED) from None
    if not ((depth >= 0) & (depth.astype(np.float64) <= _MAX_DEPTH)).all():
        raise BadInputError(path, "a depth that is negative or not finite", "depths >= 0 in mm")
    return depth.astype(np.float32)


def write_depth_pickle(path: str | Path, depth: Float[np.ndarray, "h w"]) -> None:
    """Writes a depth map as a pickled float32 array."""
    with Path(path).open("wb") as file:
        pickle.dump(np.ascontiguousarray(depth, np.float32), file, protocol=4)
