"""Triangle meshes in Wavefront OBJ files, with texture coordinates."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dhm.errors import BadInputError
from dhm.formats.text import Line, read_lines


class ObjMesh(NamedTuple):
    """What an OBJ file holds, in the file's own unit.

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
    """Reads `v`, `vt` and triangles `f` (v, v/vt, v//vn or v/vt/vn); all else is passed over.

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
    """Writes a mesh, with its texture coordinates where it has them."""
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
