"""The skin of a hand in a pose, as a triangle mesh open at the wrist."""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.field import blend_parts, part_distances
from data_prep.studio.anatomy.narrow_band import band_values, band_vicinity, find_band
from data_prep.studio.anatomy.normals import smooth_normals
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.skin import skin_relief
from data_prep.studio.anatomy.skin_coordinates import SkinCoordinates, skin_coordinates

# In steps of the grid: how near to a grid point the surface may pass, which bounds how thin a
# triangle gets, and the largest error that this and marching cubes make on smooth skin.
_CLOSEST, _LARGEST_ERROR = 0.08, 0.12


class HandSurface(NamedTuple):
    """A scan without noise.

    Attributes:
        vertices: In the hand's frame, mm.
        faces: Vertex indices, counter-clockwise seen from outside.
        skin: Where on the skin each vertex lies.
        relief: How far creases, nails and pores displace each vertex, mm.
    """

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    skin: SkinCoordinates
    relief: Float[np.ndarray, " v"]


def hand_surface(
    proportions: Proportions, theta: Float[np.ndarray, " 28"], resolution_mm: float
) -> HandSurface:
    """Returns a person's skin in a pose.

    The mesh is one piece with its border at the wrist; where skin touches skin it has handles.

    Args:
        proportions: Whose hand.
        theta: The 28 rotations in radians, in the order of `dof_names`.
        resolution_mm: Edge of the grid's cubes.
    """
    anatomy = pose_anatomy(proportions, theta)
    band = find_band(anatomy, resolution_mm)
    vertices, faces = _largest_piece(*_march(*band_values(anatomy, band), _CLOSEST * resolution_mm))
    distances = part_distances(anatomy.cones, vertices, band_vicinity(band, vertices))
    skin = skin_coordinates(anatomy, vertices, distances)
    relief = skin_relief(proportions, skin, anatomy.flexions)
    # Marching cubes takes the field for linear between grid points: put that right as well.
    most = _LARGEST_ERROR * resolution_mm
    error = np.clip(blend_parts(anatomy, vertices, distances), -most, most) * skin.free
    vertices = vertices + (relief - error)[:, None] * smooth_normals(vertices, faces)
    return HandSurface(vertices, faces, skin, relief)


def _march(points: np.ndarray, values: np.ndarray, cubes: np.ndarray, closest: float) -> tuple:
    values = np.where(values < 0, np.minimum(values, -closest), np.maximum(values, closest))
    inside = (values < 0)[cubes].sum(axis=1)
    crossed = cubes[(inside > 0) & (inside < 8)]
    vertices, faces, _ = igl.marching_cubes(
        values.astype(np.float64), points, crossed.astype(np.int64), 0.0
    )
    return vertices, faces


def _largest_piece(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out the bubbles that parts in contact enclose."""
    # One edge of each triangle and the next is enough to join its corners.
    ends = faces[:, :2].ravel(), faces[:, 1:].ravel()
    edges = coo_array((np.ones(len(ends[0]), bool), ends), shape=(len(vertices),) * 2)
    _, piece = connected_components(edges, directed=False)
    used = piece == np.bincount(piece[faces[:, 0]]).argmax()
    faces = faces[used[faces[:, 0]]]
    number = np.cumsum(used, dtype=np.int32) - 1
    return vertices[used], number[faces]
