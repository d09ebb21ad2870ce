"""OBJ files."""

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.obj import ObjMesh, read_obj, read_obj_surface, write_obj
from tests.formats.samples import FACES, OBJ, VERTICES


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


@pytest.mark.mistake("scans, .obj", "negative indices, which count back", "understood")
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
        ("f 1/1 2/1 3/1", "f 1/1 2/1", "m.obj:5: found a face of 2 corners, expected 3 to 256"),
        ("f 1/1 2/1 3/1", "f 1/1 2/1 3/1/1/1", "found the corner '3/1/1/1', expected v, v/vt"),
        ("f 1/1 2/1 3/1", "f 1//x 2//1 3//1", "found 'x', expected an integer, a normal's index"),
        ("f 1/1 2/1 3/1", "f 1/1 2/1 4/1", "m.obj:5: found a vertex index 4, expected one from 1"),
        pytest.param(
            "f 1/1 2/1 3/1",
            "f 0 2 3",
            "found a vertex index 0",
            marks=pytest.mark.mistake(
                "scans, .obj", "faces that count from 0", "refused, with the line"
            ),
        ),
        ("f 1/1 2/1 3/1", "f -4 2 3", "found a vertex index -4"),
        ("f 1/1 2/1 3/1", "f 1/2 2/1 3/1", "found a texture coordinate's index 2"),
        ("f 1/1 2/1 3/1", "f a 2 3", "found 'a', expected an integer, a vertex index"),
        pytest.param(
            "f 1/1 2/1 3/1",
            "",
            "found 3 vertices and 0 faces",
            marks=pytest.mark.mistake("scans, .obj", "a cloud of points without faces", "refused"),
        ),
        pytest.param(
            "v 1 0 0",
            "v 1 0",
            "m.obj:2: found 2 values, expected 3 or 4 or 6 or 7 or 8 num",
            marks=pytest.mark.mistake("scans, .obj", "a damaged v line", "refused, with the line"),
        ),
        ("v 1 0 0", "v 1 0 0 v 0 1", "m.obj:2: found 'v', expected a number of a vertex"),
        ("v 1 0 0", "v 1_0 0 0", "m.obj:2: found '1_0', expected a number of a vertex"),
        pytest.param(
            "v 1 0 0",
            "v 1,0 0 0",
            "m.obj:2: found '1,0', expected a number of a vertex",
            marks=pytest.mark.mistake("scans, .obj", "decimal commas", "refused, with the line"),
        ),
        ("v 1 0 0", "w 1 0 0", "m.obj:2: found 'w 1 0 0', expected a statement of an OBJ file"),
        pytest.param(
            "v 1 0 0",
            "1 0 0",
            "m.obj:2: found '1 0 0', expected a statement of an OBJ file",
            marks=pytest.mark.mistake(
                "scans, .obj", "a damaged line, or a file of another kind", "refused, with the line"
            ),
        ),
        ("v 1 0 0", "call other.obj", "found 'call other.obj', expected a statement"),
        ("v 1 0 0", "v 1 0 0 \\", "found 'v', expected a number of a vertex"),
        ("v 1 0 0", "v 1 0 1\\\n2", "m.obj:2: found .1.* continued by .2., expected a space"),
        ("f 1/1 2/1 3/1", "f 1/1 2/1 3/1 \\", "m.obj:5: found nothing to continue it"),
        ("v 1 0 0", "v 1 nan 0", "found 'nan', expected a finite number"),
        ("vt 0 0", "vt 0", "expected 2 or 3 numbers of a texture coord"),
    ],
)
def test_bad_obj_files_are_refused(tmp_path, old, new, message):
    path = tmp_path / "m.obj"
    path.write_text(OBJ.replace(old, new))
    with pytest.raises(BadInputError, match=message):
        read_obj(path)


