"""Self-penetration of a hand's mesh, in millimetres. NumPy.

A hand's mesh is one surface, of which its own vertices are never inside. It is therefore cut into
the rigid parts of its rig, each closed with caps at the cuts; a vertex inside another part that
does not border on its own penetrates.
"""

from dataclasses import dataclass
from typing import NamedTuple

import igl
import numpy as np
from jaxtyping import Bool, Float, Int

from dhm.evaluation.metrics import closest_points
from dhm.geometry.hand_rig import FINGERTIPS, PALM_JOINTS
from dhm.geometry.mesh import boundary_loops
from dhm.types import HandTemplate

PENETRATES_MM = 2.0
"""Depth above which a hand counts as penetrating, mm: soft skin yields about as much to a firm
touch, and the mesh of a pose without any contact stays far below."""

PALM = "palm"
# The thumb's first two joints lie within the palm; its metacarpal is the palm's ball.
_IN_PALM = (*PALM_JOINTS, "thumb0")
# Offset of the rays in the grid, so that they rarely meet vertices, whose coordinates may be round.
_OFFSET = np.array([0.41421356, 0.73205081])


@dataclass(frozen=True, eq=False)  # Compared and hashed by identity: it holds arrays.
class HandParts:
    """A mesh cut into parts; depends on the template alone.

    Attributes:
        names: One a part: "palm", or the joint that moves it ("thumb2", "index1", ...).
        part: Part of each vertex.
        skins: Faces of each part.
        caps: Faces that close each part: a fan on each of its borders. Indices from v on are the
            centres of the fans.
        rims: Vertices of each fan's border; the centre is their mean.
        comparable: Pairs of parts that should never overlap. Parts that share a border, and those
            whose joints are parent and child, meet by construction and are excluded.
    """

    names: tuple[str, ...]
    part: Int[np.ndarray, " v"]
    skins: tuple[Int[np.ndarray, "_ 3"], ...]
    caps: tuple[Int[np.ndarray, "_ 3"], ...]
    rims: tuple[Int[np.ndarray, "_"], ...]
    comparable: Bool[np.ndarray, "p p"]

    def closed(self, part: int) -> Int[np.ndarray, "f 3"]:
        """Returns the faces of a part with its caps, as indices into `closed_vertices`."""
        return np.concatenate([self.skins[part], self.caps[part]])

    def closed_vertices(self, vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, "w 3"]:
        """Returns the vertices of the mesh and the centres of the caps, mm, float64."""
        vertices = np.asarray(vertices, np.float64)
        centres = [vertices[rim].mean(axis=0, keepdims=True) for rim in self.rims]
        return np.concatenate([vertices, *centres])


def hand_parts(template: HandTemplate) -> HandParts:
    """Cuts a hand into parts: the palm with the thumb's metacarpal, and each phalanx.

    A vertex belongs to the part whose joints have the largest sum of its skinning weights.
    """
    carrier = [_carrier(template, joint) for joint in range(template.num_joints)]
    names = tuple(dict.fromkeys((PALM, *carrier)))
    part_of_joint = np.array([names.index(name) for name in carrier])
    weights = np.stack(
        [template.lbs_weights[:, part_of_joint == part].sum(axis=1) for part in range(len(names))],
        axis=1,
    )
    related = np.zeros((len(names), len(names)), bool)
    for joint, parent in enumerate(template.parents):
        if parent >= 0:
            related[part_of_joint[joint], part_of_joint[parent]] = True
    return mesh_parts(template.faces, np.argmax(weights, axis=1), names, related)


def _carrier(template: HandTemplate, joint: int) -> str:
    """Name of the part that a joint moves; a fingertip belongs to the bone that it ends."""
    name = template.joint_names[joint]
    if name in FINGERTIPS:
        name = template.joint_names[template.parents[joint]]
    return PALM if name in _IN_PALM else name


def mesh_parts(
    faces: Int[np.ndarray, "f 3"],
    part: Int[np.ndarray, " v"],
    names: tuple[str, ...],
    related: Bool[np.ndarray, "p p"] | None = None,
) -> HandParts:
    """Cuts any mesh into parts.

    Args:
        faces: Of the whole mesh, counter-clockwise seen from outside.
        part: Part of each vertex. A face belongs to the part of most of its corners, or the first.
        names: Of the parts.
        related: Pairs that are not compared, besides those that share a border.
    """
    corners = part[faces]
    of_face = np.where(corners[:, 1] == corners[:, 2], corners[:, 1], corners[:, 0])
    skins = tuple(faces[of_face == index].astype(np.int64) for index in range(len(names)))
    caps, rims = [], []
    for skin in skins:
        cap, rim = _caps(skin, len(part) + len(rims))
        caps.append(cap)
        rims += rim
    touches = np.zeros((len(names), len(part)), np.int64)
    for index, skin in enumerate(skins):
        touches[index, skin] = 1
    meet = touches @ touches.T > 0
    if related is not None:
        meet |= related | related.T
    np.fill_diagonal(meet, True)
    return HandParts(names, np.asarray(part), skins, tuple(caps), tuple(rims), ~meet)


