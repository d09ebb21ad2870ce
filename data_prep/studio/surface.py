"""The skin of a hand in a pose, as a triangle mesh open at the wrist."""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy import pose_anatomy
from data_prep.studio.field import blend_parts, part_distances
from data_prep.studio.narrow_band import band_values, band_vicinity, find_band
from data_prep.studio.normals import smooth_normals
from data_prep.studio.proportions import Proportions
from data_prep.studio.skin import skin_relief
from data_prep.studio.skin_coordinates import SkinCoordinates, skin_coordinates

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
    _, piece = igl.facet_components(faces)
    faces = faces[piece == np.bincount(piece).argmax()]
    used, faces = np.unique(faces, return_inverse=True)
    return vertices[used], faces.reshape(-1, 3).astype(np.int32)
