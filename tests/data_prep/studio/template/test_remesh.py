"""Remeshing of spheres and sheets with a known result."""

import igl
import numpy as np
import trimesh

from data_prep.studio.template.remesh import (
    collapse_short_edges,
    flip_edges,
    remesh,
    triangle_quality,
)
from dhm.geometry.mesh import boundary_loops, unique_edges


def bumpy_cap(seed=0):
    """The upper half of a sphere from marching cubes on a coarse grid, with many slivers."""
    axis = np.linspace(-1.3, 1.3, 24) + 0.011
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    points = points[:, ::-1]
    values = np.linalg.norm(points, axis=1) - 1.0
    vertices, faces, _ = igl.marching_cubes(values, points, 24, 24, 24, 0.0)
    faces = faces[(vertices[faces][:, :, 2] > 0.2).all(axis=1)]
    used, faces = np.unique(faces, return_inverse=True)
    return vertices[used], faces.reshape(-1, 3)


def euler(vertices, faces):
    return len(vertices) - len(unique_edges(faces)[0]) + len(faces)


def test_quality_of_known_triangles():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0], [2, 0, 0], [0, 1, 0]])
    quality = triangle_quality(vertices, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
    np.testing.assert_allclose(quality, [1.0, 0.0, np.sqrt(3) / 2], atol=1e-12)


def test_flip_replaces_the_long_diagonal_of_a_kite_by_the_short_one():
    vertices = np.array([[0, 0, 0], [4.0, 0, 0], [2, 1, 0], [2, -1, 0]])
    faces = flip_edges(vertices, np.array([[0, 1, 2], [1, 0, 3]]))
    edges, counts = unique_edges(faces)
    assert edges[counts == 2].tolist() == [[2, 3]]
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()


def test_flips_make_a_flat_mesh_delaunay():
    rng = np.random.default_rng(1)
    sheet = trimesh.creation.box().subdivide().subdivide().subdivide()
    flat = np.array(sheet.vertices)[np.array(sheet.vertices)[:, 2] > 0.499]
    index = -np.ones(len(sheet.vertices), int)
    index[np.array(sheet.vertices)[:, 2] > 0.499] = np.arange(len(flat))
    faces = index[sheet.faces]
    faces = faces[(faces >= 0).all(axis=1)]
    flat = flat + rng.normal(0, 0.02, flat.shape) * [1, 1, 0]
    flipped = flip_edges(flat, faces, passes=60)
    ours = {tuple(edge) for edge in unique_edges(flipped)[0].tolist()}
    # The oracle: libigl's own Delaunay edge flips, intrinsic ones, which are the same in a plane.
    _, theirs, *_ = igl.intrinsic_delaunay_triangulation(igl.edge_lengths(flat, faces), faces)
    theirs = {tuple(edge) for edge in unique_edges(theirs.astype(np.int64))[0].tolist()}
    assert len(ours ^ theirs) <= 2


def test_collapses_preserve_topology_and_border():
    vertices, faces = bumpy_cap()
    given = vertices.copy()
    after, fewer = collapse_short_edges(vertices, faces, 0.5)
    np.testing.assert_array_equal(vertices, given)
    assert len(after) < len(vertices)
    assert euler(after, fewer) == euler(vertices, faces) == 1
    assert unique_edges(fewer)[1].max() == 2
    assert len(boundary_loops(fewer)[0]) == len(boundary_loops(faces)[0])


def test_remeshed_slivers_are_well_shaped_triangles_on_the_same_surface():
    vertices, faces = bumpy_cap()
    assert np.quantile(triangle_quality(vertices, faces), 0.01) < 0.3

    def onto_sphere(points):
        return points / np.linalg.norm(points, axis=1, keepdims=True)

    after, good = remesh(vertices, faces, onto_sphere, rounds=12)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1.0)
    inner = ~np.isin(good, boundary_loops(good)[0]).any(axis=1)
    assert np.quantile(triangle_quality(after, good)[inner], 0.01) > 0.6
    a, b, c = (after[good[:, corner]] for corner in range(3))
    assert ((np.cross(b - a, c - a) * a).sum(axis=1) > 0).mean() > 0.999
