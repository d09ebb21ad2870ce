"""Depth maps that were pickled as NumPy arrays, read without running anything.

The unpickler turns every admitted global into an inert record of its name, arguments and
state; the array is then built from the records here. No code that the file names is called.
"""

import io
import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.formats.text import read_bytes

# `_codecs.encode` is how protocols 0 to 2 spell the array's bytes.
_ADMITTED = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "array" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "buffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
}
# What `Unpickler.load` raises for damaged streams, by its documentation and by fuzzing.
_DAMAGED = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,  # of frames that end within their content; every length was held against the file
    OverflowError,
    TypeError,
    ValueError,
)
_EXPECTED = "a pickled 2-D NumPy array of depths in mm"
# Neither containers to hash or fill nor instances to make: an array is a call and a state.
_OPCODES = frozenset((
    "PROTO", "FRAME", "MARK", "STOP", "POP", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "NONE", "NEWTRUE", "NEWFALSE",
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "STRING", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET",
))  # fmt: skip
_MEMO_WRITES = ("PUT", "BINPUT", "LONG_BINPUT")
_MAX_DEPTH = 1e12
_MAX_PIXELS = 1 << 26
_MAX_MEMO = 1 << 16


class _Record:
    """An admitted global, or what it returned: holds what came, does nothing."""

    __slots__ = ("args", "kind", "state")

    def __init__(self, kind: str, args: tuple | None = None):
        self.kind, self.args, self.state = kind, args, None

    def __call__(self, *args: Any) -> "_Record":
        return _Record(self.kind, args)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _RecordingUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, path: Path):
        super().__init__(io.BytesIO(data), encoding="latin1", buffers=None)
        self._path = path

    def find_class(self, module: str, name: str) -> _Record:
        if (module, name) not in _ADMITTED:
            found = f"a pickle that refers to {module}.{name}"
            raise BadInputError(self._path, found, "NumPy's array reconstruction and nothing else")
        return _Record(_ADMITTED[module, name])


def read_depth_pickle(path: str | Path) -> Float[np.ndarray, "h w"]:
    """Reads a depth map: float32 mm along the camera's z, 0 = background.

    Raises:
        BadInputError: The pickle refers to anything but NumPy's array reconstruction (nothing of
            it runs), is damaged or truncated, or does not hold finite depths >= 0 in two axes.
    """
    path = Path(path)
    data = read_bytes(path)
    readable, complaint = _readable_part(data)
    try:
        record = _RecordingUnpickler(readable, path).load()
        depth = _build_array(record)
    except BadInputError:
        raise
    except _DAMAGED as error:
        found = f"a damaged pickle ({complaint or error})"
        raise BadInputError(path, found, _EXPECTED) from None
    if not ((depth >= 0) & (depth.astype(np.float64) <= _MAX_DEPTH)).all():
        raise BadInputError(path, "a depth that is negative or not finite", "depths >= 0 in mm")
    return depth.astype(np.float32)


def _readable_part(data: bytes) -> tuple[bytes, str]:
    """Returns the data up to the first opcode that arrays do not need, and a word on that one.

    Walking the opcodes also holds every length against the file's, so none claims huge memory.
    """
    position = 0
    try:
        for opcode, argument, start in pickletools.genops(data):
            position = start
            if opcode.name not in _OPCODES:
                return data[:start], f"opcode {opcode.name}"
            if opcode.name in _MEMO_WRITES and int(argument) > _MAX_MEMO:
                return data[:start], f"memo index {argument}"
    except ValueError as error:
        return data[:position], str(error)
    return data, ""


def _build_array(record: Any) -> np.ndarray:
    """Builds the array that the records describe; ValueError where they describe none."""
    if not isinstance(record, _Record) or record.args is None:
        raise ValueError(f"a {type(record).__name__} instead of an array")
    if record.kind == "array":
        _, shape, dtype, fortran, data = record.state
    elif record.kind == "buffer":
        data, dtype, shape, order = record.args
        fortran = order == "F"
    else:
        raise ValueError(f"a {record.kind} instead of an array")
    dtype, data = _number_type(dtype), _raw_bytes(data)
    if not (isinstance(shape, tuple) and len(shape) == 2 and all(type(n) is int for n in shape)):
        raise ValueError(f"shape {_brief(shape)}")
    if min(shape) < 1 or math.prod(shape) > _MAX_PIXELS:
        raise ValueError(f"shape {_brief(shape)}")
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for shape {shape} of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _number_type(record: Any) -> np.dtype:
    if not isinstance(record, _Record) or record.kind != "dtype" or not record.args:
        raise ValueError("no dtype")
    code = record.args[0]
    order = record.state[1] if record.state else "|"
    if not (isinstance(code, str) and re.fullmatch("f[248]|[iu][1248]", code)) or order not in (
        "<",
        ">",
        "|",
        "=",
    ):
        raise ValueError(f"dtype {_brief(code)}")
    return np.dtype(code).newbyteorder(order)


def _raw_bytes(data: Any) -> bytes:
    if isinstance(data, _Record) and data.kind == "encode" and data.args:
        data = data.args[0]
    if isinstance(data, str):  # Python 2's byte strings arrive as latin-1 text
        return data.encode("latin1")
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    raise ValueError(f"array data of type {type(data).__name__}")


def _brief(value: Any) -> str:
    # A hostile value may be nested deeper than repr can follow.
    return str(value)[:80] if isinstance(value, (str, int)) else type(value).__name__


def write_depth_pickle(path: str | Path, depth: Float[np.ndarray, "h w"]) -> None:
    """Writes a depth map as a pickled float32 array."""
    with Path(path).open("wb") as file:
        pickle.dump(np.ascontiguousarray(depth, np.float32), file, protocol=4)
