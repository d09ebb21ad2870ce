import cv2
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from dhm.geometry.cameras import project_points, world_to_camera
from dhm.geometry.mesh import (
    boundary_loops,
    dominant_joint,
    unique_edges,
    vertex_neighbours,
    vertex_normals,
)
from tests.references.geometry import random_rotation


def _strip(n):
    """An open triangle strip of 2 n vertices."""
    quads = [[(i, i + 1, i + 2), (i + 1, i + 3, i + 2)] for i in range(0, 2 * n - 2, 2)]
    return np.array(quads).reshape(-1, 3)


def test_neighbours_agree_with_sets():
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 30, size=(60, 3))
    sets = [set() for _ in range(31)]
    for face in faces:
        for a in face:
            sets[a] |= {int(b) for b in face if b != a}
    neighbours = vertex_neighbours(faces, 31)
    for v in range(31):
        assert set(neighbours.index[v][neighbours.valid[v]].tolist()) == sets[v]
        assert neighbours.degree[v] == len(sets[v])
        assert (neighbours.index[v][~neighbours.valid[v]] == v).all()


def test_boundary_loops_come_largest_first():
    faces = np.concatenate([_strip(3), _strip(6) + 6])
    loops = boundary_loops(faces)
    assert [len(loop) for loop in loops] == [12, 6]
    assert set(loops[1].tolist()) == set(range(6))
    closed = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]])
    assert boundary_loops(closed) == []
    edges, counts = unique_edges(closed)
    assert len(edges) == 6
    assert (counts == 2).all()


def test_dominant_joint():
    assert dominant_joint(np.array([[0.2, 0.8], [0.6, 0.4]])).tolist() == [1, 0]


def test_vertex_normals_of_a_sphere_with_a_loose_vertex():
    ball = trimesh.creation.icosphere(2, 60.0)
    vertices = np.concatenate([ball.vertices, [[0, 0, 0]]])
    normals = vertex_normals(vertices, ball.faces)
    cosines = (normals[:-1] * ball.vertices / 60.0).sum(axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-3)
    np.testing.assert_array_equal(normals[-1], 0)
    assert vertex_normals(np.float32(vertices), ball.faces).dtype == np.float32


@pytest.mark.parametrize("size", [1e-25, 1e-12, 1e9])
def test_vertex_normals_of_tiny_and_huge_faces_have_unit_length(size):
    vertices = np.float32(size) * np.eye(3, dtype=np.float32)
    length = np.linalg.norm(vertex_normals(vertices, np.array([[0, 1, 2]])), axis=1)
    np.testing.assert_allclose(length, 0 if size**2 < 1e-45 else 1, atol=1e-6)


def test_projection_agrees_with_opencv():
    rng = np.random.default_rng(1)
    R, t = random_rotation(rng, 1)[0], np.array([10.0, -20, 900])
    K = np.array([[1200.0, 0, 167], [0, 1210, 255], [0, 0, 1]])
    points = rng.normal(scale=80, size=(20, 3))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    expected, _ = cv2.projectPoints(points, cv2.Rodrigues(R)[0], t, K, None)
    camera = world_to_camera(jnp.float32(points), jnp.float32(T))
    np.testing.assert_allclose(
        project_points(camera, jnp.float32(K)), expected[:, 0], rtol=1e-4, atol=1e-2
    )