def _caps(
    faces: Int[np.ndarray, "f 3"], first_centre: int
) -> tuple[Int[np.ndarray, "g 3"], list[np.ndarray]]:
    """Builds a fan on each border of an open mesh, oriented like its faces; returns the borders."""
    start, end = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    base = int(faces.max(initial=0)) + 1
    open_edge = ~np.isin(start * base + end, end * base + start)
    start, end = start[open_edge], end[open_edge]
    rims = boundary_loops(faces)
    centre = np.zeros(len(start), np.int64)
    for index, rim in enumerate(rims):
        centre[np.isin(start, rim)] = first_centre + index
    return np.stack([end, start, centre], axis=1), rims


class Penetration(NamedTuple):
    """Self-penetration of a mesh.

    Attributes:
        mean_depth: Mean depth of the penetrating vertices, mm; 0 without any.
        max_depth: Depth of the deepest vertex, mm.
        volume: Overlap of the parts, mm^3; where three overlap, each pair of them counts.
        num_vertices: Number of penetrating vertices.
    """

    mean_depth: float
    max_depth: float
    volume: float
    num_vertices: int


def penetration(
    vertices: Float[np.ndarray, "v 3"], parts: HandParts, *, spacing: float = 1.0
) -> Penetration:
    """Measures the self-penetration of one mesh.

    Args:
        vertices: Finite, mm, of the topology that the parts were cut from.
        parts: Of the template.
        spacing: Of the rays that measure the volume, mm.
    """
    depth = penetration_depths(vertices, parts)
    depth = depth[depth > 0]
    volume = overlap_volume(vertices, parts, spacing)
    if not len(depth):
        return Penetration(0.0, 0.0, volume, 0)
    return Penetration(float(depth.mean()), float(depth.max()), volume, len(depth))


def penetration_depths(
    vertices: Float[np.ndarray, "v 3"], parts: HandParts
) -> Float[np.ndarray, " v"]:
    """Computes the depth of each vertex inside another comparable part, mm; 0 outside of all.

    A point is inside if the winding number of the closed part exceeds a half, so that a crease in
    which a part folds over itself is inside too. The depth is the distance to the part's skin, not
    to its caps, which lie within the hand. The largest counts for vertices inside several parts.

    Args:
        vertices: Finite, mm.
        parts: Of the template.
    """
    closed = parts.closed_vertices(vertices)
    vertices = closed[: len(vertices)]
    low, high = _boxes(closed, parts)
    depth = np.zeros(len(vertices))
    for index in range(len(parts.names)):
        queries = np.flatnonzero(
            parts.comparable[index][parts.part]
            & (vertices > low[index]).all(axis=1)
            & (vertices < high[index]).all(axis=1)
        )
        if not len(queries):
            continue
        winding = igl.winding_number(closed, parts.closed(index), vertices[queries])
        queries = queries[winding > 0.5]
        if len(queries):
            found = closest_points(vertices[queries], vertices, parts.skins[index])
            depth[queries] = np.maximum(depth[queries], found.distance)
    return depth


def _boxes(
    closed: Float[np.ndarray, "w 3"], parts: HandParts
) -> tuple[Float[np.ndarray, "p 3"], Float[np.ndarray, "p 3"]]:
    """Bounding box of each part; that of a part without faces overlaps with no other."""
    corners = [closed[skin].reshape(-1, 3) for skin in parts.skins]
    low = np.stack([points.min(axis=0, initial=np.inf) for points in corners])
    high = np.stack([points.max(axis=0, initial=-np.inf) for points in corners])
    return low, high


class _Crossings(NamedTuple):
    """Crossings of rays along +z with a closed surface: +1 on the way in, -1 on the way out."""

    ray: Int[np.ndarray, "n 2"]
    height: Float[np.ndarray, " n"]
    turn: Int[np.ndarray, " n"]


