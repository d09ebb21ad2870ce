"""Loads untrusted pickles as inert records: nothing that a file names is imported or called.

An interpreter of the pickle's opcodes replaces `pickle.Unpickler`, which would hash whatever a file
makes a dictionary's key: the hash of a tuple nested in tuples never ends.
"""

import codecs
import io
import math
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dhm.errors import BadInputError
from dhm.formats.text import read_bytes

# `_codecs.encode` is how protocols 0 to 2 spell an array's bytes.
ARRAY_GLOBALS = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "array" for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): "buffer" for core in ("core", "_core")},
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
}
"""The globals of a pickled NumPy array of numbers, with the kinds of their records."""
ONLY_ARRAYS = "NumPy's array reconstruction and nothing else"
"""ARRAY_GLOBALS in words."""
INSTANCE_GLOBALS = {
    **{(module, "_reconstructor"): "new" for module in ("copy_reg", "copyreg")},
    **{(module, "object"): "object" for module in ("__builtin__", "builtins")},
    **{(module, "set"): "set" for module in ("__builtin__", "builtins")},
}
"""The globals of instances besides their classes: protocols 0 and 1, and sets before protocol 4."""

# An array is a call and a state.
_ARRAY_OPCODES = frozenset((
    "PROTO", "FRAME", "MARK", "STOP", "POP", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "NONE", "NEWTRUE", "NEWFALSE",
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "STRING", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET",
))  # fmt: skip
_OBJECT_OPCODES = _ARRAY_OPCODES | frozenset((
    "NEWOBJ", "FLOAT", "BINFLOAT", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS",
    "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_SET", "ADDITEMS", "POP_MARK",
))  # fmt: skip
_BY_CODE = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
# What Python's repr of a byte string may hold; others would be kept with a warning.
_ESCAPED = re.compile(rb"(?s:[^\\]+|\\[\\'\"abfnrtv]|\\x[0-9a-fA-F]{2})*+")
_MAX_OPCODES = 1 << 23
_OPCODES_OF_A_SMALL_FILE = 1 << 16
_BYTES_PER_OPCODE = 8  # at least, in large files: RHD's have an opcode in every 18 bytes
_MAX_NUMBERS = 1 << 26
_MAX_PROTOCOL = 5


class Record:
    """An admitted global, or the result of calling it; inert.

    Attributes:
        kind: The reader's name for the global.
        args: Arguments of the call; None for the global itself.
        state: State that was set on the result (`__setstate__`).
    """

    __slots__ = ("args", "kind", "state")

    def __init__(self, kind: str, args: tuple | None = None):
        self.kind, self.args, self.state = kind, args, None


class _RefusedGlobal(Exception):  # noqa: N818 (never leaves this file)
    """The name of a global that is not admitted."""


