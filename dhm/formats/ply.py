"""Triangle meshes in PLY files, ASCII and binary."""

import codecs
import logging
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dhm.errors import BadInputError
from dhm.formats.text import parse_number, read_bytes
from dhm.formats.triangles import MAX_CORNERS, triangulate, without_unplaced

log = logging.getLogger(__name__)

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2",
    "int": "i4", "uint": "u4", "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_BYTE_ORDERS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}
_AXES, _CORNERS = ("x", "y", "z"), ("vertex_indices", "vertex_index")
_REMARKS = ("comment", "obj_info")
_HEADER = "a PLY header (ply, format, element, property, end_header)"


def read_ply(path: str | Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Reads the vertex positions and triangles of a PLY file; other properties are passed over.

    Polygons are triangulated. Vertices that are not finite and in no face, which scanners write,
    are left out.

    Raises:
        BadInputError: A header that is none, a truncated body, no vertex or no face, a number
            that is not finite in a vertex of a face, a face of fewer than 3 or more than
            MAX_CORNERS corners, or an index out of range.
    """
    path = Path(path)
    header, body = _parse_header(path, read_bytes(path))
    read = _ascii_tables if header.byte_order is None else _binary_tables
    tables = read(path, body, header)
    columns = [_column(path, tables, "vertex", (axis,)) for axis in _AXES]
    if any((column.lengths != 1).any() for column in columns):
        raise BadInputError(path, "lists as coordinates", "one number x, y and z a vertex")
    vertices = np.stack([column.values for column in columns], axis=1).astype(np.float64)
    lengths, values = _column(path, tables, "face", _CORNERS)
    unusual = (lengths < 3) | (lengths > MAX_CORNERS)
    if unusual.any():
        face = int(np.argmax(unusual))
        found = f"face {face} with {lengths[face]} corners"
        raise BadInputError(path, found, f"polygons of 3 to {MAX_CORNERS} corners")
    usable = (values >= 0) & (values < len(vertices)) & (values == np.floor(values))
    if not usable.all():
        expected = f"vertex indices from 0 to {len(vertices) - 1}"
        raise BadInputError(path, f"a face with vertex {values[~usable][0]:g}", expected)
    vertices, corners = without_unplaced(path, vertices, values.astype(np.int64))
    return vertices, corners[triangulate(vertices, lengths, corners)].astype(np.int32)


def write_ply(
    path: str | Path, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> None:
    """Writes a PLY file: binary little endian, float32."""
    rows = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", "<i4", (3,))]))
    rows["count"], rows["corners"] = 3, faces
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    Path(path).write_bytes(header.encode() + vertices.astype("<f4").tobytes() + rows.tobytes())


class _Property(NamedTuple):
    name: str
    code: str
    count_code: str | None  # of a list


class _Element(NamedTuple):
    name: str
    count: int
    properties: list[_Property]


class _Header(NamedTuple):
    byte_order: str | None
    elements: list[_Element]
    num_lines: int


class _Column(NamedTuple):
    """A property of all rows of an element: a list each, or one value (of length 1)."""

    lengths: Int[np.ndarray, " n"]
    values: Float[np.ndarray, " v"]


_Tables = dict[str, dict[str, _Column]]


def _parse_header(path: Path, data: bytes) -> tuple[_Header, bytes]:
    data = data.removeprefix(codecs.BOM_UTF8)
    start = re.match(rb"ply[ \t]*(\r\n|\n|\r)", data)
    if start is None:
        raise BadInputError(path, "no complete header", _HEADER)
    newline = b"\r" if start[1] == b"\r" else b"\n"
    rows, position = [], start.end()
    while rows[-1:] != [["end_header"]]:
        end = data.find(newline, position)
        if end < 0:
            raise BadInputError(path, "no complete header", _HEADER)
        rows.append(data[position:end].decode("latin1").split())
        position = end + 1
    byte_order, elements = "", []
    for number, row in enumerate(rows[:-1], start=2):
        match row:
            case ["format", form, _] if form in _BYTE_ORDERS:
                byte_order = _BYTE_ORDERS[form]
            case ["element", name, count] if count.isascii() and count.isdigit():
                if name in (element.name for element in elements):
                    raise BadInputError(path, f"a second element {name}", "each once", number)
                elements.append(_Element(name, int(count), []))
            case ["property", *words] if elements and (property_ := _parse_property(words)):
                if property_.name in (known.name for known in elements[-1].properties):
                    found = f"a second property {property_.name} of {elements[-1].name}"
                    raise BadInputError(path, found, "each once", number)
                elements[-1].properties.append(property_)
            case [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise BadInputError(path, repr(" ".join(row)[:80]), _HEADER, number)
    if byte_order == "":
        raise BadInputError(path, "no format line", "ascii or binary_{little,big}_endian 1.0")
    return _Header(byte_order, elements, len(rows) + 1), data[position:]


def _parse_property(words: list[str]) -> _Property | None:
    match words:
        case [code, name] if code in _TYPES:
            return _Property(name, _TYPES[code], None)
        case ["list", length, code, name] if code in _TYPES and _TYPES.get(length, "f")[0] != "f":
            return _Property(name, _TYPES[code], _TYPES[length])
    return None


def _ascii_tables(path: Path, body: bytes, header: _Header) -> _Tables:
    text = body.decode("latin1").replace("\r\n", "\n").replace("\r", "\n")
    numbered = enumerate(map(str.split, text.split("\n")), start=header.num_lines + 1)
    rows = [(line, row) for line, row in numbered if row and row[0] not in _REMARKS]
    tables: _Tables = {}
    position = 0
    for element in header.elements:
        own = rows[position : position + element.count]
        if len(own) < element.count:
            raise _truncated(path, element)
        parsed = [_ascii_row(path, row, element, line) for line, row in own]
        position += element.count
        tables[element.name] = {
            property_.name: _Column(
                np.array([len(row[column]) for row in parsed], np.int64),
                np.array([value for row in parsed for value in row[column]], np.float64),
            )
            for column, property_ in enumerate(element.properties)
        }
    if position < len(rows):
        line, row = rows[position]
        expected = "as many lines as the header says"
        raise BadInputError(path, repr(" ".join(row)[:80]), expected, line)
    return tables


def _ascii_row(path: Path, tokens: list[str], element: _Element, line: int) -> list[list[float]]:
    expected = f"the {len(element.properties)} properties of a {element.name}"
    try:
        numbers = [parse_number(token) for token in tokens]
    except ValueError:
        raise BadInputError(path, repr(" ".join(tokens)[:80]), expected, line) from None
    values, position = [], 0
    for property_ in element.properties:
        length = 1
        if property_.count_code is not None and position < len(numbers):
            length = numbers[position]
            if not (length >= 0 and length == np.floor(length)):
                found = f"{length:g} entries of {property_.name}"
                raise BadInputError(path, found, "the number of entries of a list", line)
            length = int(min(length, len(numbers)))
            position += 1
        values.append(numbers[position : position + length])
        position += length
    if position != len(numbers):
        raise BadInputError(path, f"{len(numbers)} values", expected, line)
    return values


def _binary_tables(path: Path, body: bytes, header: _Header) -> _Tables:
    tables: _Tables = {}
    position = 0
    for element in header.elements:
        if position + element.count * _smallest_row(element) > len(body):
            raise _truncated(path, element)
        uniform = _uniform_rows(body, position, element, header.byte_order)
        if uniform is None:
            found = _ragged_rows(path, body, position, element, header.byte_order)
            tables[element.name], position = found
        else:
            tables[element.name] = _uniform_columns(uniform, element)
            position += uniform.nbytes
    if rest := body[position:].strip():
        log.warning("%s: %d bytes after the last element are not read", path, len(rest))
    return tables


def _smallest_row(element: _Element) -> int:
    return sum(np.dtype(p.count_code or p.code).itemsize for p in element.properties)


def _uniform_rows(body: bytes, start: int, element: _Element, order: str) -> np.ndarray | None:
    """Returns the rows if the lists of all of them are as long as those of the first, else None."""
    fields: list[tuple] = []
    size = 0
    for column, property_ in enumerate(element.properties):
        shape: tuple[int, ...] = ()
        if property_.count_code is not None and element.count:
            code = np.dtype(order + property_.count_code)
            if start + size + code.itemsize > len(body):
                return None
            length = int(np.frombuffer(body, code, 1, start + size)[0])
            if not 0 <= length <= len(body):
                return None
            fields.append((f"n{column}", code))
            size += code.itemsize
            shape = (length,)
        fields.append((f"p{column}", order + property_.code, shape))
        size += int(np.prod(shape)) * np.dtype(property_.code).itemsize
    if start + element.count * size > len(body):
        return None
    if not size:
        return np.empty(0, np.dtype(fields))
    rows = np.frombuffer(body, np.dtype(fields), element.count, start)
    counts = [rows[name] for name in rows.dtype.names if name.startswith("n")]
    return rows if all(not np.ptp(count) for count in counts if len(count)) else None


def _uniform_columns(rows: np.ndarray, element: _Element) -> dict[str, _Column]:
    columns = {}
    for column, property_ in enumerate(element.properties):
        values = rows[f"p{column}"]
        length = int(np.prod(values.shape[1:]))
        columns[property_.name] = _Column(np.full(len(rows), length), values.reshape(-1))
    return columns


def _ragged_rows(
    path: Path, body: bytes, start: int, element: _Element, order: str
) -> tuple[dict[str, _Column], int]:
    """Reads rows whose lists are of different lengths; also returns where they end."""
    byteorder = "little" if order == "<" else "big"
    sizes = [np.dtype(p.code).itemsize for p in element.properties]
    counts = [p.count_code and np.dtype(p.count_code) for p in element.properties]
    starts = np.empty((element.count, len(sizes)), np.int64)
    lengths = np.ones((element.count, len(sizes)), np.int64)
    position = start
    for row in range(element.count):
        for column, (size, count) in enumerate(zip(sizes, counts, strict=True)):
            length = 1
            if count:
                number = body[position : position + count.itemsize]
                length = int.from_bytes(number, byteorder, signed=count.kind == "i")
                if length < 0:
                    found = f"a list {element.properties[column].name} of {length}"
                    raise BadInputError(path, found, "0 or more entries")
                position += count.itemsize
                lengths[row, column] = length if length <= len(body) else 0
            starts[row, column] = position
            position += length * size
        if position > len(body):
            raise _truncated(path, element)
    columns = {}
    for column, (property_, size) in enumerate(zip(element.properties, sizes, strict=True)):
        own = lengths[:, column]
        within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        at = np.repeat(starts[:, column], own) + within * size
        raw = np.frombuffer(body, np.uint8)[at[:, None] + np.arange(size)]
        values = np.ascontiguousarray(raw).view(np.dtype(order + property_.code))
        columns[property_.name] = _Column(own, values.reshape(-1))
    return columns, position


def _truncated(path: Path, element: _Element) -> BadInputError:
    found = f"the end of the file within the {element.name} data"
    return BadInputError(path, found, f"{element.count} of {element.name}")


def _column(path: Path, tables: _Tables, element: str, names: tuple[str, ...]) -> _Column:
    for name in names:
        column = tables.get(element, {}).get(name)
        if column is not None and len(column.lengths):
            return column
    raise BadInputError(path, f"no {element} with {names[0]}", "a mesh of vertices and triangles")