@pytest.mark.mistake("scans, .obj", "files of Windows, a byte-order mark, Latin-1", "understood")
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_obj_of_every_system_and_encoding_is_the_same_mesh(tmp_path, newline, encoding):
    path = tmp_path / "m.obj"
    rows = ["v 0 0 0", "v 1 0 0", "# für Jürgen", "v 0 1 0", "v 9 9 9", "o Händchen", "f 1 2 3"]
    path.write_bytes(newline.join(rows).encode(encoding))
    mesh = read_obj(path)
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])


@pytest.mark.mistake("scans, .obj", "lines continued by a backslash", "understood")
def test_obj_lines_are_continued_by_backslashes(tmp_path):
    path = tmp_path / "m.obj"
    path.write_text("v 0 0 0\nv 1 \\\n 0 \\\n\t0\nv 0 1 0\nf 1 \\ \n2 3 # end\nf 1 2\n")
    with pytest.raises(BadInputError, match=r"m\.obj:8: found a face of 2 corners"):
        read_obj(path)
    path.write_text(path.read_text().replace("f 1 2\n", ""))
    mesh = read_obj(path)
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2]])


def test_a_comment_or_name_that_ends_with_a_backslash_takes_no_statement_along(tmp_path):
    path = tmp_path / "m.obj"
    path.write_text(
        "# from C:\\scans\\\nv 0 0 0\nmtllib C:\\scans\\\nv 1 0 0\ng a \\\nb\nv 0 1 0\nf 1 2 3\n"
    )
    np.testing.assert_array_equal(read_obj(path).vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_obj_statements_without_triangles_are_passed_over(tmp_path):
    path = tmp_path / "m.obj"
    path.write_text(OBJ + "l 1 2\np 1\ns 1\ng a#b\nusemtl c#d\nvn 0 0 1\nlod 2\ncurv2 1 2\n")
    np.testing.assert_array_equal(read_obj(path).faces, [[0, 1, 2]])


@pytest.mark.mistake("scans, .obj", "colours after the positions", "understood: passed over")
def test_obj_colours_and_weights_of_vertices_are_no_positions(tmp_path):
    for extra in ("1.0", "0.8 0.6 0.5", "0.8 0.6 0.5 1"):
        path = tmp_path / "m.obj"
        path.write_text(f"v 0 0 0 {extra}\nv 1 0 0\nv 0 1 0 {extra}\nf 1 2 3\n")
        np.testing.assert_array_equal(read_obj(path).vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


@pytest.mark.mistake("scans, .obj", "quads and polygons", "understood: cut into triangles")
def test_obj_polygons_are_cut_with_their_texture_coordinates(tmp_path):
    path = tmp_path / "m.obj"
    corners = "v 0 0 0\nv 2 0 0\nv 2 2 0\nv 0 2 0\nv -1 1 0\n"
    uvs = "".join(f"vt 0.{i} 0\n" for i in range(5))
    path.write_text(corners + uvs + "f 1/5 2/4 3/3 4/2 5/1\nf 1/1 2/2 3/3\n")
    mesh = read_obj(path)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 1, 2]])
    np.testing.assert_array_equal(mesh.faces_uv, [[4, 3, 2], [4, 2, 1], [4, 1, 0], [0, 1, 2]])


@pytest.mark.mistake(
    "scans, .obj", "a vertex of NaN", "left out; refused, with the line, where a face has it"
)
def test_a_vertex_without_a_position_is_left_out_where_no_face_has_it(tmp_path):
    path = tmp_path / "m.obj"
    path.write_text("v nan nan nan\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 2 3 4\n")
    vertices, faces = read_obj_surface(path)
    np.testing.assert_array_equal(vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(faces, [[0, 1, 2]])
    with pytest.raises(BadInputError, match=r"m\.obj:1: found 'nan', expected a finite number"):
        read_obj(path)  # whose vertices other files count
    path.write_text(path.read_text().replace("f 2 3 4", "f 1 2 3"))
    with pytest.raises(BadInputError, match=r"m.obj:1: found a face with vertex 0 at \[nan"):
        read_obj_surface(path)
