"""The mesh of a hand: connected, open at the wrist only, oriented outwards, reproducible."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.field import hand_distance
from data_prep.studio.anatomy.narrow_band import WRIST_CUT
from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.surface import skin_mesh, smooth_normals
from dhm.geometry.mesh import boundary_loops
from tests.data_prep.studio.poses import fist, pinch, pose, random_pose

CASES = {
    "template open": (0, pose()),
    "template fist": (0, fist()),
    "small pinch": (2, pinch()),
    "stout fist": (3, fist()),
    "long random": (4, random_pose(5)),
    "large random": (1, random_pose(6)),
}


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request):
    number, theta = CASES[request.param]
    return subject(number), theta, skin_mesh(subject(number), theta, 2.5)


def test_mesh_is_connected(case):
    _, _, (vertices, faces, _, _) = case
    rows, columns = faces.ravel(), np.roll(faces, 1, axis=1).ravel()
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(vertices),) * 2)
    assert connected_components(graph, directed=False)[0] == 1


def test_only_border_is_at_the_wrist(case):
    _, _, (vertices, faces, _, _) = case
    loops = boundary_loops(faces)
    assert len(loops) == 1
    np.testing.assert_allclose(vertices[loops[0], 0], WRIST_CUT, atol=1.0)
    assert vertices[:, 0].min() > WRIST_CUT - 1.0


def test_each_half_edge_is_unique(case):
    _, _, (_, faces, _, _) = case
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)


def test_mesh_is_oriented_outwards_and_has_the_volume_of_a_hand(case):
    person, theta, (vertices, faces, _, _) = case
    # Relative to a point in the plane of the cut, the missing lid has no volume.
    a, b, c = (vertices - [WRIST_CUT, 0, 0])[faces].transpose(1, 0, 2)
    volume = np.einsum("fi,fi->", a, np.cross(b, c)) / 6.0
    assert 2.2e5 < volume < 6.5e5
    anatomy, normals = pose_anatomy(person, theta), smooth_normals(vertices, faces)
    outside = hand_distance(anatomy, vertices + normals)
    assert np.mean(outside > hand_distance(anatomy, vertices - normals)) > 0.99


def test_vertices_lie_on_the_zero_of_the_field_up_to_the_relief(case):
    person, theta, (vertices, _, skin, _) = case
    distance = hand_distance(pose_anatomy(person, theta), vertices)
    assert np.isfinite(vertices).all()
    assert np.isfinite(skin.rest).all()
    assert np.abs(distance[skin.free > 0.99]).max() < 1.7
    assert np.abs(distance).mean() < 0.4


def test_triangles_have_no_short_edges(case):
    _, _, (vertices, faces, _, _) = case
    a, b, c = vertices[faces].transpose(1, 0, 2)
    edges = np.stack([np.linalg.norm(e, axis=1) for e in (b - a, c - b, a - c)])
    assert np.percentile(edges.min(axis=0), 1) > 0.04 * 2.5
    assert edges.max() < 2.5 * 2.5


def test_mesh_is_reproducible():
    one, other = (skin_mesh(subject(3), fist(), 3.0) for _ in range(2))
    assert one.vertices.tobytes() == other.vertices.tobytes()
    assert one.faces.tobytes() == other.faces.tobytes()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one.skin, other.skin, strict=True))


def test_finer_grids_converge():
    anatomy = pose_anatomy(subject(0), pose())
    coarse, fine = (skin_mesh(subject(0), pose(), step) for step in (3.0, 1.5))
    assert 3.5 < len(fine.vertices) / len(coarse.vertices) < 4.5
    np.testing.assert_allclose(fine.vertices.max(axis=0), coarse.vertices.max(axis=0), atol=0.6)
    error = [np.abs(hand_distance(anatomy, mesh.vertices)).mean() for mesh in (coarse, fine)]
    assert max(error) < 0.3


def test_people_differ_in_length_and_thickness():
    spans = [np.ptp(skin_mesh(subject(n), pose(), 4.0).vertices, axis=0) for n in range(5)]
    lengths, thicknesses = np.array(spans)[:, 0], np.array(spans)[:, 1]
    assert lengths[2] == lengths.min()
    assert lengths.max() / lengths.min() > 1.12
    assert len(np.unique(np.round(thicknesses, 1))) == 5


def test_normals_are_exact_on_an_unevenly_triangulated_sphere():
    rng = np.random.default_rng(0)
    corners = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], float)
    faces = np.array([[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2],
                      [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]])  # fmt: skip
    vertices = corners + rng.normal(0, 0.15, (6, 3))
    vertices *= 20.0 / np.linalg.norm(vertices, axis=1, keepdims=True)
    np.testing.assert_allclose(smooth_normals(vertices, faces), vertices / 20.0, atol=1e-9)
