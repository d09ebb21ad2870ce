import math

import numpy as np
import pytest
import trimesh

from dhm.evaluation.metrics import closest_points, joint_errors, mesh_error, on_cut
from tests.references import closest_point as twin


def test_joint_error_is_the_mean_distance_of_the_valid_joints():
    rng = np.random.default_rng(0)
    joints, target = rng.normal(scale=50, size=(2, 6, 22, 3))
    valid = rng.random((6, 22)) < 0.6
    expected = []
    for i in range(6):
        distances = []
        for j in range(22):
            if valid[i, j]:
                distances.append(math.dist(joints[i, j], target[i, j]))
        expected.append(sum(distances) / len(distances))
    np.testing.assert_allclose(joint_errors(joints, target, valid), expected, rtol=1e-12)
    # Leading axes are free.
    np.testing.assert_allclose(joint_errors(joints[0], target[0], valid[0]), expected[0])


def test_joint_error_without_valid_joints_is_nan_and_ignores_what_stands_there():
    joints, target = np.zeros((2, 4, 3)), np.full((2, 4, 3), np.nan)
    target[1, 2] = [0, 3, 4]
    valid = np.zeros((2, 4), bool)
    valid[1, 2] = True
    errors = joint_errors(joints, target, valid)
    assert np.isnan(errors[0])
    assert errors[1] == 5


@pytest.mark.parametrize("kind", ["box", "sphere", "soup"])
def test_closest_points_agree_with_trimesh_and_with_every_triangle_in_turn(kind):
    rng = np.random.default_rng(1)
    if kind == "soup":
        mesh = trimesh.Trimesh(
            rng.normal(scale=30, size=(30, 3)), rng.permutation(30).reshape(10, 3), process=False
        )
    elif kind == "box":
        mesh = trimesh.creation.box([20, 30, 40])
    else:
        mesh = trimesh.creation.icosphere(subdivisions=1, radius=30)
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    offset = rng.normal(scale=1000, size=3)
    # The last ones lie on vertices, in faces and on edges.
    queries = np.concatenate(
        [
            rng.normal(scale=40, size=(40, 3)),
            vertices[:5],
            vertices[faces[:5]].mean(axis=1),
            vertices[faces[:5, :2]].mean(axis=1),
        ]
    )
    closest = closest_points(queries + offset, vertices + offset, faces)
    _, by_trimesh, _ = trimesh.proximity.closest_point_naive(mesh, queries)
    np.testing.assert_allclose(closest.distance, by_trimesh, atol=1e-9)
    np.testing.assert_allclose(
        closest.distance, twin.distances(queries, vertices, faces), atol=1e-9
    )
    for query, distance, face, point in zip(queries, *closest, strict=True):
        point = point - offset
        assert np.linalg.norm(query - point) == pytest.approx(distance, abs=1e-9)
        on_face = twin.on_triangle(point, *vertices[faces[face]])
        assert np.linalg.norm(on_face - point) < 1e-9


@pytest.mark.parametrize("kind", ["collinear", "nearly collinear", "two equal", "all equal"])
def test_closest_points_on_triangles_without_area(kind):
    rng = np.random.default_rng(2)
    for _ in range(300):
        corners = rng.normal(scale=20, size=(3, 3))
        if kind == "all equal":
            corners[:] = corners[0]
        elif kind == "two equal":
            corners[2] = corners[1]
        else:
            corners[2] = corners[0] + rng.uniform(-1, 2) * (corners[1] - corners[0])
        if kind == "nearly collinear":
            corners[2] += rng.normal(size=3) * 10 ** rng.uniform(-15, -3)
        corners = rng.permutation(corners)
        queries = rng.normal(scale=40, size=(2, 3))
        faces = np.array([[0, 1, 2]])
        found = closest_points(queries, corners, faces)
        np.testing.assert_allclose(
            found.distance, twin.distances(queries, corners, faces), atol=1e-7
        )


AROUND = 12


def _angles(vertices):
    return np.arctan2(vertices[:, 1], vertices[:, 0])


