"""OBJ and PLY files."""

import numpy as np
import pytest
import trimesh

from dhm.errors import BadInputError
from dhm.formats.mesh import ObjMesh, read_obj, read_ply, read_scan, write_obj, write_ply
from tests.formats.samples import ASCII_PLY, FACES, OBJ, VERTICES, binary_ply


@pytest.mark.parametrize("corner", ["{v}", "{v}/{t}", "{v}//{n}", "{v}/{t}/{n}"])
def test_obj_reads_every_form_of_corner(tmp_path, corner):
    path = tmp_path / "m.obj"
    rows = [f"v {x} {y} {z}" for x, y, z in VERTICES]
    rows += ["o part", "vn 0 0 1", "vt 0 0", "vt 1 0", "vt 0.5 1", "usemtl skin", "s off"]
    for face in FACES + 1:
        corners = (corner.format(v=v, t=t + 1, n=1) for t, v in enumerate(face))
        rows.append("f " + " ".join(corners))
    path.write_text("\n".join(rows))
    mesh = read_obj(path)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    if "{t}" in corner:
        np.testing.assert_array_equal(mesh.uvs, [[0, 0], [1, 0], [0.5, 1]])
        np.testing.assert_array_equal(mesh.faces_uv, [[0, 1, 2]] * 3)
    else:
        assert mesh.uvs is None and mesh.faces_uv is None


def test_obj_negative_indices_count_back(tmp_path):
    path = tmp_path / "m.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 9 9 9\n")
    np.testing.assert_array_equal(read_obj(path).faces, [[0, 1, 2]])


def test_obj_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    mesh = ObjMesh(VERTICES, FACES, rng.random((5, 2)), rng.integers(0, 5, (3, 3)))
    write_obj(tmp_path / "m.obj", mesh)
    for found, expected in zip(read_obj(tmp_path / "m.obj"), mesh, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-7)
    write_obj(tmp_path / "bare.obj", ObjMesh(VERTICES, FACES, None, None))
    assert read_obj(tmp_path / "bare.obj").uvs is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "f 1/1 2/1 3/1",
            "f 1/1 2/1 3/1 1/1",
            "m.obj:5: found a face of 4 corners, expected a tri",
        ),
        ("f 1/1 2/1 3/1", "f 1/1 2/1 4/1", "m.obj:5: found a vertex index 4, expected one from 1"),
        ("f 1/1 2/1 3/1", "f 0 2 3", "found a vertex index 0"),
        ("f 1/1 2/1 3/1", "f -4 2 3", "found a vertex index -4"),
        ("f 1/1 2/1 3/1", "f 1/2 2/1 3/1", "found a texture coordinate's index 2"),
        ("f 1/1 2/1 3/1", "f a 2 3", "found 'a', expected an integer, a vertex index"),
        ("f 1/1 2/1 3/1", "", "found 3 vertices and 0 faces"),
        ("v 1 0 0", "v 1 0", "m.obj:2: found 2 values, expected 3 numbers of a vertex"),
        ("v 1 0 0", "v 1 nan 0", "found 'nan', expected a finite number"),
        ("vt 0 0", "vt 0", "expected 2 numbers of a texture coordinate"),
    ],
)
def test_bad_obj_files_are_refused(tmp_path, old, new, message):
    path = tmp_path / "m.obj"
    path.write_text(OBJ.replace(old, new))
    with pytest.raises(BadInputError, match=message):
        read_obj(path)


@pytest.mark.parametrize("data", [ASCII_PLY.encode(), binary_ply("<"), binary_ply(">")])
def test_ply_reads_every_encoding(tmp_path, data):
    path = tmp_path / "m.ply"
    path.write_bytes(data)
    vertices, faces = read_ply(path)
    np.testing.assert_array_equal(vertices, VERTICES)
    np.testing.assert_array_equal(faces, FACES)


def test_ply_round_trip_and_an_independent_reader_agree(tmp_path):
    path = tmp_path / "m.ply"
    write_ply(path, VERTICES, FACES)
    vertices, faces = read_ply(path)
    np.testing.assert_array_equal(vertices, VERTICES.astype(np.float32))
    np.testing.assert_array_equal(faces, FACES)
    other = trimesh.load(path, process=False)
    np.testing.assert_array_equal(other.vertices, vertices)
    np.testing.assert_array_equal(other.faces, faces)


def test_ply_of_an_independent_writer(tmp_path):
    ball = trimesh.creation.icosphere(subdivisions=2, radius=40.0)
    for encoding in ("ascii", "binary"):
        ball.export(tmp_path / "ball.ply", encoding=encoding)
        vertices, faces = read_scan(tmp_path / "ball.ply")
        np.testing.assert_allclose(vertices, ball.vertices, atol=1e-5)
        np.testing.assert_array_equal(faces, ball.faces)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("end_header", "end", "found no complete header"),
        ("ply\n", "plx\n", "found no complete header"),
        ("format ascii 1.0", "format packed 1.0", "m.ply:2: found 'format packed 1.0'"),
        ("format ascii 1.0\n", "", "found no format line"),
        ("property float x", "property quad x", "m.ply:5: found 'property quad x'"),
        ("property float x", "property float w", "found no vertex with x"),
        ("vertex_indices", "corners", "found no face with vertex_indices"),
        ("element face 3", "element face 0", "found no face with vertex_indices"),
        ("element face 3", "element face 9", "found the end of the file within the face data"),
        ("3 1 3 2", "4 1 3 2 0", "lists vertex_indices of different lengths"),
        ("3 1 3 2", "3 1 3 4", "a face with vertex 4, expected vertex indices from 0 to 3"),
        ("3 1 3 2", "3 1 3 -1", "a face with vertex -1, expected"),
        ("3 1 3 2", "3 1 3 1.5", "a face with vertex 1.5, expected"),
        ("3 1 3 2", "3 1", "m.ply:18: found 2 values, expected the 1 properties of a face"),
        ("1.5 0 0 9", "1.5 nan 0 9", "found a vertex that is not finite"),
        ("1.5 0 0 9", "1.5 x 0 9", "m.ply:13: found '1.5 x 0 9', expected the 4 properties"),
        ("3 0 1 2\n3 0 2 3\n3 1 3 2", "4 0 1 2 3\n" * 3, "found faces of 4 corners"),
    ],
)
def test_bad_ascii_ply_files_are_refused(tmp_path, old, new, message):
    path = tmp_path / "m.ply"
    assert old in ASCII_PLY
    path.write_text(ASCII_PLY.replace(old, new))
    with pytest.raises(BadInputError, match=message):
        read_ply(path)


def test_bad_binary_ply_files_are_refused(tmp_path):
    path = tmp_path / "m.ply"
    path.write_bytes(binary_ply("<", quads=True))
    with pytest.raises(BadInputError, match="found faces of 4 corners, expected triangles"):
        read_ply(path)
    path.write_bytes(binary_ply("<").replace(b"element face 3", b"element face 3000000000"))
    with pytest.raises(BadInputError, match="the end of the file within the face data"):
        read_ply(path)
    data = binary_ply("<")
    body = data.index(b"end_header\n") + len(b"end_header\n")
    for length in range(body, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(BadInputError):
            read_ply(path)


def test_scans_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"a file of type '.stl', expected .ply or .obj"):
        read_scan(tmp_path / "m.stl")
    with pytest.raises(BadInputError, match="no such file"):
        read_scan(tmp_path / "absent.ply")
