"""Signed distance field of a hand: round cones, blended within a part and along seams.

Parts that are not adjacent are joined by the hard minimum, which keeps two surfaces that meet
apart: that is contact. Outside, the field is at most the true distance, its gradient is never
steeper than about 1.2, and it is close to the distance near the surface away from folds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.anatomy import Anatomy
from data_prep.studio.anatomy.array_math import row_norms, smoothstep
from data_prep.studio.anatomy.primitives import PART_JOINTS, RoundCones

FAR = 1000.0
"""Distance in mm to a part none of whose cones is near."""


@dataclass(frozen=True)
class ConeMask:
    """The cones that can change the field in each cell of a grid.

    Attributes:
        cell_of_point: Cell of each point.
        active: Whether each cone matters in each cell.
    """

    cell_of_point: Int[np.ndarray, " n"]
    active: Bool[np.ndarray, "k c"]


def hand_distance(
    anatomy: Anatomy, points: Float[np.ndarray, "n 3"], mask: ConeMask | None = None
) -> Float[np.ndarray, " n"]:
    """Returns the signed distance to the hand in mm, negative inside.

    Args:
        anatomy: The hand in its pose.
        points: In the hand's frame, mm.
        mask: Cones to evaluate at each point; all of them by default.
    """
    return blend_parts(anatomy, points, part_distances(anatomy.cones, points, mask))


def part_distances(
    cones: RoundCones, points: Float[np.ndarray, "n 3"], mask: ConeMask | None = None
) -> Float[np.ndarray, "p n"]:
    """Returns the signed distance to each part alone, FAR where the mask leaves none of it."""
    distances = np.full((len(PART_JOINTS), len(points)), FAR, np.float32)
    for cone, chosen, distance in cone_distances(cones, points, mask):
        part = distances[cones.parts[cone]]
        part[chosen] = smooth_minimum(part[chosen], distance, cones.blends[cone])
    return distances


def cone_distances(
    cones: RoundCones, points: Float[np.ndarray, "n 3"], mask: ConeMask | None = None
) -> Iterator[tuple[int, Int[np.ndarray, " m"] | slice, Float[np.ndarray, " m"]]]:
    """Yields the index of each cone, the points it matters at and their signed distances to it."""
    columns = np.ascontiguousarray(points.T, np.float32)
    if mask is None:
        for cone in range(len(cones.parts)):
            yield cone, slice(None), _cone_distance(cones, cone, columns)
        return
    # Sorted by cell, the points of a cone are a few runs: far quicker than a mask over all points.
    order = np.argsort(mask.cell_of_point, kind="stable")
    counts = np.bincount(mask.cell_of_point, minlength=mask.active.shape[1])
    starts = np.cumsum(counts) - counts
    columns = columns[:, order]
    for cone, active in enumerate(mask.active):
        cells = np.flatnonzero(active)
        runs = counts[cells]
        total = runs.sum()
        if total:
            before = starts[cells] - (np.cumsum(runs) - runs)
            chosen = np.repeat(before, runs) + np.arange(total)
            yield cone, order[chosen], _cone_distance(cones, cone, columns[:, chosen])


def _cone_distance(
    cones: RoundCones, cone: int, columns: Float[np.ndarray, "3 m"]
) -> Float[np.ndarray, " m"]:
    """Exact signed distance to a round cone: along the normal of its flank to the axis."""
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
    """Returns the quadratic smooth minimum, exact where the two differ by more than the width."""
    overlap = np.maximum(np.float32(width) - np.abs(one - other), 0.0)
    return np.minimum(one, other) - overlap * overlap * np.float32(0.25 / width)


def blend_parts(
    anatomy: Anatomy, points: Float[np.ndarray, "n 3"], distances: Float[np.ndarray, "p n"]
) -> Float[np.ndarray, " n"]:
    """Returns the distance to the whole hand, given the distances to its parts."""
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
        blended = np.minimum(one, other) - overlap * overlap / (4.0 * width)
        whole[close] = np.minimum(whole[close], blended)
    return whole
