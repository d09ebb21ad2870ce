"""The paper's metrics P_err and M_err, and related distances (section 8.3), in millimetres."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import igl
import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from dhm.geometry.mesh import boundary_loops, unique_edges
from dhm.rendering import render_depth
from dhm.types import Camera

# mm; in float64 a closest point lies on its edge to far better than this.
_ON_RIM = 1e-6
# Height over length of a triangle below which libigl misplaces closest points on it.
_SLIVER = 1e-12


def joint_errors(
    joints: Float[np.ndarray, "*b j 3"],
    target: Float[np.ndarray, "*b j 3"],
    valid: Bool[np.ndarray, "*b j"],
) -> Float[np.ndarray, "*b"]:
    """Computes P_err: the mean Euclidean distance of each sample's valid joints, mm.

    Returns:
        NaN for samples without valid joints.
    """
    distance = np.linalg.norm(joints - target, axis=-1)
    count = valid.sum(axis=-1)
    total = np.where(valid, distance, 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mean_of_measured(values: Sequence[float]) -> float | None:
    """Computes the mean of the values that are not NaN; None without any."""
    measured = [value for value in values if not np.isnan(value)]
    return float(np.mean(measured)) if measured else None


class ClosestPoints(NamedTuple):
    """The closest point of a mesh to each query.

    Attributes:
        distance: mm.
        face: Index of the face it lies on.
        point: Its coordinates.
    """

    distance: Float[np.ndarray, " n"]
    face: Int[np.ndarray, " n"]
    point: Float[np.ndarray, "n 3"]


def closest_points(
    queries: Float[np.ndarray, "n 3"],
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
) -> ClosestPoints:
    """Finds the exact closest points on a triangle mesh, by libigl's AABB tree.

    Args:
        queries: Finite points, mm.
        vertices: Of the mesh, mm.
        faces: Of the mesh; triangles without area are segments or points.
    """
    return _closest(queries, vertices, _without_slivers(vertices, faces))


def _closest(
    queries: Float[np.ndarray, "n 3"],
    vertices: Float[np.ndarray, "v 3"],
    simplices: Int[np.ndarray, "f k"],
) -> ClosestPoints:
    """Finds closest points on triangles (k = 3) or segments (k = 2)."""
    squared, face, point = igl.point_mesh_squared_distance(
        np.asarray(queries, np.float64, order="C"),
        np.asarray(vertices, np.float64, order="C"),
        np.asarray(simplices, np.int64, order="C"),
    )
    return ClosestPoints(np.sqrt(squared), face, point)


def _without_slivers(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Int[np.ndarray, "f 3"]:
    """Replaces each face without area by its longest side, as (p, q, q)."""
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[faces], 1, 0)
    sides = np.linalg.norm(np.stack([b - a, c - b, a - c]), axis=-1)
    double_area = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
    slivers = np.flatnonzero(double_area <= _SLIVER * sides.max(axis=0) ** 2)
    start = sides.argmax(axis=0)[slivers]
    end = (start + 1) % 3
    result = np.array(faces)
    result[slivers] = faces[slivers[:, None], np.stack([start, end, end], axis=1)]
    return result


def on_cut(
    closest: ClosestPoints,
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
) -> Bool[np.ndarray, " n"]:
    """Whether each query's closest point lies on the mesh's longest border.

    A scan ends at a cut through the forearm. Vertices of a model beyond the cut have their closest
    points on its rim, at distances that are no errors of the model. Holes inside the scan are
    shorter borders and do not count.
    """
    rim = _longest_border(vertices, faces)
    if not len(rim):
        return np.zeros(len(closest.face), bool)
    return _closest(closest.point, vertices, rim).distance < _ON_RIM


def _longest_border(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Int[np.ndarray, "e 2"]:
    """Returns the edges of the border that is longest in mm; none for a closed mesh."""
    # A face that repeats a vertex would count its edge twice.
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    edges, counts = unique_edges(faces)
    border = edges[counts == 1]
    lengths = np.linalg.norm(np.subtract(*np.moveaxis(vertices[border], 1, 0)), axis=-1)
    loops = [np.isin(border[:, 0], loop) for loop in boundary_loops(faces)]
    return border[max(loops, key=lambda loop: lengths[loop].sum())] if loops else border


class ScanDistance(NamedTuple):
    """Distance of each output vertex to the frame's scan.

    Attributes:
        distance: To the closest point, mm.
        beyond_cut: Whether that point lies on the scan's cut, so that the distance is no error.
    """

    distance: Float[np.ndarray, " v"]
    beyond_cut: Bool[np.ndarray, " v"]

    def mean(self, among: Bool[np.ndarray, " v"] | bool = True) -> float:
        """Computes M_err over some vertices, without those beyond the cut, mm; NaN without any."""
        counted = self.distance[among & ~self.beyond_cut]
        return float(counted.mean()) if len(counted) else float("nan")


def scan_distance(
    vertices: Float[np.ndarray, "v 3"],
    scan_vertices: Float[np.ndarray, "w 3"],
    scan_faces: Int[np.ndarray, "g 3"],
) -> ScanDistance:
    """Computes the distance of each vertex of one frame's output to its scan, mm."""
    closest = closest_points(vertices, scan_vertices, scan_faces)
    return ScanDistance(closest.distance, on_cut(closest, scan_vertices, scan_faces))


class MeshError(NamedTuple):
    """Distances between an output mesh and the frame's scan, mm.

    Attributes:
        M_err: The paper's: mean distance of the output's vertices to the closest point of the
            scan, without those beyond the scan's cut.
        scan_to_mesh: Mean distance of the vertices of the scan's faces to the closest point of
            the output.
        chamfer: Mean of the two.
        beyond_cut: Number of vertices left out of M_err.
    """

    M_err: float
    scan_to_mesh: float
    chamfer: float
    beyond_cut: int


def mesh_error(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    scan_vertices: Float[np.ndarray, "w 3"],
    scan_faces: Int[np.ndarray, "g 3"],
) -> MeshError:
    """Computes M_err and the reverse distance of one frame."""
    forward = scan_distance(vertices, scan_vertices, scan_faces)
    M_err = forward.mean()
    seen = scan_vertices[np.unique(scan_faces)]
    reverse = float(closest_points(seen, vertices, faces).distance.mean())
    return MeshError(M_err, reverse, (M_err + reverse) / 2, int(forward.beyond_cut.sum()))


_render_depth = partial(jax.jit, static_argnames=("image_size",))(render_depth)


def seen_vertices(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    camera: Camera,
    image_size: tuple[int, int],
    *,
    tolerance: float = 1.0,
) -> Bool[np.ndarray, "c v"]:
    """Tests which vertices of a mesh each camera sees, by the mesh's own depth maps.

    Only these vertices can be compared with a scan between closed fingers, where cameras see no
    skin. A vertex is seen if its depth is that of one of the four pixels around its projection:
    on a slope the depth changes within a pixel, and at the silhouette its centre may lie outside.
    Where the depth changes by more than about 1.5 tolerances from one pixel to the next, vertices
    between pixel centres are missed; other cameras see them from the front.

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
    # Clipped, as large values do not fit an integer.
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
