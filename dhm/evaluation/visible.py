"""M_err over what the cameras see: a scan knows nothing of the skin between closed fingers."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from dhm.evaluation.metrics import ScanDistance
from dhm.rendering import render_depth
from dhm.types import Camera


class VisibleMeshError(NamedTuple):
    """M_err of the visible surface.

    Attributes:
        M_err: Mean distance of the vertices that a camera sees to the closest point of the scan,
            without those beyond the scan's cut, mm; NaN without any.
        seen: Number of vertices that a camera sees.
        beyond_cut: How many of them were left out of M_err.
    """

    M_err: float
    seen: int
    beyond_cut: int


_render_depth = partial(jax.jit, static_argnames=("image_size",))(render_depth)


def visible_mesh_error(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    distance: ScanDistance,
    camera: Camera,
    image_size: tuple[int, int],
    *,
    tolerance: float = 1.0,
) -> VisibleMeshError:
    """M_err of one frame over the output's vertices that at least one of its cameras sees.

    Args:
        vertices: Of the output, finite, world mm.
        faces: Of the output.
        distance: Of its vertices to the frame's scan.
        camera: The frame's c target cameras.
        image_size: Height and width of their depth maps, pixels.
        tolerance: As in `seen_vertices`, mm.
    """
    seen = seen_vertices(vertices, faces, camera, image_size, tolerance=tolerance).any(axis=0)
    beyond = seen & distance.beyond_cut
    return VisibleMeshError(distance.mean(seen), int(seen.sum()), int(beyond.sum()))


def seen_vertices(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    camera: Camera,
    image_size: tuple[int, int],
    *,
    tolerance: float = 1.0,
) -> Bool[np.ndarray, "c v"]:
    """Which vertices of a mesh each camera sees, by the mesh's own depth maps.

    A vertex is seen when its depth is that of one of the four pixels around its projection. One
    pixel would not do: on a slope the depth changes within it, and at the silhouette its centre
    may lie outside. Where the depth changes by more than about 1.5 tolerances from one pixel to
    the next, vertices between pixel centres are missed; another camera has them from the front.

    Args:
        vertices: Finite, world mm.
        faces: Of the mesh.
        camera: c cameras.
        image_size: Height and width, pixels.
        tolerance: Largest difference of depths, mm. The default is about what a pixel of the
            256 x 256 maps covers on the hand; the two sides of a finger are ten times as far apart.
    """
    height, width = image_size
    depth = np.asarray(_render_depth(vertices, faces, camera, image_size=tuple(image_size)))
    K, T = (np.asarray(matrix, np.float64) for matrix in camera)
    points = np.einsum("cij,vj->cvi", T[:, :3, :3], vertices) + T[:, None, :3, 3]
    z = points[..., 2]
    in_front = z > 0
    pixel = np.einsum("cij,cvj->cvi", K, points)[..., :2] / np.where(in_front, z, 1)[..., None]
    # Far outside is outside; huge numbers do not fit an integer.
    corner = np.floor(np.clip(pixel, -2, max(height, width) + 2)).astype(np.int64)
    view = np.arange(len(depth))[:, None]
    seen = np.zeros(z.shape, bool)
    for right in (0, 1):
        for down in (0, 1):
            column, row = corner[..., 0] + right, corner[..., 1] + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            drawn = depth[view, np.where(inside, row, 0), np.where(inside, column, 0)]
            seen |= inside & (drawn > 0) & (np.abs(drawn - z) <= tolerance)
    return seen & in_front