def _tube(rows, radius=20.0, tilt=0.0, closed=True):
    """A tube along z with flat facets, closed by a point at its upper end, open at its first row.

    Its lower end is cut where z = rows[0] + tilt * y.
    """
    turn = np.arange(AROUND) * 2 * np.pi / AROUND
    ring = np.stack([np.cos(turn), np.sin(turn), np.zeros(AROUND)], axis=1) * radius
    vertices = [ring + np.array([0, 0, z]) for z in rows]
    vertices[0][:, 2] += tilt * vertices[0][:, 1]
    faces = []
    for row in range(len(rows) - 1):
        for i in range(AROUND):
            a, b = row * AROUND + i, row * AROUND + (i + 1) % AROUND
            faces += [[a, b, b + AROUND], [a, b + AROUND, a + AROUND]]
    if closed:
        last, apex = (len(rows) - 1) * AROUND, len(rows) * AROUND
        vertices.append(np.array([[0, 0, rows[-1] + 10.0]]))
        faces += [[last + i, last + (i + 1) % AROUND, apex] for i in range(AROUND)]
    return np.concatenate(vertices), np.array(faces)


SCAN_ROWS = np.arange(0.0, 101, 20)
OUTPUT_ROWS = np.arange(-45.0, 96, 10)
ROWS_BEYOND = 5


@pytest.mark.parametrize("radius", [17.0, 20.0, 23.0])
def test_vertices_beyond_the_cut_are_left_out_and_counted(radius):
    """Those beyond it include ones whose closest point is a corner of the rim."""
    scan, (vertices, faces) = _tube(SCAN_ROWS), _tube(OUTPUT_ROWS, radius)
    beyond = vertices[:, 2] < 0
    assert beyond.sum() == ROWS_BEYOND * AROUND
    found = on_cut(closest_points(vertices, *scan), *scan)
    np.testing.assert_array_equal(found, beyond)
    error = mesh_error(vertices, faces, *scan)
    assert error.beyond_cut == beyond.sum()
    inner = vertices[~beyond]
    assert error.M_err == pytest.approx(twin.distances(inner, *scan).mean(), abs=1e-9)


def test_vertices_that_do_not_line_up_with_the_rims_corners():
    scan, (vertices, _) = _tube(SCAN_ROWS), _tube(OUTPUT_ROWS, 22.0)
    for turn in np.radians([1.0, 4.0, 7.5]):
        R = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        found = on_cut(closest_points(vertices @ R.T, *scan), *scan)
        np.testing.assert_array_equal(found, vertices[:, 2] < 0)


@pytest.mark.parametrize("radius", [20.0, 22.0])
def test_an_oblique_cut(radius):
    tilt = 0.77
    scan = _tube(np.array([17.0, 40, 60, 80, 100]), tilt=tilt)
    vertices, _ = _tube(OUTPUT_ROWS, radius)
    # The scan's surface at the same angle has the same direction in x and y.
    beyond = vertices[:, 2] < 17 + tilt * vertices[:, 1] * 20 / radius
    row = np.flatnonzero(OUTPUT_ROWS == 15)[0]
    assert 0 < beyond[row * AROUND : (row + 1) * AROUND].sum() < AROUND
    found = on_cut(closest_points(vertices, *scan), *scan)
    np.testing.assert_array_equal(found, beyond)


def test_the_cut_far_from_the_origin_and_in_single_precision():
    rng = np.random.default_rng(3)
    offset = rng.normal(scale=1000, size=3)
    scan_vertices, scan_faces = _tube(SCAN_ROWS)
    scan = (scan_vertices + offset).astype(np.float32), scan_faces.astype(np.int32)
    vertices, _ = _tube(OUTPUT_ROWS, 22.0)
    found = on_cut(closest_points((vertices + offset).astype(np.float32), *scan), *scan)
    np.testing.assert_array_equal(found, vertices[:, 2] < 0)


def test_a_hole_inside_the_scan_does_not_count():
    vertices, faces = _tube(SCAN_ROWS)
    centre = vertices[faces].mean(axis=1)
    hole = (np.abs(centre[:, 2] - 50) < 10) & (np.abs(_angles(centre)) < 0.6)
    assert hole.sum() > 3
    queries, _ = _tube(OUTPUT_ROWS, 22.0)
    over_hole = (np.abs(queries[:, 2] - 50) < 10) & (np.abs(_angles(queries)) < 0.6)
    assert over_hole.any()
    found = on_cut(closest_points(queries, vertices, faces[~hole]), vertices, faces[~hole])
    np.testing.assert_array_equal(found, queries[:, 2] < 0)


def test_a_small_hole_of_many_short_edges_does_not_count():
    vertices, faces = _tube(SCAN_ROWS)
    pricked = _pricked(vertices, faces, 3 * AROUND)
    queries, _ = _tube(OUTPUT_ROWS, 22.0)
    found = on_cut(closest_points(queries, *pricked), *pricked)
    np.testing.assert_array_equal(found, queries[:, 2] < 0)


