"""Texture coordinates of the template: charts cut at the hand's edge, flattened and packed."""

import igl
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from data_prep.studio.anatomy.array_math import smoothstep
from data_prep.studio.anatomy.primitives import PALM, PART_JOINTS
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import rest_frames
from data_prep.studio.anatomy.skin import in_joint_frame
from data_prep.studio.template.remesh import half_edge_twins
from dhm.geometry.hand_rig import FINGERS
from dhm.geometry.mesh import boundary_loops, unique_edges

_MARGIN = 0.006  # of the atlas, around each chart
_ROUNDS = 60
_TIDYING = 40
_NUM_CHARTS = 2 * (1 + len(FINGERS))


def make_atlas(
    proportions: Proportions,
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    part: Int[np.ndarray, " v"],
) -> tuple[Float[np.ndarray, "t 2"], Int[np.ndarray, "f 3"]]:
    """Returns UVs in [0, 1] and each face's indices into them; no two faces overlap.

    Palm, back, and the two sides of each digit are one chart each, all at the same scale.

    Args:
        proportions: Measures of the hand.
        vertices: At rest in the hand's frame, mm.
        faces: Triangles of the mesh.
        part: Part of the hand of each vertex.
    """
    chart = _whole_charts(_chart_of_faces(proportions, vertices, faces, part), faces)
    flat, corners, first = [], np.zeros(faces.shape, np.int32), 0
    for index in range(_NUM_CHARTS):
        mine = np.flatnonzero(chart == index)
        local, copied = _split_pinches(faces[mine])
        flat.append(_upright(_flattened(vertices[copied], local)))
        corners[mine] = local + first
        first += len(copied)
    return _packed(flat), corners


def _chart_of_faces(proportions, vertices, faces, part) -> Int[np.ndarray, " f"]:
    """Chart of each face: twice its digit (0 is the palm), plus 1 on the back."""
    frames = rest_frames(proportions)
    centres = vertices[faces].mean(axis=1)
    digit = np.array([0 if p == PALM else 1 + FINGERS.index(PART_JOINTS[p][:-1]) for p in part])
    of_face = np.sort(digit[faces], axis=1)[:, 1]
    # The palm's edge runs from its middle at the wrist to the thumb's own middle.
    thumb = in_joint_frame(centres, frames["thumb1"])
    near_thumb = smoothstep((34.0 - np.hypot(thumb[:, 1], thumb[:, 2])) / 22.0)
    near_thumb *= smoothstep((thumb[:, 0] + 20.0) / 30.0)
    height = centres[:, 1] + near_thumb * (thumb[:, 1] - centres[:, 1])
    for index, finger in enumerate(FINGERS, start=1):
        joint = "thumb2" if finger == "thumb" else f"{finger}1"
        mine = of_face == index
        height[mine] = in_joint_frame(centres[mine], frames[joint])[:, 1]
    return 2 * of_face + (height < 0)


def _whole_charts(chart: np.ndarray, faces: np.ndarray) -> Int[np.ndarray, " f"]:
    """Reassigns spikes and islands of a chart to the charts around them.

    Raises:
        RuntimeError: Islands remain.
    """
    neighbours = _face_neighbours(faces)
    around = np.where(neighbours >= 0, neighbours, np.arange(len(faces))[:, None])
    for attempt in range(_TIDYING):
        votes = np.zeros((len(faces), _NUM_CHARTS))
        for column in range(3):
            votes[np.arange(len(faces)), chart[around[:, column]]] += 1.0
        island = ~_in_largest_piece(chart, neighbours)
        # An island does not vote for itself. Ties at spikes go to the lower chart, in the first
        # rounds only, because two charts could exchange a face for ever.
        votes[np.flatnonzero(island), chart[island]] = 0.0
        spike = (votes.max(axis=1) >= 2.0) & (attempt < _TIDYING // 2)
        chart = np.where((island | spike) & (votes.max(axis=1) > 0), votes.argmax(axis=1), chart)
    if not _in_largest_piece(chart, neighbours).all():
        raise RuntimeError("a chart of the atlas has islands")
    return chart


def _split_pinches(faces: np.ndarray) -> tuple[Int[np.ndarray, "f 3"], Int[np.ndarray, " w"]]:
    """Copies a vertex at which a chart touches itself for each fan of faces around it.

    Returns:
        The faces, and the vertex that each new one is a copy of.
    """
    neighbours = _face_neighbours(faces)
    corner = np.arange(faces.size).reshape(faces.shape)
    rows, columns = [], []
    for edge in range(3):
        face = np.flatnonzero(neighbours[:, edge] >= 0)
        other = neighbours[face, edge]
        for at in (edge, (edge + 1) % 3):
            match = faces[other] == faces[face, at][:, None]
            rows.append(corner[face, at])
            columns.append(corner[other, match.argmax(axis=1)])
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), (faces.size,) * 2)
    _, fan = connected_components(graph, directed=False)
    _, first = np.unique(fan, return_index=True)
    return fan.reshape(faces.shape), faces.ravel()[first]


