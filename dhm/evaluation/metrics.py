"""The paper's two metrics and their relatives (section 8.3). NumPy, millimetres."""

from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Bool, Float, Int

from dhm.geometry.topology import boundary_loops, unique_edges

# A point is at a triangle's edge if the opposite corner weighs less than this.
_ON_EDGE = 1e-6


def joint_errors(
    joints: Float[np.ndarray, "*b j 3"],
    target: Float[np.ndarray, "*b j 3"],
    valid: Bool[np.ndarray, "*b j"],
) -> Float[np.ndarray, "*b"]:
    """P_err of each sample: mean Euclidean distance of its valid joints, mm; NaN without any."""
    distance = np.linalg.norm(joints - target, axis=-1)
    count = valid.sum(axis=-1)
    total = np.where(valid, distance, 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


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
    """Exact closest points on a triangle mesh, by libigl's AABB tree."""
    squared, face, point = igl.point_mesh_squared_distance(
        np.asarray(queries, np.float64, order="C"),
        np.asarray(vertices, np.float64, order="C"),
        np.asarray(faces, np.int64, order="C"),
    )
    return ClosestPoints(np.sqrt(squared), face, point)


def on_cut(
    closest: ClosestPoints,
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
) -> Bool[np.ndarray, " n"]:
    """Queries whose closest point lies on the mesh's longest border.

    A scan ends at a cut through the forearm. What a model shows beyond it has the rim of the cut
    as its closest point, at a distance that says nothing about the model. Holes inside the scan
    are shorter borders and do not count.
    """
    loops = boundary_loops(faces)
    if not loops:
        return np.zeros(len(closest.face), bool)
    edges, counts = unique_edges(faces)
    rim = edges[(counts == 1) & np.isin(edges[:, 0], loops[0])]
    triangles = faces[closest.face]
    weights = _barycentric(closest.point, vertices[triangles].astype(np.float64))
    result = np.zeros(len(triangles), bool)
    for corner in range(3):
        opposite = np.sort(np.delete(triangles, corner, axis=1).astype(np.int64), axis=1)
        at_rim = np.isin(opposite @ [len(vertices), 1], rim @ [len(vertices), 1])
        result |= at_rim & (weights[:, corner] < _ON_EDGE)
    return result


def _barycentric(
    points: Float[np.ndarray, "n 3"], corners: Float[np.ndarray, "n 3 3"]
) -> Float[np.ndarray, "n 3"]:
    """Coordinates of points in the planes of triangles; a degenerate one gives equal thirds."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    area = np.einsum("ni,ni->n", normal, normal)
    parts = [
        np.einsum("ni,ni->n", np.cross(q - p, points - p), normal)
        for p, q in ((b, c), (c, a), (a, b))
    ]
    safe = np.where(area > 0, area, 1)[:, None]
    return np.where(area[:, None] > 0, np.stack(parts, axis=1) / safe, 1 / 3)


class MeshError(NamedTuple):
    """Distances between an output mesh and the frame's scan, mm.

    Attributes:
        M_err: The paper's: mean distance of the output's vertices to the closest point of the
            scan, without those beyond the scan's cut.
        scan_to_mesh: Mean distance of the scan's vertices to the closest point of the output.
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
    """M_err and the reverse distance of one frame."""
    forward = closest_points(vertices, scan_vertices, scan_faces)
    beyond = on_cut(forward, scan_vertices, scan_faces)
    M_err = float(forward.distance[~beyond].mean()) if not beyond.all() else float("nan")
    reverse = float(closest_points(scan_vertices, vertices, faces).distance.mean())
    return MeshError(M_err, reverse, (M_err + reverse) / 2, int(beyond.sum()))
