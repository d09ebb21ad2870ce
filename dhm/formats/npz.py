"""Reads NumPy's .npz and .npy files without pickle and with bounded memory."""

import lzma
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from dhm.errors import BadInputError

MAX_BYTES = 1 << 28
"""Size of all arrays of a file together, uncompressed."""

# What NumPy and zipfile raise on damaged archives.
_DAMAGED = (
    ValueError, EOFError, OSError, RuntimeError, NotImplementedError, OverflowError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
_SUFFIX = ".npy"
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Arrays:
    """The arrays of one .npz file by name.

    Args:
        path: The file.

    Raises:
        BadInputError: The file is missing or damaged, holds pickled objects, or claims more than
            MAX_BYTES; on access, there is no such array.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if (size := sum(member.file_size for member in members)) > MAX_BYTES:
                    raise ValueError(f"{size} bytes of arrays, more than {MAX_BYTES}")
                self._arrays = {
                    member.filename.removesuffix(_SUFFIX): _array(archive, member)
                    for member in members
                }
        except FileNotFoundError as error:
            raise BadInputError(path, "no such file", "NumPy arrays (.npz)") from error
        except _DAMAGED as error:
            raise BadInputError(path, f"a damaged file ({error})", "NumPy arrays (.npz)") from error

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise BadInputError(
                self._path, f"no array {name!r}", f"an undamaged file; it holds {[*self._arrays]}"
            )
        return self._arrays[name]

    def of(self, name: str, kinds: str, *shape: int | None) -> np.ndarray:
        """Returns an array after checking its dtype and shape.

        Args:
            name: The array's name.
            kinds: Accepted NumPy dtype kinds: "f", "iu", "b", "U".
            shape: The lengths of its axes, None for any length.

        Raises:
            BadInputError: There is no such array, it has another kind or shape, or numbers that
                are not finite.
        """
        array = self._shaped(name, kinds, shape)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadInputError(self._path, f"{name} with NaN or infinity", "finite numbers")
        return array

    def measured(self, name: str, kinds: str, *shape: int | None) -> np.ndarray:
        """Returns an array of measurements, in which NaN stands for one that was not made.

        Args:
            name: The array's name.
            kinds: Accepted NumPy dtype kinds.
            shape: The lengths of its axes, None for any length.

        Raises:
            BadInputError: There is no such array, it has another kind or shape, or infinity in it.
        """
        array = self._shaped(name, kinds, shape)
        if array.dtype.kind == "f" and np.isinf(array).any():
            expected = "finite numbers, or NaN where nothing was measured"
            raise BadInputError(self._path, f"{name} with infinity", expected)
        return array

    def _shaped(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> np.ndarray:
        array = self[name]
        lengths = zip(array.shape, shape, strict=False)
        fits = array.ndim == len(shape) and all(want in (None, have) for have, want in lengths)
        if array.dtype.kind not in kinds or not fits:
            found = f"{name} as {array.dtype} {list(array.shape)}"
            raise BadInputError(self._path, found, f"one of {kinds!r} {list(shape)}")
        return array


def read_npy(path: Path) -> np.ndarray:
    """Reads the array of a .npy file.

    Raises:
        BadInputError: The file is missing or damaged, holds pickled objects, or has more than
            MAX_BYTES.
    """
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"{size} bytes, more than {MAX_BYTES}")
        with path.open("rb") as file:
            return _read_array(file)
    except FileNotFoundError as error:
        raise BadInputError(path, "no such file", "a NumPy array (.npy)") from error
    except _DAMAGED as error:
        raise BadInputError(path, f"a damaged file ({error})", "a NumPy array (.npy)") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return _read_array(file)


def _read_array(file: IO[bytes]) -> np.ndarray:
    """Reads one array; NumPy would allocate whatever shape the header claims before reading it."""
    version = np.lib.format.read_magic(file)
    if version not in _READ_HEADER:
        raise ValueError(f"an array of format {version}")
    try:
        shape, is_fortran, dtype = _READ_HEADER[version](file)
    except Exception as error:  # a header is a Python literal: TokenError and others
        raise ValueError(f"an array without a header ({error})") from error
    if dtype.hasobject:
        raise ValueError("pickled objects")
    data = file.read()
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for an array {shape} of {dtype}")
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if is_fortran else "C")
