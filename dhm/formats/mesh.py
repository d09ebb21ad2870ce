"""Triangle meshes in Wavefront OBJ files and in PLY files (ASCII and binary)."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dhm.errors import BadInputError
from dhm.formats.text import MAX_MAGNITUDE, Line, read_bytes, read_lines

SCAN_SUFFIXES = (".ply", ".obj")

_PLY_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2",
    "int": "i4", "uint": "u4", "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_PLY_BYTE_ORDERS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_PLY_LIST = 256


def read_scan(path: str | Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Reads the vertices (mm) and triangles of a 3-D scan from a .ply or .obj file.

    Raises:
        BadInputError: The file is of another type, or `read_ply` or `read_obj` refuses it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SCAN_SUFFIXES:
        raise BadInputError(path, f"a file of type {suffix!r}", " or ".join(SCAN_SUFFIXES))
    if suffix == ".ply":
        return read_ply(path)
    mesh = read_obj(path)
    return mesh.vertices, mesh.faces


class ObjMesh(NamedTuple):
    """A mesh with texture coordinates, in the file's own unit.

    Attributes:
        vertices: Positions.
        faces: Vertex indices, from 0.
        uvs: Texture coordinates, v up, or None where some corner has none.
        faces_uv: Indices into `uvs` for each corner of `faces`, or None.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    uvs: Float[np.ndarray, "t 2"] | None
    faces_uv: Int[np.ndarray, "f 3"] | None


def read_obj(path: str | Path) -> ObjMesh:
    """Reads an OBJ file: `v`, `vt` and triangles `f` (v, v/vt, v//vn or v/vt/vn); nothing else.

    Raises:
        BadInputError: No vertex or no face, a number that is not finite, a truncated line, a
            face that is not a triangle, or an index out of range.
    """
    vertices: list[list[float]] = []
    uvs: list[list[float]] = []
    face_lines: list[tuple[Line, int, int]] = []
    for line in read_lines(path):
        keyword = line.tokens[0]
        if keyword == "v":
            vertices.append(_numbers(line, 3, "a vertex (x y z)"))
        elif keyword == "vt":
            uvs.append(_numbers(line, 2, "a texture coordinate (u v)"))
        elif keyword == "f":
            face_lines.append((line, len(vertices), len(uvs)))
    if not vertices or not face_lines:
        found = f"{len(vertices)} vertices and {len(face_lines)} faces"
        raise BadInputError(path, found, "a mesh with vertices and triangles")
    corners = np.array([_corners(*face, len(vertices), len(uvs)) for face in face_lines], np.int32)
    faces, faces_uv = corners[:, :, 0], corners[:, :, 1]
    textured = bool((faces_uv >= 0).all())
    return ObjMesh(
        np.array(vertices),
        np.ascontiguousarray(faces),
        np.array(uvs) if textured else None,
        np.ascontiguousarray(faces_uv) if textured else None,
    )


def _numbers(line: Line, count: int, of: str) -> list[float]:
    # Positions may be followed by w or a colour, texture coordinates by a third number.
    if len(line.tokens) <= count:
        raise line.refusal(f"{len(line.tokens) - 1} values", f"{count} numbers of {of}")
    return [line.float(token, of) for token in line.tokens[1 : count + 1]]


def _corners(line: Line, seen_v: int, seen_vt: int, num_v: int, num_vt: int) -> list[list[int]]:
    """Returns a face's three (vertex, texture coordinate or -1) pairs, from 0."""
    if len(line.tokens) != 4:
        raise line.refusal(f"a face of {len(line.tokens) - 1} corners", "a triangle")
    corners = []
    for token in line.tokens[1:]:
        vertex, uv, *_ = (*token.split("/"), "")
        corners.append(
            [
                _index(line, vertex, seen_v, num_v, "a vertex index"),
                _index(line, uv, seen_vt, num_vt, "a texture coordinate's index") if uv else -1,
            ]
        )
    return corners


def _index(line: Line, token: str, seen: int, total: int, of: str) -> int:
    number = line.int(token, of)
    # Negative numbers count back from what the file has listed so far.
    index = number - 1 if number > 0 else seen + number
    if number == 0 or not 0 <= index < total:
        raise line.refusal(f"{of} {number}", f"one from 1 to {total}")
    return index


