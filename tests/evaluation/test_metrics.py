import math

import numpy as np
import pytest
import trimesh

from dhm.evaluation.metrics import (
    closest_points,
    joint_errors,
    mean_of_measured,
    mesh_error,
    on_cut,
    scan_distance,
    seen_vertices,
)
from dhm.types import Camera
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


def test_joint_error_ignores_invalid_joints_and_is_nan_without_valid_ones():
    joints, target = np.zeros((2, 4, 3)), np.full((2, 4, 3), np.nan)
    target[1, 2] = [0, 3, 4]
    valid = np.zeros((2, 4), bool)
    valid[1, 2] = True
    errors = joint_errors(joints, target, valid)
    assert np.isnan(errors[0])
    assert errors[1] == 5


@pytest.mark.parametrize("kind", ["box", "sphere", "soup"])
def test_closest_points_agree_with_trimesh_and_brute_force(kind):
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


def test_a_mesh_entirely_beyond_the_cut_has_no_error():
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


def test_the_mean_is_of_the_measured_values():
    assert mean_of_measured([1.0, math.nan, 3.0]) == 2.0
    assert mean_of_measured([math.nan]) is None and mean_of_measured([]) is None


# Visible vertices.

SIZE = (96, 128)
SIDE = 60.0
DISTANCE = 400.0
CELLS = 6


def _cube(side=SIDE):
    """A cube about the origin, CELLS x CELLS squares a side."""
    steps = np.linspace(-side / 2, side / 2, CELLS + 1)
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    index = np.arange(len(grid)).reshape(CELLS + 1, CELLS + 1)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    flat = np.concatenate(
        [np.stack(corners, axis=-1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))]
    )
    vertices, faces = [], []
    for axis in range(3):
        for sign in (-1, 1):
            vertices.append(np.insert(grid, axis, sign * side / 2, axis=1))
            # The middle axis is missing from a left-handed pair.
            outward = (sign > 0) != (axis == 1)
            faces.append((flat if outward else flat[:, ::-1]) + len(faces) * len(grid))
    mesh = trimesh.Trimesh(np.concatenate(vertices), np.concatenate(faces))
    mesh.merge_vertices()
    assert mesh.is_watertight and mesh.volume == pytest.approx(side**3)
    return np.array(mesh.vertices), np.array(mesh.faces)


def _cameras(*directions, distance=DISTANCE):
    """Cameras on the given axes that look at the origin."""
    matrices = []
    for direction in directions:
        z = -np.asarray(direction, np.float64)
        x = np.cross(z, np.roll(z, 1))
        T = np.eye(4)
        T[:3, :3] = np.stack([x, np.cross(z, x), z])
        T[2, 3] = distance
        matrices.append(T)
    K = np.array([[400.0, 0, 63.4], [0, 400, 47.7], [0, 0, 1]])
    return Camera(np.stack([K] * len(matrices)), np.stack(matrices))


def _front(vertices, axis, sign):
    return np.isclose(vertices[:, axis], sign * SIDE / 2)


def test_a_camera_sees_one_side_of_a_cube():
    vertices, faces = _cube()
    camera = _cameras([0, 0, 1], [-1, 0, 0])
    seen = seen_vertices(vertices, faces, camera, SIZE)
    np.testing.assert_array_equal(seen, [_front(vertices, 2, 1), _front(vertices, 0, -1)])


def test_visible_error_of_a_cube_in_closed_form():
    """The scan is larger by 3 mm on the seen side and by 10 mm elsewhere."""
    vertices, faces = _cube()
    scan, scan_faces = _cube()
    scan *= (SIDE / 2 + 10) / (SIDE / 2)
    scan[scan[:, 2] > SIDE / 2, 2] = SIDE / 2 + 3
    distance = scan_distance(vertices, scan, scan_faces)
    seen = seen_vertices(vertices, faces, _cameras([0, 0, 1]), SIZE).any(axis=0)
    assert seen.sum() == (CELLS + 1) ** 2
    assert not distance.beyond_cut.any()
    assert distance.mean(seen) == pytest.approx(3, abs=1e-9)
    # Two sides: those on the other side are 10 mm away, but for the edge that both share.
    cameras = _cameras([0, 0, 1], [1, 0, 0])
    both = seen_vertices(vertices, faces, cameras, SIZE).any(axis=0)
    n = CELLS + 1
    assert both.sum() == 2 * n**2 - n
    # Vertices of the other side's second row on are 10 mm from it; the scan's rim is further.
    M_err = distance.mean(both)
    assert M_err == pytest.approx((3 * n**2 + 10 * (n**2 - n)) / (2 * n**2 - n), abs=1e-9)
    assert mesh_error(vertices, faces, scan, scan_faces).M_err > M_err