def _pricked(vertices, faces, corners):
    """Replaces the first face by triangles around a tiny hole of many corners."""
    outer, first, third = faces[0], len(vertices), corners // 3
    towards = (vertices[outer] - vertices[outer].mean(axis=0)) / 100
    # The hole is a small copy of the face; each of its sides, a third of the ring, fans out from
    # one corner of the face.
    share = np.arange(third)[:, None] / third
    sides = [towards[k] * (1 - share) + towards[(k + 1) % 3] * share for k in range(3)]
    ring = vertices[outer].mean(axis=0) + np.concatenate(sides)
    fan = [[outer[i // third], first + (i + 1) % corners, first + i] for i in range(corners)]
    for k in range(3):
        fan.append([outer[k], outer[(k + 1) % 3], first + (k + 1) * third % corners])
    return np.concatenate([vertices, ring]), np.concatenate([faces[1:], fan])


def test_a_closed_scan_leaves_nothing_out():
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=30)
    vertices, faces = _tube(OUTPUT_ROWS)
    error = mesh_error(vertices, faces, np.asarray(mesh.vertices), np.asarray(mesh.faces))
    assert error.beyond_cut == 0
    distances = twin.distances(vertices[:20], mesh.vertices, mesh.faces)
    found = closest_points(vertices, mesh.vertices, mesh.faces).distance
    np.testing.assert_allclose(found[:20], distances, atol=1e-9)
    assert error.M_err == pytest.approx(found.mean())


def test_chamfer_is_the_mean_of_both_directions():
    scan = _tube(SCAN_ROWS)
    vertices, faces = _tube(OUTPUT_ROWS, 22.0)
    error = mesh_error(vertices, faces, *scan)
    reverse = twin.distances(scan[0], vertices, faces).mean()
    assert error.scan_to_mesh == pytest.approx(reverse, abs=1e-9)
    assert error.chamfer == (error.M_err + error.scan_to_mesh) / 2


def test_a_mesh_against_itself_has_no_error():
    scan = _tube(SCAN_ROWS)
    error = mesh_error(*scan, *scan)
    assert error.M_err == pytest.approx(0, abs=1e-9)
    assert error.scan_to_mesh == pytest.approx(0, abs=1e-9)


def test_a_mesh_wholly_beyond_the_cut_has_no_error_to_give():
    vertices, faces = _tube(OUTPUT_ROWS[:4])
    error = mesh_error(vertices - [0, 0, 30], faces, *_tube(SCAN_ROWS))
    assert error.beyond_cut == len(vertices)
    assert math.isnan(error.M_err) and math.isnan(error.chamfer)
    assert error.scan_to_mesh > 0


def test_triangles_without_area_change_nothing():
    """Collinear, repeating a vertex or shrunk to a point; inside the scan and at its rim."""
    vertices, faces = _tube(SCAN_ROWS)
    low, high = 2 * AROUND, 3 * AROUND
    inside = (vertices[low] + vertices[high]) / 2
    more = np.array([[low, len(vertices), high], [0, 1, 1], [3, 2, 3], [7, 7, 7], [low, low, high]])
    scan = np.concatenate([vertices, inside[None]]), np.concatenate([more, faces])
    output = _tube(OUTPUT_ROWS, 22.0)
    expected, found = mesh_error(*output, vertices, faces), mesh_error(*output, *scan)
    assert found.beyond_cut == expected.beyond_cut == ROWS_BEYOND * AROUND
    assert found.M_err == pytest.approx(expected.M_err, abs=1e-9)
    assert np.isfinite(found).all()


def test_a_rim_edge_split_by_a_triangle_without_area():
    vertices, faces = _tube(SCAN_ROWS)
    middle = (vertices[0] + vertices[1]) / 2
    scan = (
        np.concatenate([vertices, middle[None]]),
        np.concatenate([faces, [[1, 0, len(vertices)]]]),
    )
    output, _ = _tube(OUTPUT_ROWS, 22.0)
    found = on_cut(closest_points(output, *scan), *scan)
    np.testing.assert_array_equal(found, output[:, 2] < 0)


def test_scan_vertices_of_no_face_do_not_count():
    vertices, faces = _tube(SCAN_ROWS)
    stray = np.concatenate([vertices, [[1e4, 0, 0]]])
    assert mesh_error(vertices, faces, stray, faces).scan_to_mesh == pytest.approx(0, abs=1e-9)