def load_records(
    path: Path,
    admitted: Mapping[tuple[str, str], str],
    only: str,
    expected: str,
    *,
    objects: bool = False,
) -> Any:
    """Loads a pickle of any protocol whose globals become records.

    Byte strings of Python 2 become latin-1 text; sets become lists or, before protocol 4, records
    of lists. Entries of dictionaries are kept where the key is text or a whole number of at most
    64 bits.

    Args:
        path: The file.
        admitted: Kind of record of each (module, name) that may occur.
        only: The admitted globals in words, for the error message: `ONLY_ARRAYS`.
        expected: What the file should be, for the error message.
        objects: Whether to accept dictionaries, lists, floats and instances too.

    Raises:
        BadInputError: The file is missing, refers to another global, is truncated or damaged, or
            holds what arrays (and objects) do not need.
    """
    data = read_bytes(path)
    # About 25 opcodes make an array of a few hundred bytes.
    max_opcodes = min(_MAX_OPCODES, _OPCODES_OF_A_SMALL_FILE + len(data) // _BYTES_PER_OPCODE)
    opcodes = _OBJECT_OPCODES if objects else _ARRAY_OPCODES
    try:
        return _Machine(admitted, max_opcodes).run(_operations(data, opcodes, max_opcodes))
    except _RefusedGlobal as error:
        raise BadInputError(path, f"a pickle that refers to {error}", only) from None
    except (IndexError, KeyError, TypeError, OverflowError) as error:
        found = f"a damaged pickle ({type(error).__name__} {error})"
        raise BadInputError(path, found, expected) from None
    except ValueError as error:
        raise BadInputError(path, f"a damaged pickle ({error})", expected) from None


def load_dictionary(
    path: Path, admitted: Mapping[tuple[str, str], str], only: str, expected: str
) -> dict[str | int, Any]:
    """Loads a pickle that must be a dictionary; otherwise like `load_records` with objects.

    Raises:
        BadInputError: As `load_records`, or the pickle holds no dictionary.
    """
    entries = load_records(path, admitted, only, expected, objects=True)
    if not isinstance(entries, dict):
        found = f"a damaged pickle (a {type(entries).__name__} instead of a dictionary)"
        raise BadInputError(path, found, expected)
    return entries


def _operations(
    data: bytes, admitted: frozenset[str], max_opcodes: int
) -> Iterator[tuple[str, Any]]:
    """Yields names and arguments of the opcodes; no length may exceed the file's."""
    stream = io.BytesIO(data)
    for _ in range(max_opcodes):
        position = stream.tell()
        code = stream.read(1)
        if not code:
            raise ValueError("pickle exhausted before seeing STOP")
        if code not in _BY_CODE:
            raise ValueError(f"at position {position}, opcode {code!r} unknown")
        opcode = _BY_CODE[code]
        if opcode.name not in admitted:
            raise ValueError(f"opcode {opcode.name}")
        if opcode.name == "STRING":
            yield opcode.name, _quoted(stream.readline())
        elif opcode.name == "GLOBAL":  # in which pickletools would undo escapes
            yield opcode.name, (_name(stream.readline()), _name(stream.readline()))
        else:
            yield opcode.name, opcode.arg.reader(stream) if opcode.arg else None
        if opcode.name == "STOP":
            return
    raise ValueError(f"more than {max_opcodes} opcodes")


def _name(line: bytes) -> str:
    if not line.endswith(b"\n"):
        raise ValueError("a global without its end")
    return line[:-1].decode("utf-8")


def _quoted(line: bytes) -> str:
    """Parses a byte string of protocol 0, which pickletools would take for ASCII."""
    literal = line.rstrip(b"\r\n")
    if not line.endswith(b"\n") or len(literal) < 2 or literal[:1] not in (b"'", b'"'):
        raise ValueError("a byte string without its quotes")
    if literal[-1:] != literal[:1]:
        raise ValueError("a byte string without its closing quote")
    if not _ESCAPED.fullmatch(literal[1:-1]):
        raise ValueError("a byte string with an unknown escape")
    return codecs.escape_decode(literal[1:-1])[0].decode("latin1")


class _Machine:
    """The pickle machine: a stack and a memo."""

    def __init__(self, admitted: Mapping[tuple[str, str], str], max_memo: int):
        self._admitted, self._max_memo = admitted, max_memo
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def run(self, operations: Iterator[tuple[str, Any]]) -> Any:
        for name, argument in operations:
            if name == "STOP":
                return self._stack.pop()
            if name in _ACTIONS:
                _ACTIONS[name](self, argument)
            else:  # numbers, text and bytes
                self._stack.append(argument)
        raise ValueError("pickle exhausted before seeing STOP")

    def protocol(self, number: int) -> None:
        if number > _MAX_PROTOCOL:
            raise ValueError(f"pickle protocol {number}")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self, _: None) -> None:
        self._below.append(self._stack)
        self._stack = []

    def since_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._below.pop()
        return values

    def pop(self, _: None) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.since_mark()

    def tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise ValueError("too few values for a tuple")
        split = len(self._stack) - count
        self._stack[split:] = [tuple(self._stack[split:])]

    def put(self, index: int | None) -> None:
        index = len(self._memo) if index is None else int(index)
        if not 0 <= index <= self._max_memo:
            raise ValueError(f"memo index {index}")
        self._memo[index] = self._stack[-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[int(index)])

    def find(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a global whose name is no text")
        if (module, name) not in self._admitted:
            raise _RefusedGlobal(f"{brief(module)}.{brief(name)}")
        self._stack.append(Record(self._admitted[module, name]))

    def find_on_stack(self, _: None) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self.find(module, name)

    def call(self, _: None) -> None:
        args, called = self._stack.pop(), self._stack.pop()
        if not (isinstance(called, Record) and called.args is None and isinstance(args, tuple)):
            raise ValueError(f"a call of a {type(called).__name__}")
        if called.kind == "new":
            made, *args = args
            if not (isinstance(made, Record) and made.args is None):
                raise ValueError(f"an instance of a {type(made).__name__}")
            called, args = made, ()
        self._stack.append(Record(called.kind, args))

    def build(self, _: None) -> None:
        state, built = self._stack.pop(), self._stack[-1]
        if not (isinstance(built, Record) and built.args is not None):
            raise ValueError(f"a state for a {type(built).__name__}")
        built.state = state

    def append(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError(f"values for a {type(self._stack[-1]).__name__}")
        self._stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError(f"entries for a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if isinstance(key, str) or (type(key) is int and abs(key) < 1 << 64):
                target[key] = value

    def dictionary(self, _: None) -> None:
        values = self.since_mark()
        self._stack.append({})
        self.set_items(values)


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.protocol,
    "FRAME": lambda machine, _: None,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": lambda machine, _: machine.since_mark() and None,
    "GLOBAL": lambda machine, names: machine.find(*names),
    "STACK_GLOBAL": _Machine.find_on_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    **{f"TUPLE{n}": lambda machine, _, n=n: machine.tuple_of(n) for n in (1, 2, 3)},
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "APPEND": lambda machine, _: machine.append([machine._stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "EMPTY_SET": lambda machine, _: machine.push([]),
    "ADDITEMS": lambda machine, _: machine.append(machine.since_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": _Machine.dictionary,
    "SETITEM": lambda machine, _: machine.set_items(
        [machine._stack.pop(), machine._stack.pop()][::-1]
    ),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
}


def build_array(record: Any) -> np.ndarray:
    """Builds the array of numbers that a record of `ARRAY_GLOBALS` describes.

    Raises:
        ValueError: It describes none, or an array of no numbers or more than 2^26.
    """
    if not isinstance(record, Record) or record.args is None:
        raise ValueError(f"a {type(record).__name__} instead of an array")
    fields = record.state if record.kind == "array" else record.args
    if record.kind not in ("array", "buffer"):
        raise ValueError(f"a {record.kind} instead of an array")
    if not isinstance(fields, tuple) or len(fields) != (5 if record.kind == "array" else 4):
        raise ValueError("an array without its fields")
    if record.kind == "array":
        _, shape, dtype, fortran, data = fields
    else:
        data, dtype, shape, order = fields
        fortran = isinstance(order, str) and order == "F"
    dtype, data = _number_type(dtype), _raw_bytes(data)
    if not (isinstance(shape, tuple) and 1 <= len(shape) <= 4 and all(map(_is_length, shape))):
        raise ValueError(f"shape {brief(shape)}")
    if math.prod(shape) > _MAX_NUMBERS:
        raise ValueError(f"shape {brief(shape)}")
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for shape {shape} of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MAX_NUMBERS


def _number_type(record: Any) -> np.dtype:
    if not isinstance(record, Record) or record.kind != "dtype" or not record.args:
        raise ValueError("no dtype")
    code, state = record.args[0], record.state
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
    known = isinstance(code, str) and re.fullmatch("f[248]|[iu][1248]", code)
    if not (known and isinstance(order, str) and order in ("<", ">", "|", "=")):
        raise ValueError(f"dtype {brief(code)}")
    return np.dtype(code).newbyteorder(order)


def _raw_bytes(data: Any) -> bytes:
    if isinstance(data, Record) and data.kind == "encode" and data.args:
        data = data.args[0]
    if isinstance(data, str):  # Python 2's byte strings arrive as latin-1 text
        return data.encode("latin1")
    if isinstance(data, (bytes, bytearray)):
        return bytes(data)
    raise ValueError(f"array data of type {type(data).__name__}")


def brief(value: Any) -> str:
    """Describes a value briefly, however deep it is nested (`repr` recurses)."""
    if isinstance(value, str):
        return value[:80]
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 64 else "a huge integer"
    if isinstance(value, tuple) and len(value) <= 8 and all(type(n) is int for n in value):
        return f"({', '.join(map(brief, value))})"
    return type(value).__name__
