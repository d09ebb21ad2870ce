"""PLY files."""

import logging
import struct

import numpy as np
import pytest
import trimesh

from dhm.errors import BadInputError
from dhm.formats.ply import read_ply, write_ply
from dhm.formats.scan import read_scan
from tests.formats.samples import ASCII_PLY, FACES, VERTICES, binary_ply


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
        pytest.param(
            "ply\n",
            "solid scan\n",
            "found no complete header, expected a PLY header",
            marks=pytest.mark.mistake("scans, .ply", "an .stl or .obj that was renamed", "refused"),
        ),
        ("format ascii 1.0", "format packed 1.0", "m.ply:2: found 'format packed 1.0'"),
        ("format ascii 1.0\n", "", "found no format line"),
        ("property float x", "property quad x", "m.ply:5: found 'property quad x'"),
        ("property float x", "property float w", "found no vertex with x"),
        pytest.param(
            "vertex_indices",
            "corners",
            "found no face with vertex_indices",
            marks=pytest.mark.mistake("scans, .ply", "a cloud of points without faces", "refused"),
        ),
        ("element face 3", "element face 0", "m.ply:16: found '3 0 1 2', expected as many lines"),
        pytest.param(
            "element face 3",
            "element face 9",
            "found the end of the file within the face data",
            marks=pytest.mark.mistake("scans, .ply", "an incomplete copy", "refused"),
        ),
        ("3 1 3 2", "2 1 3", "found face 2 with 2 corners, expected polygons of 3 to 256"),
        ("3 1 3 2", "-1", "m.ply:18: found -1 entries of vertex_indices"),
        ("3 1 3 2", "3 1 3 2 0", "m.ply:18: found 5 values, expected the 1 properties of a face"),
        ("3 1 3 2", "3 1 3 2\n3 1 3 2", "m.ply:19: found '3 1 3 2', expected as many lines"),
        ("property float y", "property float x", "m.ply:6: found a second property x of vertex"),
        ("element face", "element vertex", "m.ply:9: found a second element vertex"),
        ("list uchar", "list float", "m.ply:10: found 'property list float int vertex_indices'"),
        ("list uchar int", "int", "found 4 values, expected the 1 properties of a face"),
        pytest.param(
            "3 1 3 2",
            "3 1 3 4",
            "a face with vertex 4, expected vertex indices from 0 to 3",
            marks=pytest.mark.mistake("scans, .ply", "faces that count from 1", "refused"),
        ),
        ("3 1 3 2", "3 1 3 -1", "a face with vertex -1, expected"),
        ("3 1 3 2", "3 1 3 1.5", "a face with vertex 1.5, expected"),
        ("3 1 3 2", "3 1", "m.ply:18: found 2 values, expected the 1 properties of a face"),
        pytest.param(
            "1.5 0 0 9",
            "1.5 nan 0 9",
            r"found a face with vertex 1 at \[1.5, nan, 0.0\]",
            marks=pytest.mark.mistake(
                "scans, .ply", "NaN in a vertex of a face", "refused, with the vertex"
            ),
        ),
        pytest.param(
            "1.5 0 0 9",
            "1.5 x 0 9",
            "m.ply:13: found '1.5 x 0 9', expected the 4 properties",
            marks=pytest.mark.mistake("scans, .ply", "a damaged line", "refused, with the line"),
        ),
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
    path.write_bytes(binary_ply("<").replace(b"element face 3", b"element face 3000000000"))
    with pytest.raises(BadInputError, match="the end of the file within the face data"):
        read_ply(path)
    data = binary_ply("<")
    body = data.index(b"end_header\n") + len(b"end_header\n")
    for length in range(body, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(BadInputError):
            read_ply(path)


@pytest.mark.parametrize("order", "<>")
def test_binary_ply_of_polygons_and_lists_of_several_lengths(tmp_path, order):
    path = tmp_path / "m.ply"
    data = binary_ply(order)
    start = data.index(b"end_header\n") + len(b"end_header\n") + 4 * 29
    rows = [([0, 1, 3, 2], 6), ([0, 1, 2], 0), ([1, 3, 2], 6), ([0, 2, 3], 2)]
    body = b"".join(
        struct.pack(f"{order}B{len(f)}IB{t}fB", len(f), *f, t, *[0.5] * t, 1) for f, t in rows
    )
    path.write_bytes(data[:start].replace(b"face 3", b"face 4") + body)
    vertices, faces = read_ply(path)
    np.testing.assert_array_equal(vertices, VERTICES)
    np.testing.assert_array_equal(faces, [[0, 1, 3], [0, 3, 2], [0, 1, 2], [1, 3, 2], [0, 2, 3]])
    for length in range(start + 1, start + len(body), 3):
        path.write_bytes((data[:start].replace(b"face 3", b"face 4") + body)[:length])
        with pytest.raises(BadInputError, match="the end of the file within the face data"):
            read_ply(path)


@pytest.mark.mistake("scans, .ply", "quads and polygons", "understood: cut into triangles")
def test_binary_ply_of_quadrilaterals(tmp_path):
    path = tmp_path / "m.ply"
    path.write_bytes(binary_ply("<", quads=True))
    _, faces = read_ply(path)
    np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 2, 3], [1, 3, 0], [3, 2, 0]])


