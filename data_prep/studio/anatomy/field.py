"""The signed distance to a hand: cones, melted within a part and along seams, else in contact.

Between parts that are no neighbours the hard minimum keeps two surfaces that meet apart: that is
contact. The field is at most the true distance outside, never steeper than about 1.2, and close to
the distance near the surface away from folds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.anatomy import Anatomy
from data_prep.studio.anatomy.parts import PART_JOINTS
from data_prep.studio.anatomy.strands import Cones
from data_prep.studio.anatomy.vectors import row_norms

FAR = 1000.0  # mm, the distance to a part of which nothing is near


@dataclass(frozen=True)
class Vicinity:
    """Which cones matter where.

    Attributes:
        cell_of_point: Cell of each point.
        active: Whether a cone matters in a cell.
    """

    cell_of_point: Int[np.ndarray, " n"]
    active: Bool[np.ndarray, "k c"]


def hand_distance(
    anatomy: Anatomy, points: Float[np.ndarray, "n 3"], vicinity: Vicinity | None = None
) -> Float[np.ndarray, " n"]:
    """Returns the signed distance to the hand in mm, negative inside.

    Args:
        anatomy: The hand in its pose.
        points: Where, in the hand's frame, mm.
        vicinity: Leaves out the cones that do not matter; by default none.
    """
    return blend_parts(anatomy, points, part_distances(anatomy.cones, points, vicinity))


def part_distances(
    cones: Cones, points: Float[np.ndarray, "n 3"], vicinity: Vicinity | None = None
) -> Float[np.ndarray, "p n"]:
    """Returns the signed distance to each part alone, FAR where nothing of it is near."""
    distances = np.full((len(PART_JOINTS), len(points)), FAR, np.float32)
    for cone, chosen, distance in cone_distances(cones, points, vicinity):
        part = distances[cones.parts[cone]]
        part[chosen] = smooth_minimum(part[chosen], distance, cones.blends[cone])
    return distances


def cone_distances(
    cones: Cones, points: Float[np.ndarray, "n 3"], vicinity: Vicinity | None = None
) -> Iterator[tuple[int, Int[np.ndarray, " m"] | slice, Float[np.ndarray, " m"]]]:
    """Yields each cone, the points near it and their signed distances to it."""
    columns = np.ascontiguousarray(points.T, np.float32)
    if vicinity is None:
        for cone in range(len(cones.parts)):
            yield cone, slice(None), _cone_distance(cones, cone, columns)
        return
    # Cell by cell the points of a cone are a few runs, which is far quicker than to ask each.
    order = np.argsort(vicinity.cell_of_point, kind="stable")
    counts = np.bincount(vicinity.cell_of_point, minlength=vicinity.active.shape[1])
    starts = np.cumsum(counts) - counts
    columns = columns[:, order]
    for cone, active in enumerate(vicinity.active):
        cells = np.flatnonzero(active)
        runs = counts[cells]
        total = runs.sum()
        if total:
            before = starts[cells] - (np.cumsum(runs) - runs)
            chosen = np.repeat(before, runs) + np.arange(total)
            yield cone, order[chosen], _cone_distance(cones, cone, columns[:, chosen])


def _cone_distance(
    cones: Cones, cone: int, columns: Float[np.ndarray, "3 m"]
) -> Float[np.ndarray, " m"]:
    """Exact for a round cone: the foot on the axis lies where the cone's flank is seen squarely."""
    length, (start, end) = cones.lengths[cone], cones.radii[cone]
    slope = np.clip((start - end) / length, -0.99, 0.99)
    x, y, z = cones.to_axis[cone].astype(np.float32) @ columns - cones.offsets[cone].astype(
        np.float32
    ).reshape(3, 1)
    from_axis = y * y + z * z
    foot = np.sqrt(from_axis)
    foot *= np.float32(-slope / np.sqrt(1.0 - slope**2))
    foot += x
    np.clip(foot, 0.0, np.float32(length), out=foot)
    x -= foot
    x *= x
    x += from_axis
    np.sqrt(x, out=x)
    foot *= np.float32(slope)
    x += foot
    x -= np.float32(start)
    x *= np.float32(cones.scales[cone])
    return x


def smooth_minimum(
    one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"], width: float
) -> Float[np.ndarray, " n"]:
    """Quadratic smooth minimum: exact where the two differ by more than the width."""
    overlap = np.maximum(np.float32(width) - np.abs(one - other), 0.0)
    return np.minimum(one, other) - overlap * overlap * np.float32(0.25 / width)


def blend_parts(
    anatomy: Anatomy, points: Float[np.ndarray, "n 3"], distances: Float[np.ndarray, "p n"]
) -> Float[np.ndarray, " n"]:
    """Returns the distance to the whole hand from those to its parts."""
    whole = distances.min(axis=0)
    for seam in anatomy.seams:
        one, other = (distances[part] for part in seam.parts)
        close = np.flatnonzero((np.abs(one - other) < seam.width) & (one < FAR))
        centre = (anatomy.frames[seam.joint] @ (*seam.centre, 1.0))[:3]
        radius = row_norms(points[close] - centre)
        near = radius < seam.outer
        close = close[near]
        fading = smoothstep((radius[near] - seam.inner) / (seam.outer - seam.inner))
        width = np.maximum(seam.width * (1.0 - fading), 1e-3).astype(np.float32)
        one, other = one[close], other[close]
        overlap = np.maximum(width - np.abs(one - other), 0.0)
        melted = np.minimum(one, other) - overlap * overlap / (4.0 * width)
        whole[close] = np.minimum(whole[close], melted)
    return whole


def smoothstep(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Rises from 0 at x = 0 to 1 at x = 1 with flat ends."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
