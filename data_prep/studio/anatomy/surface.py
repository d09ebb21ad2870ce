"""The skin of a hand in a pose, as a triangle mesh open at the wrist."""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.array_math import cross, unit_rows
from data_prep.studio.anatomy.field import blend_parts, part_distances
from data_prep.studio.anatomy.narrow_band import band_mask, band_values, find_band
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.skin import SkinCoordinates, skin_coordinates, skin_relief

# In steps of the grid: the least distance of the surface from a grid point, which keeps triangles
# from being needles, and the largest error that this and marching cubes make on smooth skin.
_CLOSEST, _LARGEST_ERROR = 0.08, 0.12
# Least product of two edges that a corner's weight is divided by, relative to the mean product.
_SLIVER = 0.1


class SkinMesh(NamedTuple):
    """A noiseless scan of a hand.

    Attributes:
        vertices: In the hand's frame, mm.
        faces: Vertex indices, counter-clockwise seen from outside.
        skin: Coordinates of each vertex on the skin.
        relief: Displacement of each vertex by creases, nails and pores, mm.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    skin: SkinCoordinates
    relief: Float[np.ndarray, " v"]


def skin_mesh(
    proportions: Proportions, theta: Float[np.ndarray, " 28"], resolution_mm: float
) -> SkinMesh:
    """Returns the skin of a hand in a pose.

    The mesh is connected and has its border at the wrist; where skin touches skin it has handles.

    Args:
        proportions: Measures of the hand.
        theta: The 28 rotations in radians, in the order of DOF_NAMES.
        resolution_mm: Edge of the grid's cubes, mm.
    """
    anatomy = pose_anatomy(proportions, theta)
    band = find_band(anatomy, resolution_mm)
    vertices, faces = _largest_piece(*_march(*band_values(anatomy, band), _CLOSEST * resolution_mm))
    distances = part_distances(anatomy.cones, vertices, band_mask(band, vertices))
    skin = skin_coordinates(anatomy, vertices, distances)
    relief = skin_relief(proportions, skin, anatomy.flexions)
    # Marching cubes interpolates the field linearly between grid points: correct that as well.
    most = _LARGEST_ERROR * resolution_mm
    error = np.clip(blend_parts(anatomy, vertices, distances), -most, most) * skin.free
    vertices = vertices + (relief - error)[:, None] * smooth_normals(vertices, faces)
    return SkinMesh(vertices, faces, skin, relief)


def _march(points: np.ndarray, values: np.ndarray, cubes: np.ndarray, closest: float) -> tuple:
    values = np.where(values < 0, np.minimum(values, -closest), np.maximum(values, closest))
    inside = (values < 0)[cubes].sum(axis=1)
    crossed = cubes[(inside > 0) & (inside < 8)]
    vertices, faces, _ = igl.marching_cubes(
        values.astype(np.float64), points, crossed.astype(np.int64), 0.0
    )
    return vertices, faces


def _largest_piece(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Removes the bubbles that parts in contact enclose."""
    # Two edges of each triangle are enough to connect its corners.
    ends = faces[:, :2].ravel(), faces[:, 1:].ravel()
    edges = coo_array((np.ones(len(ends[0]), bool), ends), shape=(len(vertices),) * 2)
    _, piece = connected_components(edges, directed=False)
    used = piece == np.bincount(piece[faces[:, 0]]).argmax()
    faces = faces[used[faces[:, 0]]]
    number = np.cumsum(used, dtype=np.int32) - 1
    return vertices[used], number[faces]


def smooth_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Returns unit normals of vertices, exact on a sphere however uneven its triangles are.

    The weight of each corner is its sine over the product of its two edges (Max, "Weights for
    computing vertex normals from facet normals", 1999): area weights would favour the largest
    triangle and show the grid of marching cubes as stripes.
    """
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    ab, bc, ca = b - a, c - b, a - c
    normal = cross(ca, ab)
    ab, bc, ca = (np.einsum("fi,fi->f", edge, edge) for edge in (ab, bc, ca))
    # The normals of slivers are unreliable: they must not outweigh the others.
    smallest = _SLIVER * np.mean(ab * bc) if len(faces) else 1.0
    sums = np.zeros_like(vertices)
    for corner, edges in enumerate((ab * ca, ab * bc, bc * ca)):
        share = normal / np.maximum(edges, smallest)[:, None]
        for axis in range(3):
            sums[:, axis] += np.bincount(faces[:, corner], share[:, axis], len(vertices))
    return unit_rows(sums)
