"""Meshes in Wavefront OBJ files."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dhm.errors import BadInputError
from dhm.formats.text import MAX_MAGNITUDE, Line, read_text
from dhm.formats.triangles import MAX_CORNERS, triangulate, without_unplaced

# Statements of the format that a triangle mesh does without, with those of older versions and two
# common extensions (vc, vw: colours and weights of vertices).
_PASSED_OVER = frozenset({
    "vn", "vp", "vc", "vw", "cstype", "deg", "bmat", "step", "p", "l", "curv", "curv2", "surf",
    "parm", "trim", "hole", "scrv", "sp", "end", "con", "g", "s", "mg", "o", "bevel", "c_interp",
    "d_interp", "lod", "usemtl", "mtllib", "shadow_obj", "trace_obj", "ctech", "stech", "usemap",
    "maplib", "bsp", "bzp", "cdc", "cdp", "res",
})  # fmt: skip
_READ = ("v", "vt", "f")
_POSITION, _UV = "a vertex (x y z)", "a texture coordinate (u v)"
# Numbers of a position: x y z, then w, a colour of three or four numbers, or both.
_POSITION_LENGTHS = (3, 4, 6, 7, 8)
_UV_LENGTHS = (2, 3)


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
    """Reads an OBJ file: `v`, `vt` and `f` (v, v/vt, v//vn or v/vt/vn); polygons are triangulated.

    Other statements of the format are passed over. The text may be of any system and encoding
    that `read_text` reads; a backslash at its end continues a line.

    Raises:
        BadInputError: No vertex or no face, a number that is not finite, a line that is damaged or
            no statement of the format, a face of fewer than 3 or more than MAX_CORNERS corners, or
            an index out of range.
    """
    content = _read(Path(path))
    for values, lines in ((content.vertices, content.v_lines), (content.uvs, content.vt_lines)):
        wrong = ~(np.abs(values) <= MAX_MAGNITUDE)
        if wrong.any():
            row = int(np.argmax(wrong.any(axis=1)))
            found = repr(str(values[row][wrong[row]][0]))
            raise BadInputError(path, found, "a finite number", lines[row])
    corners = content.corners[triangulate(content.vertices, content.lengths, content.corners[:, 0])]
    faces, faces_uv = corners[:, :, 0], corners[:, :, 1]
    textured = bool((faces_uv >= 0).all())
    return ObjMesh(
        content.vertices,
        np.ascontiguousarray(faces),
        content.uvs if textured else None,
        np.ascontiguousarray(faces_uv) if textured else None,
    )


def read_obj_surface(
    path: str | Path,
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Reads the vertices and triangles of an OBJ file like `read_obj`.

    Vertices that are not finite and in no face, which scanners write, are left out.

    Raises:
        BadInputError: As `read_obj` does; but only vertices of faces must be finite.
    """
    path = Path(path)
    content = _read(path)
    vertices, corners = without_unplaced(
        path, content.vertices, content.corners[:, 0], content.v_lines
    )
    faces = corners[triangulate(vertices, content.lengths, corners)]
    return vertices, faces.astype(np.int32)


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


class _Content(NamedTuple):
    """An OBJ file's statements; corners are (vertex, texture coordinate or -1), from 0."""

    vertices: Float[np.ndarray, "v 3"]
    v_lines: list[int]
    uvs: Float[np.ndarray, "t 2"]
    vt_lines: list[int]
    lengths: Int[np.ndarray, " n"]
    corners: Int[np.ndarray, "c 2"]


def _read(path: Path) -> _Content:
    vertices: list[list[float]] = []
    uvs: list[list[float]] = []
    v_lines: list[int] = []
    vt_lines: list[int] = []
    faces: list[tuple[Line, int, int]] = []
    for line in _statements(path):
        keyword = line.tokens[0]
        if keyword == "v":
            vertices.append(_numbers(line, _POSITION_LENGTHS, _POSITION)[:3])
            v_lines.append(line.number)
        elif keyword == "vt":
            uvs.append(_numbers(line, _UV_LENGTHS, _UV)[:2])
            vt_lines.append(line.number)
        elif keyword == "f":
            faces.append((line, len(vertices), len(uvs)))
        elif keyword not in _PASSED_OVER:
            expected = "a statement of an OBJ file that needs no other file (v, vt, f, ...)"
            raise line.refusal(repr(" ".join(line.tokens)[:80]), expected)
    if not vertices or not faces:
        found = f"{len(vertices)} vertices and {len(faces)} faces"
        raise BadInputError(path, found, "a mesh with vertices and triangles")
    polygons = [_corners(*face, len(vertices), len(uvs)) for face in faces]
    return _Content(
        np.array(vertices),
        v_lines,
        np.array(uvs).reshape(-1, 2),
        vt_lines,
        np.array([len(polygon) for polygon in polygons]),
        np.array([corner for polygon in polygons for corner in polygon], np.int32),
    )


def _statements(path: Path) -> Iterator[Line]:
    """Yields the lines of a file without comments, continued lines as one.

    A line that is read is continued by whatever follows a backslash. A name may end with one by
    itself, as of a folder of Windows, and must not take the next statement along.
    """
    known = _PASSED_OVER.union(_READ)
    rows = [row.split("#", 1)[0].rstrip() for row in read_text(path).split("\n")]
    position = 0
    while position < len(rows):
        number, text = position + 1, rows[position]
        position += 1
        while text.endswith("\\"):
            following = rows[position].split()[:1] if position < len(rows) else []
            is_read = text.split()[0] in _READ
            if not is_read and (not following or following[0] in known):
                break
            if not following:
                expected = "another line after a backslash"
                raise BadInputError(path, "nothing to continue it", expected, number)
            row = rows[position]
            if is_read and not (text[-2].isspace() or row[0].isspace()):
                # "1\" and "2" are 12 to some programs and 1 2 to others.
                found = f"{text.split()[-1]!r} continued by {following[0]!r}"
                raise BadInputError(path, found, "a space at the backslash", number)
            text = f"{text[:-1]} {row}"
            position += 1
        if tokens := text.split():
            yield Line(path, number, tokens)


def _numbers(line: Line, lengths: tuple[int, ...], of: str) -> list[float]:
    count = len(line.tokens) - 1
    if count not in lengths:
        raise line.refusal(f"{count} values", f"{' or '.join(map(str, lengths))} numbers of {of}")
    return [line.to_number(token, of) for token in line.tokens[1:]]


def _corners(line: Line, seen_v: int, seen_vt: int, num_v: int, num_vt: int) -> list[list[int]]:
    """Returns a face's (vertex, texture coordinate or -1) pairs, from 0."""
    count = len(line.tokens) - 1
    if not 3 <= count <= MAX_CORNERS:
        raise line.refusal(f"a face of {count} corners", f"3 to {MAX_CORNERS}")
    corners = []
    for token in line.tokens[1:]:
        vertex, uv, normal, *_ = (*token.split("/"), "", "")
        if token.count("/") > 2:
            raise line.refusal(f"the corner {token!r}", "v, v/vt, v//vn or v/vt/vn")
        if normal:
            line.int(normal, "a normal's index")
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