def overlap_volume(
    vertices: Float[np.ndarray, "v 3"], parts: HandParts, spacing: float = 1.0
) -> float:
    """Computes the volume that comparable parts share, mm^3, summed over the pairs.

    Integrates the length over which rays on a square grid are inside both parts. The error
    decreases with the square of the spacing over the width of the overlap.

    Args:
        vertices: Finite, mm.
        parts: Of the template.
        spacing: Of the rays, mm.
    """
    closed = parts.closed_vertices(vertices)
    low, high = _boxes(closed, parts)
    one, other = np.nonzero(np.triu(parts.comparable))
    pair_low, pair_high = np.maximum(low[one], low[other]), np.minimum(high[one], high[other])
    meet = (pair_low < pair_high).all(axis=1)
    one, other, pair_low, pair_high = (x[meet] for x in (one, other, pair_low, pair_high))
    crossings = {}
    for index in np.union1d(one, other).tolist():
        mine = (one == index) | (other == index)
        crossings[index] = _crossings(
            closed, parts.closed(index), pair_low[mine].min(axis=0), pair_high[mine].max(axis=0),
            spacing,
        )  # fmt: skip
    length = 0.0
    for a, b, bottom, top in zip(one.tolist(), other.tolist(), pair_low, pair_high, strict=True):
        first, last = _grid_range(bottom, top, spacing)
        length += _shared_length(crossings[a], crossings[b], first, last)
    return length * spacing**2


def _grid_range(
    low: Float[np.ndarray, "*n _"], high: Float[np.ndarray, "*n _"], spacing: float
) -> tuple[Int[np.ndarray, "*n 2"], Int[np.ndarray, "*n 2"]]:
    """First and last ray, by column and row, that may pass through a box."""
    first = np.ceil(low[..., :2] / spacing - _OFFSET).astype(np.int64)
    return first, np.floor(high[..., :2] / spacing - _OFFSET).astype(np.int64)


def _crossings(
    vertices: Float[np.ndarray, "w 3"],
    faces: Int[np.ndarray, "f 3"],
    low: Float[np.ndarray, " 3"],
    high: Float[np.ndarray, " 3"],
    spacing: float,
) -> _Crossings:
    """Finds the crossings of the rays within a box's columns, over the surface's whole height."""
    bottom, top = _grid_range(low, high, spacing)
    corners = vertices[faces]
    first, last = _grid_range(corners.min(axis=1), corners.max(axis=1), spacing)
    first, last = np.maximum(first, bottom), np.minimum(last, top)
    size = np.maximum(last - first + 1, 0)
    # Every face with every ray through its bounding box.
    count = size.prod(axis=1)
    face = np.repeat(np.arange(len(faces)), count)
    step = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    columns = size[face, 0]
    ray = first[face] + np.stack([step % columns, step // columns], axis=1)
    x, y = ((ray + _OFFSET) * spacing).T
    triangle = faces[face]
    area, left = [], []
    for k in range(3):
        # The edge opposite to corner k. Both faces at an edge evaluate it from the same end: a ray
        # near it passes through exactly one of them in spite of rounding.
        start, end = triangle[:, (k + 1) % 3], triangle[:, (k + 2) % 3]
        turned = start > end
        px, py, _ = vertices[np.where(turned, end, start)].T
        qx, qy, _ = vertices[np.where(turned, start, end)].T
        value = (qx - px) * (y - py) - (qy - py) * (x - px)
        area.append(np.where(turned, -value, value))
        left.append((value >= 0) != turned)
    up = left[0] & left[1] & left[2]
    down = ~(left[0] | left[1] | left[2])
    total = area[0] + area[1] + area[2]
    hit = np.flatnonzero((up | down) & (total != 0))
    z = vertices[triangle[hit], 2]
    height = sum(area[k][hit] * z[:, k] for k in range(3)) / total[hit]
    # An outward normal that points up marks the way out.
    turn = np.where(up[hit], -1, 1)
    ray = ray[hit]
    # Rays through a vertex may miss a face by rounding; they are left out.
    column, row = (ray - bottom).T
    cell = row * (top[0] - bottom[0] + 1) + column
    balanced = (np.bincount(cell, turn) == 0)[cell]
    return _Crossings(ray[balanced], height[balanced], turn[balanced])


def _shared_length(
    one: _Crossings, other: _Crossings, first: Int[np.ndarray, " 2"], last: Int[np.ndarray, " 2"]
) -> float:
    """Length, mm, over which the rays of a range of columns and rows are inside both parts."""
    chosen = []
    for crossings in (one, other):
        near = ((crossings.ray >= first) & (crossings.ray <= last)).all(axis=1)
        column, row = (crossings.ray[near] - first).T
        cell = row * (last[0] - first[0] + 1) + column
        chosen.append((cell, crossings.height[near], crossings.turn[near]))
    cell, height, turn = (np.concatenate(values) for values in zip(*chosen, strict=True))
    is_other = np.arange(len(cell)) >= len(chosen[0][0])
    order = np.lexsort((height, cell))
    height, turn, is_other = height[order], turn[order], is_other[order]
    # The sums return to 0 at the end of each ray, so that nothing is carried to the next ray.
    inside = np.cumsum(np.where(is_other, 0, turn)) > 0
    inside &= np.cumsum(np.where(is_other, turn, 0)) > 0
    return float(np.diff(height)[inside[:-1]].sum())
