"""Triangle meshes in PLY files: ascii, binary little endian and binary big endian."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dhm.errors import BadInputError
from dhm.formats.text import read_bytes

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2",
    "int": "i4", "uint": "u4", "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_BYTE_ORDERS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_LIST = 256


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


def read_ply(path: str | Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Reads the positions and triangles of a mesh; other elements and properties are passed over.

    Raises:
        BadInputError: A header that is none, a truncated body, no vertex or no face, a number
            that is not finite, a face that is not a triangle, or an index out of range.
    """
    path = Path(path)
    data = read_bytes(path)
    header, body = _parse_header(path, data)
    if header.byte_order is None:
        tables = _ascii_tables(path, body, header)
    else:
        tables = _binary_tables(path, body, header)
    vertices = np.stack([_column(path, tables, "vertex", (axis,)) for axis in "xyz"], axis=1)
    faces = _column(path, tables, "face", ("vertex_indices", "vertex_index"))
    return _checked(path, vertices.astype(np.float64), faces)


def _parse_header(path: Path, data: bytes) -> tuple[_Header, bytes]:
    expected = "a PLY header (ply, format, element, property, end_header)"
    head, found, rest = data.partition(b"end_header")
    _, newline, body = rest.partition(b"\n")
    if not (head.startswith(b"ply") and found and newline):
        raise BadInputError(path, "no complete header", expected)
    rows = [row.split() for row in head.decode("latin1").split("\n")]
    byte_order, elements = "", []
    for number, row in enumerate(rows[1:], start=2):
        match row:
            case ["format", form, _] if form in _BYTE_ORDERS:
                byte_order = _BYTE_ORDERS[form]
            case ["element", name, count] if count.isascii() and count.isdigit():
                elements.append(_Element(name, int(count), []))
            case ["property", code, name] if elements and code in _TYPES:
                elements[-1].properties.append(_Property(name, _TYPES[code], None))
            case ["property", "list", length, code, name] if (
                elements and length in _TYPES and code in _TYPES
            ):
                property_ = _Property(name, _TYPES[code], _TYPES[length])
                elements[-1].properties.append(property_)
            case [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise BadInputError(path, repr(" ".join(row)[:80]), expected, number)
    if byte_order == "":
        raise BadInputError(path, "no format line", "ascii or binary_{little,big}_endian 1.0")
    return _Header(byte_order, elements, len(rows)), body


_Tables = dict[str, dict[str, np.ndarray]]


def _ascii_tables(path: Path, body: bytes, header: _Header) -> _Tables:
    lines = [line.split() for line in body.decode("latin1").split("\n")]
    tables: _Tables = {}
    position = 0
    for element in header.elements:
        rows = lines[position : position + element.count]
        if len(rows) < element.count or (rows and not rows[-1]):
            raise _truncated(path, element)
        parsed = [
            _ascii_row(path, tokens, element, header.num_lines + position + offset + 1)
            for offset, tokens in enumerate(rows)
        ]
        position += element.count
        tables[element.name] = {
            property_.name: _stack(path, [row[column] for row in parsed], property_)
            for column, property_ in enumerate(element.properties)
        }
    return tables


def _ascii_row(path: Path, tokens: list[str], element: _Element, line: int) -> list[list[float]]:
    expected = f"the {len(element.properties)} properties of a {element.name}"
    try:
        numbers = [float(token) for token in tokens]
    except ValueError:
        raise BadInputError(path, repr(" ".join(tokens)[:80]), expected, line) from None
    values, position = [], 0
    for property_ in element.properties:
        length = 1
        if property_.count_code is not None and position < len(numbers):
            length = int(np.clip(np.nan_to_num(numbers[position]), 0, _MAX_LIST + 1))
            position += 1
        values.append(numbers[position : position + length])
        position += length
    if position > len(numbers):
        raise BadInputError(path, f"{len(numbers)} values", expected, line)
    return values


def _stack(path: Path, rows: list[list[float]], property_: _Property) -> np.ndarray:
    if len({len(row) for row in rows}) > 1:
        raise _mixed_lists(path, property_)
    table = np.array(rows)
    return table if property_.count_code is not None else table.reshape(-1)


def _binary_tables(path: Path, body: bytes, header: _Header) -> _Tables:
    tables: _Tables = {}
    position = 0
    for element in header.elements:
        row_type = _row_type(path, body[position:], element, header.byte_order)
        if position + element.count * row_type.itemsize > len(body):
            raise _truncated(path, element)
        columns = {}
        if row_type.itemsize:
            rows = np.frombuffer(body, row_type, element.count, position)
            for column, property_ in enumerate(element.properties):
                if property_.count_code and np.ptp(rows[f"n{column}"]):
                    raise _mixed_lists(path, property_)
                columns[property_.name] = rows[f"p{column}"]
        tables[element.name] = columns
        position += element.count * row_type.itemsize
    return tables


def _row_type(path: Path, data: bytes, element: _Element, order: str) -> np.dtype:
    """Returns one row's layout, assuming that all lists are as long as those of the first row."""
    fields: list[tuple] = []
    for column, property_ in enumerate(element.properties):
        shape: tuple[int, ...] = ()
        if property_.count_code is not None and element.count:
            fields.append((f"n{column}", order + property_.count_code))
            layout = np.dtype(fields)
            if layout.itemsize > len(data):
                raise _truncated(path, element)
            length = int(np.frombuffer(data, layout, 1)[0][f"n{column}"])
            if not 0 <= length <= _MAX_LIST:
                raise BadInputError(
                    path, f"a list {property_.name} of {length}", f"at most {_MAX_LIST} entries"
                )
            shape = (length,)
        fields.append((f"p{column}", order + property_.code, shape))
    return np.dtype(fields)


def _truncated(path: Path, element: _Element) -> BadInputError:
    found = f"the end of the file within the {element.name} data"
    return BadInputError(path, found, f"{element.count} of {element.name}")


def _mixed_lists(path: Path, property_: _Property) -> BadInputError:
    found = f"lists {property_.name} of different lengths"
    return BadInputError(path, found, "triangles only (three vertex indices a face)")


def _column(path: Path, tables: _Tables, element: str, names: tuple[str, ...]) -> np.ndarray:
    for name in names:
        column = tables.get(element, {}).get(name)
        if column is not None and len(column):
            return column
    raise BadInputError(path, f"no {element} with {names[0]}", "a mesh of vertices and triangles")


def _checked(path: Path, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if vertices.ndim != 2 or not (np.abs(vertices) <= 1e12).all():
        raise BadInputError(path, "a vertex that is not finite", "finite x, y and z")
    if faces.ndim != 2 or faces.shape[1] != 3:
        corners = faces.shape[1] if faces.ndim == 2 else 1
        raise BadInputError(path, f"faces of {corners} corners", "triangles")
    usable = (faces >= 0) & (faces < len(vertices)) & (faces == np.floor(faces))
    if not usable.all():
        expected = f"vertex indices from 0 to {len(vertices) - 1}"
        raise BadInputError(path, f"a face with vertex {faces[~usable][0]:g}", expected)
    return vertices, faces.astype(np.int32)


def write_ply(
    path: str | Path, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> None:
    """Writes a triangle mesh, binary little endian, float32."""
    rows = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", "<i4", (3,))]))
    rows["count"], rows["corners"] = 3, faces
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    Path(path).write_bytes(header.encode() + vertices.astype("<f4").tobytes() + rows.tobytes())