@pytest.mark.mistake("scans, .ply", "blank lines and comments", "understood")
def test_ascii_ply_of_polygons_blank_lines_and_comments(tmp_path):
    path = tmp_path / "m.ply"
    text = ASCII_PLY.replace("comment made by hand", "comment end_header follows\n\nobj_info a")
    text = text.replace("0 2 -0.25 9", "\ncomment the third\n0 2 -0.25 9")
    path.write_text(text.replace("3 1 3 2", "4 0 1 3 2\n\n \n"))
    vertices, faces = read_ply(path)
    np.testing.assert_array_equal(vertices, VERTICES)
    np.testing.assert_array_equal(faces, [*FACES[:2], [0, 1, 3], [0, 3, 2]])
    path.write_text(text.replace("1.5 0 0 9", "1.5 x 0 9"))  # the line's number counts all lines
    with pytest.raises(BadInputError, match=r"m\.ply:15: found '1\.5 x 0 9'"):
        read_ply(path)


@pytest.mark.mistake("scans, .ply", "files of Windows, a byte-order mark, Latin-1", "understood")
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_ply_of_every_system_is_the_same_mesh(tmp_path, newline, bom):
    path = tmp_path / "m.ply"
    ascii_ply = ASCII_PLY.replace("made by hand", "für Jürgen").replace("\n", newline)
    data = binary_ply("<")
    start = data.index(b"end_header\n") + len(b"end_header\n")
    binary = data[:start].replace(b"\n", newline.encode()) + data[start:]
    for content in (ascii_ply.encode("latin-1"), binary):
        path.write_bytes(bom + content)
        vertices, faces = read_ply(path)
        np.testing.assert_array_equal(vertices, VERTICES)
        np.testing.assert_array_equal(faces, FACES)


@pytest.mark.mistake(
    "scans, .ply", "NaN in vertices of no face, as scanners write", "understood: left out"
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vertex_without_a_position_is_left_out_where_no_face_has_it(tmp_path, value):
    path = tmp_path / "m.ply"
    write_ply(path, np.insert(VERTICES, 1, value, axis=0), np.where(FACES > 0, FACES + 1, 0))
    vertices, faces = read_ply(path)
    np.testing.assert_array_equal(vertices, VERTICES)
    np.testing.assert_array_equal(faces, FACES)
    write_ply(path, np.insert(VERTICES, 1, value, axis=0), FACES)
    with pytest.raises(BadInputError, match="found a face with vertex 1 at"):
        read_ply(path)


@pytest.mark.mistake("scans, .ply", "more bytes than the header says", "warning")
def test_bytes_after_the_last_element_are_said(tmp_path, caplog):
    path = tmp_path / "m.ply"
    for rest, said in ((b"\r\n", []), (b"footer", ["6 bytes after the last element"])):
        path.write_bytes(binary_ply("<") + rest)
        with caplog.at_level(logging.WARNING):
            np.testing.assert_array_equal(read_ply(path)[1], FACES)
        assert [record.message.split(": ")[1][: len(said[0])] for record in caplog.records] == said


def test_a_point_cloud_is_refused(tmp_path):
    trimesh.PointCloud(VERTICES).export(tmp_path / "m.ply")
    with pytest.raises(
        BadInputError, match="found no face with vertex_indices, expected a mesh of"
    ):
        read_ply(tmp_path / "m.ply")
