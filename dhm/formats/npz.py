"""NumPy's .npz, read without pickle and with clear refusals."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from dhm.errors import BadInputError

# NumPy and zipfile raise all of these on damaged archives.
_DAMAGED = (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Arrays:
    """The arrays of one .npz file by name.

    Args:
        path: The file.

    Raises:
        BadInputError: If it is missing or damaged, or holds pickled objects; on access, if there
            is no such array.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            with np.load(path, allow_pickle=False) as file:
                self._arrays = dict(file)
        except FileNotFoundError as error:
            raise BadInputError(path, "no such file", "NumPy arrays (.npz)") from error
        except _DAMAGED as error:
            raise BadInputError(path, f"a damaged file ({error})", "NumPy arrays (.npz)") from error

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise BadInputError(
                self._path, f"no array {name!r}", f"an undamaged file; it holds {[*self._arrays]}"
            )
        return self._arrays[name]