def test_one_mesh_hides_another():
    vertices, faces = _cube()
    plate = trimesh.creation.box([200, 200, 1])
    plate.apply_translation([0, 0, 100])
    both = np.concatenate([vertices, plate.vertices])
    seen = seen_vertices(
        both, np.concatenate([faces, plate.faces + len(vertices)]), _cameras([0, 0, 1]), SIZE
    )
    assert not seen[0, : len(vertices)].any()
    unseen = seen_vertices(vertices, faces, _cameras([0, 0, 1], distance=-DISTANCE), SIZE)[0]
    assert not unseen.any()
    assert math.isnan(scan_distance(vertices, vertices, faces).mean(unseen))


def test_the_tolerance_is_a_depth():
    """A vertex of no face lies behind the drawn surface."""
    vertices, faces = _cube()
    for behind in (0.0, 0.9, 1.1, 3.9, 4.1):
        more = np.concatenate([vertices, [[3.0, 4.0, SIDE / 2 - behind]]])
        for tolerance in (1.0, 4.0):
            seen = seen_vertices(more, faces, _cameras([0, 0, 1]), SIZE, tolerance=tolerance)
            assert seen[0, -1] == (behind < tolerance)


def test_vertices_outside_of_the_image_are_not_seen():
    """The image shows the middle of the side; a pixel at the border sees up to its neighbour."""
    vertices, faces = _cube()
    camera = _cameras([0, 0, 1])
    # Some vertices lie half a pixel or less beyond the centre of the last row and column.
    camera.K[0, :2, 2] = 17.7, 12.5
    seen = seen_vertices(vertices, faces, camera, (24, 40))[0]
    points = (camera.K @ camera.T_camera_world[:, :3] @ np.insert(vertices, 3, 1, axis=1).T)[0]
    column, row = points[:2] / points[2]
    inside = (column > -1) & (column < 40) & (row > -1) & (row < 24)
    for beyond in (column < -1, column > 40, row < -1, row > 24):
        assert (_front(vertices, 2, 1) & beyond).any()
    np.testing.assert_array_equal(seen, _front(vertices, 2, 1) & inside)


def test_vertices_at_the_camera_and_behind_it_are_not_seen():
    vertices, faces = _cube()
    camera = _cameras([0, 0, 1])
    # Before the background, at less than the tolerance; and behind, where K alone puts it on the
    # cube.
    at_camera, behind = [-0.066, 0.0, 0.5], [16.0, 12.0, -100.0]
    T_world_camera = np.linalg.inv(camera.T_camera_world[0])
    more = trimesh.transform_points([at_camera, behind], T_world_camera)
    more = np.concatenate([vertices, more])
    for tolerance in (1.0, 1000.0):
        seen = seen_vertices(more, faces, camera, SIZE, tolerance=tolerance)[0]
        assert not seen[-1]
        assert not seen[-2]


def test_a_sphere_shows_the_cap_that_its_tangents_bound():
    radius = 30.0
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    vertices, faces = np.array(mesh.vertices), np.array(mesh.faces)
    # Pixels are 0.9 mm wide: up to a slope of 1.5 one of the four is within the tolerance.
    near, far = vertices[:, 2] > radius * 0.58, vertices[:, 2] < radius * (radius / DISTANCE) - 4
    seen = seen_vertices(vertices, faces, _cameras([0, 0, 1]), SIZE)[0]
    assert seen[near].all()
    assert not seen[far].any()


def test_what_lies_beyond_the_cut_is_left_out():
    """The scan ends within the seen side: its border is the cut."""
    vertices, faces = _cube()
    scan, scan_faces = _cube()
    keep = scan[scan_faces].mean(axis=1)[:, 0] > 0
    distance = scan_distance(vertices, scan, scan_faces[keep])
    seen = seen_vertices(vertices, faces, _cameras([0, 0, 1]), SIZE)[0]
    n = CELLS + 1
    # Half of the side beyond it, and the row on the cut itself.
    assert (seen & distance.beyond_cut).sum() == n * (CELLS // 2 + 1)
    assert seen.sum() == n**2
    assert distance.mean(seen) == pytest.approx(0, abs=1e-9)
