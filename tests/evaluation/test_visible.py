import math

import numpy as np
import pytest
import trimesh

from dhm.evaluation.metrics import mesh_error, scan_distance
from dhm.evaluation.visible import seen_vertices, visible_mesh_error
from dhm.types import Camera

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
    error = visible_mesh_error(
        vertices, faces, scan_distance(vertices, scan, scan_faces), _cameras([0, 0, 1]), SIZE
    )
    assert error.seen == (CELLS + 1) ** 2
    assert error.beyond_cut == 0
    assert error.M_err == pytest.approx(3, abs=1e-9)
    # Two sides: those on the other side are 10 mm away, but for the edge that both share.
    both = visible_mesh_error(
        vertices,
        faces,
        scan_distance(vertices, scan, scan_faces),
        _cameras([0, 0, 1], [1, 0, 0]),
        SIZE,
    )
    n = CELLS + 1
    assert both.seen == 2 * n**2 - n
    # Vertices of the other side's second row on are 10 mm from it; the scan's rim is further.
    assert both.M_err == pytest.approx((3 * n**2 + 10 * (n**2 - n)) / (2 * n**2 - n), abs=1e-9)
    assert mesh_error(vertices, faces, scan, scan_faces).M_err > both.M_err


def test_one_mesh_hides_another():
    vertices, faces = _cube()
    plate = trimesh.creation.box([200, 200, 1])
    plate.apply_translation([0, 0, 100])
    both = np.concatenate([vertices, plate.vertices])
    seen = seen_vertices(
        both, np.concatenate([faces, plate.faces + len(vertices)]), _cameras([0, 0, 1]), SIZE
    )
    assert not seen[0, : len(vertices)].any()
    error = visible_mesh_error(
        vertices,
        faces,
        scan_distance(vertices, vertices, faces),
        _cameras([0, 0, 1], distance=-DISTANCE),
        SIZE,
    )
    assert error.seen == 0 and math.isnan(error.M_err)


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
    error = visible_mesh_error(
        vertices, faces, scan_distance(vertices, scan, scan_faces[keep]), _cameras([0, 0, 1]), SIZE
    )
    n = CELLS + 1
    # Half of the side beyond it, and the row on the cut itself.
    assert error.beyond_cut == n * (CELLS // 2 + 1)
    assert error.seen == n**2
    assert error.M_err == pytest.approx(0, abs=1e-9)