def _face_neighbours(faces: np.ndarray) -> Int[np.ndarray, "f 3"]:
    """Face across each of the edges (0, 1), (1, 2), (2, 0); -1 at the border."""
    half = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    twin = half_edge_twins(half)
    return np.where(twin >= 0, twin // 3, -1).reshape(-1, 3)


def _in_largest_piece(chart: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    face = np.repeat(np.arange(len(chart)), 3)
    other = neighbours.ravel()
    linked = (other >= 0) & (chart[face] == chart[other])
    graph = coo_array((np.ones(linked.sum()), (face[linked], other[linked])), (len(chart),) * 2)
    _, piece = connected_components(graph, directed=False)
    size = np.bincount(piece)
    keep = np.zeros(len(chart), bool)
    for index in range(_NUM_CHARTS):
        mine = np.flatnonzero(chart == index)
        keep[mine] = piece[mine] == piece[mine[size[piece[mine]].argmax()]]
    return keep


def _flattened(vertices: np.ndarray, faces: np.ndarray) -> Float[np.ndarray, "v 2"]:
    """Minimizes the symmetric Dirichlet energy, starting from a harmonic map to a circle."""
    edges, _ = unique_edges(faces)
    if len(vertices) - len(edges) + len(faces) != 1 or len(boundary_loops(faces)) != 1:
        raise RuntimeError("a chart of the atlas is not a disk")
    border = igl.boundary_loop(faces.astype(np.int64))
    circle = igl.map_vertices_to_circle(vertices, border)
    start = igl.harmonic(vertices, faces.astype(np.int64), border, circle, 1)
    area = igl.doublearea(vertices, faces.astype(np.int64)).sum() / 2
    # SLIM never inverts a triangle, so the map stays one-to-one.
    free = np.zeros(0, np.int32), np.zeros((0, 2), order="F")
    data = igl.slim_precompute(
        np.asfortranarray(vertices),
        np.asfortranarray(faces.astype(np.int32)),
        np.asfortranarray(start * np.sqrt(area / np.pi)),
        igl.MappingEnergyType.SYMMETRIC_DIRICHLET,
        *free,
        0.0,
    )
    return np.array(igl.slim_solve(data, _ROUNDS))[:, :2]


def _upright(flat: Float[np.ndarray, "v 2"]) -> Float[np.ndarray, "v 2"]:
    """Rotates a chart so that its longest axis is vertical, and moves its corner to the origin."""
    centred = flat - flat.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    turned = centred @ np.stack([axes[1], axes[0]]).T
    if np.linalg.det(np.stack([axes[1], axes[0]])) < 0:
        turned[:, 0] *= -1.0  # a mirrored chart would mirror its texture
    return turned - turned.min(axis=0)


def _packed(charts: list[np.ndarray]) -> Float[np.ndarray, "t 2"]:
    """Places charts in rows, tallest first, and scales them into the unit square."""
    sizes = np.stack([chart.max(axis=0) for chart in charts])
    order = np.argsort(-sizes[:, 1], kind="stable")
    side = _smallest_side(sizes, order)
    corners, _ = _shelves(sizes, order, side)
    return np.concatenate(
        [(chart + corner) / side for chart, corner in zip(charts, corners, strict=True)]
    )


def _smallest_side(sizes: np.ndarray, order: np.ndarray) -> float:
    low = np.sqrt(sizes.prod(axis=1).sum())
    for side in low * np.linspace(1.0, 2.5, 151):
        if _shelves(sizes, order, side)[1] <= side:
            return float(side)
    raise RuntimeError("the charts cannot be packed")


def _shelves(sizes: np.ndarray, order: np.ndarray, side: float) -> tuple[np.ndarray, float]:
    """Corner of each chart in rows at most `side` wide, and the height of all rows."""
    margin = _MARGIN * side
    corners, x, y, height = np.zeros_like(sizes), margin, margin, 0.0
    for index in order:
        if x + sizes[index, 0] + margin > side and x > margin:
            x, y, height = margin, y + height + margin, 0.0
        corners[index] = x, y
        x += sizes[index, 0] + margin
        height = max(height, sizes[index, 1])
        if x > side:
            return corners, np.inf
    return corners, y + height + margin