def write_obj(path: str | Path, mesh: ObjMesh) -> None:
    """Writes an OBJ file, with texture coordinates if the mesh has them."""
    rows = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in mesh.vertices]
    if mesh.uvs is None or mesh.faces_uv is None:
        rows += [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
    else:
        rows += [f"vt {u:.7f} {v:.7f}" for u, v in mesh.uvs]
        rows += [
            f"f {a}/{s} {b}/{t} {c}/{u}"
            for (a, b, c), (s, t, u) in zip(mesh.faces + 1, mesh.faces_uv + 1, strict=True)
        ]
    Path(path).write_text("\n".join(rows) + "\n")


def read_ply(path: str | Path) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Reads the vertex positions and triangles of a PLY file; other properties are passed over.

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


class _PlyProperty(NamedTuple):
    name: str
    code: str
    count_code: str | None  # of a list


class _PlyElement(NamedTuple):
    name: str
    count: int
    properties: list[_PlyProperty]


class _PlyHeader(NamedTuple):
    byte_order: str | None
    elements: list[_PlyElement]
    num_lines: int


def _parse_header(path: Path, data: bytes) -> tuple[_PlyHeader, bytes]:
    expected = "a PLY header (ply, format, element, property, end_header)"
    head, found, rest = data.partition(b"end_header")
    _, newline, body = rest.partition(b"\n")
    if not (head.startswith(b"ply") and found and newline):
        raise BadInputError(path, "no complete header", expected)
    rows = [row.split() for row in head.decode("latin1").split("\n")]
    byte_order, elements = "", []
    for number, row in enumerate(rows[1:], start=2):
        match row:
            case ["format", form, _] if form in _PLY_BYTE_ORDERS:
                byte_order = _PLY_BYTE_ORDERS[form]
            case ["element", name, count] if count.isascii() and count.isdigit():
                elements.append(_PlyElement(name, int(count), []))
            case ["property", code, name] if elements and code in _PLY_TYPES:
                elements[-1].properties.append(_PlyProperty(name, _PLY_TYPES[code], None))
            case ["property", "list", length, code, name] if (
                elements and length in _PLY_TYPES and code in _PLY_TYPES
            ):
                property_ = _PlyProperty(name, _PLY_TYPES[code], _PLY_TYPES[length])
                elements[-1].properties.append(property_)
            case [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise BadInputError(path, repr(" ".join(row)[:80]), expected, number)
    if byte_order == "":
        raise BadInputError(path, "no format line", "ascii or binary_{little,big}_endian 1.0")
    return _PlyHeader(byte_order, elements, len(rows)), body


_Tables = dict[str, dict[str, np.ndarray]]


def _ascii_tables(path: Path, body: bytes, header: _PlyHeader) -> _Tables:
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


def _ascii_row(path: Path, tokens: list[str], element: _PlyElement, line: int) -> list[list[float]]:
    expected = f"the {len(element.properties)} properties of a {element.name}"
    try:
        numbers = [float(token) for token in tokens]
    except ValueError:
        raise BadInputError(path, repr(" ".join(tokens)[:80]), expected, line) from None
    values, position = [], 0
    for property_ in element.properties:
        length = 1
        if property_.count_code is not None and position < len(numbers):
            length = int(np.clip(np.nan_to_num(numbers[position]), 0, _MAX_PLY_LIST + 1))
            position += 1
        values.append(numbers[position : position + length])
        position += length
    if position > len(numbers):
        raise BadInputError(path, f"{len(numbers)} values", expected, line)
    return values


def _stack(path: Path, rows: list[list[float]], property_: _PlyProperty) -> np.ndarray:
    if len({len(row) for row in rows}) > 1:
        raise _mixed_lists(path, property_)
    table = np.array(rows)
    return table if property_.count_code is not None else table.reshape(-1)


def _binary_tables(path: Path, body: bytes, header: _PlyHeader) -> _Tables:
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


def _row_type(path: Path, data: bytes, element: _PlyElement, order: str) -> np.dtype:
    """Returns the layout of one row, for lists as long as those of the first row."""
    fields: list[tuple] = []
    for column, property_ in enumerate(element.properties):
        shape: tuple[int, ...] = ()
        if property_.count_code is not None and element.count:
            fields.append((f"n{column}", order + property_.count_code))
            layout = np.dtype(fields)
            if layout.itemsize > len(data):
                raise _truncated(path, element)
            length = int(np.frombuffer(data, layout, 1)[0][f"n{column}"])
            if not 0 <= length <= _MAX_PLY_LIST:
                raise BadInputError(
                    path, f"a list {property_.name} of {length}", f"at most {_MAX_PLY_LIST} entries"
                )
            shape = (length,)
        fields.append((f"p{column}", order + property_.code, shape))
    return np.dtype(fields)


def _truncated(path: Path, element: _PlyElement) -> BadInputError:
    found = f"the end of the file within the {element.name} data"
    return BadInputError(path, found, f"{element.count} of {element.name}")


def _mixed_lists(path: Path, property_: _PlyProperty) -> BadInputError:
    found = f"lists {property_.name} of different lengths"
    return BadInputError(path, found, "triangles only (three vertex indices a face)")


def _column(path: Path, tables: _Tables, element: str, names: tuple[str, ...]) -> np.ndarray:
    for name in names:
        column = tables.get(element, {}).get(name)
        if column is not None and len(column):
            return column
    raise BadInputError(path, f"no {element} with {names[0]}", "a mesh of vertices and triangles")


def _checked(path: Path, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if vertices.ndim != 2 or not (np.abs(vertices) <= MAX_MAGNITUDE).all():
        raise BadInputError(path, "a vertex that is not finite", "finite x, y and z")
    if faces.ndim != 2 or faces.shape[1] != 3:
        corners = faces.shape[1] if faces.ndim == 2 else 1
        raise BadInputError(path, f"faces of {corners} corners", "triangles")
    usable = (faces >= 0) & (faces < len(vertices)) & (faces == np.floor(faces))
    if not usable.all():
        expected = f"vertex indices from 0 to {len(vertices) - 1}"
        raise BadInputError(path, f"a face with vertex {faces[~usable][0]:g}", expected)
    return vertices, faces.astype(np.int32)
