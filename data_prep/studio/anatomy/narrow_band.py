"""Sparse grids around a hand's surface, the field at their corners, and the overlap of parts.

Cells are refined from coarse to fine. A cell is kept if the surface may pass through it (or two
parts may overlap in it), and passes on to its children only the cones that can matter there. So the
field at the corners of kept cells equals that of all cones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.anatomy import Anatomy
from data_prep.studio.anatomy.field import (
    FAR,
    ConeMask,
    blend_parts,
    cone_distances,
    hand_distance,
    part_distances,
    smooth_minimum,
)
from data_prep.studio.anatomy.primitives import PART_JOINTS, adjacent_parts

WRIST_CUT = -32.0
"""x of the plane that cuts off the forearm, mm."""

_CELL_STEPS = (12, 4, 2)  # side of the cells of each level, in steps of the grid
_STEEPEST = 1.25  # bound of the field's gradient
_PADDING = 3.0  # mm around the cones
_OVERLAP_STEP = 2.0  # mm; a lens of overlap is much wider than it is deep
# The order in which marching cubes numbers a cube's corners.
_CORNERS = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
)

# Takes a hand, the centres of cells, the distances to its parts there and half a cell's diagonal;
# returns the cells to keep and which parts matter in each.
_Choice = Callable[
    [Anatomy, np.ndarray, np.ndarray, float], tuple[np.ndarray, Bool[np.ndarray, "p c"]]
]


@dataclass(frozen=True)
class NarrowBand:
    """The kept cells of a grid; the side of a cell is two steps.

    Attributes:
        origin: First point of the grid in the hand's frame, mm.
        step: Distance between grid points, mm.
        cells: Grid index of the first point of each cell.
        active: Whether each cone matters in each cell.
    """

    origin: Float[np.ndarray, " 3"]
    step: float
    cells: Int[np.ndarray, "c 3"]
    active: Bool[np.ndarray, "k c"]


def find_band(anatomy: Anatomy, step: float) -> NarrowBand:
    """Returns the cells that may contain the surface of a hand, cut off at the wrist.

    Args:
        anatomy: The hand in its pose.
        step: Distance between grid points, mm.
    """
    return _find_cells(anatomy, step, _near_surface)


def find_overlaps(anatomy: Anatomy, step: float) -> NarrowBand:
    """Returns the cells that may lie inside two parts that are not adjacent.

    Args:
        anatomy: The hand in its pose.
        step: Distance between grid points, mm.
    """
    return _find_cells(anatomy, step, _inside_non_adjacent)


def _find_cells(anatomy: Anatomy, step: float, choose: _Choice) -> NarrowBand:
    """Refines a grid, keeping at each level the cells that `choose` selects."""
    origin, top = _bounds(anatomy)
    counts = np.ceil((top - origin) / (step * _CELL_STEPS[0])).astype(int)
    cells = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(-1, 3)
    cells *= _CELL_STEPS[0]
    active = np.ones((len(anatomy.cones.parts), len(cells)), bool)
    for steps, finer in zip(_CELL_STEPS, (*_CELL_STEPS[1:], None), strict=True):
        centres = origin + (cells + steps / 2) * step
        kept, active = _prune(anatomy, centres, np.sqrt(0.75) * steps * step, active, choose)
        cells = cells[kept]
        if finer is not None:
            children = _offsets(steps // finer) * finer
            cells = (cells[:, None] + children).reshape(-1, 3)
            active = np.repeat(active, len(children), axis=1)
    return NarrowBand(origin, step, cells, active)


def band_values(
    anatomy: Anatomy, band: NarrowBand
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"], Int[np.ndarray, "u 8"]]:
    """Evaluates the field at the corners of the band's cubes.

    Returns:
        The grid points in mm, their signed distances in mm, and the eight corners of each cube of
        one step.
    """
    side = _CELL_STEPS[-1]
    shape = band.cells.max(axis=0) + side + 1
    owner = np.full(shape, -1, np.int32)
    numbers = np.arange(len(band.cells), dtype=np.int32)
    for offset in _offsets(side + 1):
        owner[tuple((band.cells + offset).T)] = numbers
    used = np.flatnonzero(owner.ravel() >= 0)
    points = band.origin + band.step * np.stack(np.unravel_index(used, shape), axis=1)
    mask = ConeMask(owner.ravel()[used], band.active)
    values = hand_distance(anatomy, points, mask)
    place = owner.ravel()
    place[used] = np.arange(len(used))
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    cubes = ((band.cells[:, None] + _offsets(side)).reshape(-1, 3)) @ strides
    return points, values, place[cubes[:, None] + _CORNERS @ strides]


def band_points(band: NarrowBand) -> tuple[Float[np.ndarray, "n 3"], ConeMask]:
    """Returns the grid points in the band's cells, mm, and the cones that matter there."""
    offsets = _offsets(_CELL_STEPS[-1])
    points = band.origin + band.step * (band.cells[:, None] + offsets).reshape(-1, 3)
    return points, ConeMask(np.repeat(np.arange(len(band.cells)), len(offsets)), band.active)


def band_mask(band: NarrowBand, points: Float[np.ndarray, "n 3"]) -> ConeMask:
    """Returns the cones that matter at points in the band's cells."""
    side = _CELL_STEPS[-1]
    shape = tuple(band.cells.max(axis=0) // side + 1)
    number = np.full(shape, -1, np.int32)
    number[tuple((band.cells // side).T)] = np.arange(len(band.cells))
    index = np.floor((points - band.origin) / (band.step * side)).astype(int)
    index = np.clip(index, 0, np.array(shape) - 1)
    return ConeMask(number[tuple(index.T)], band.active)


def _offsets(count: int) -> Int[np.ndarray, "o 3"]:
    return np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), -1).reshape(-1, 3)


def _bounds(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    cones = anatomy.cones
    back = np.linalg.inv(cones.to_axis)
    starts = np.einsum("nij,nj->ni", back, cones.offsets)
    ends = starts + back[:, :, 0] * cones.lengths[:, None]
    reach = cones.radii.max(axis=1)[:, None] + _PADDING
    low = np.minimum(starts, ends) - reach
    high = np.maximum(starts, ends) + reach
    origin = low.min(axis=0)
    origin[0] = WRIST_CUT
    return origin, high.max(axis=0)


def _prune(
    anatomy: Anatomy,
    centres: np.ndarray,
    half_diagonal: float,
    active: np.ndarray,
    choose: _Choice,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cells that are kept, and the cones that matter in each."""
    cones, slack = anatomy.cones, 2.0 * half_diagonal
    parts = np.full((len(PART_JOINTS), len(centres)), FAR, np.float32)
    smoothed = []
    mask = ConeMask(np.arange(len(centres)), active)
    for cone, chosen, distance in cone_distances(cones, centres, mask):
        part, width = parts[cones.parts[cone]], cones.blends[cone]
        before = part[chosen]
        part[chosen] = after = smooth_minimum(before, distance, width)
        smoothed.append((cone, chosen, distance, after, distance < before + width + slack))
    # Backwards: the distance from which on the cones after one hide everything before it.
    needed, ceilings = np.zeros_like(active), np.full_like(parts, np.inf)
    for cone, chosen, distance, after, acts in reversed(smoothed):
        ceiling, width = ceilings[cones.parts[cone]], cones.blends[cone]
        above = ceiling[chosen]
        needed[cone, chosen] = acts & (after < above + slack)
        raised = above + width / 4.0  # as far as a smooth minimum lies below the hard one
        reach = np.where(distance >= raised + slack, raised, distance + width)
        ceiling[chosen] = np.where(acts, reach, above)
    kept, near = choose(anatomy, centres, parts, half_diagonal)
    return kept, needed[:, kept] & near[cones.parts]


def _near_surface(anatomy, centres, parts, half_diagonal) -> tuple[np.ndarray, np.ndarray]:
    whole = blend_parts(anatomy, centres, parts)
    kept = np.flatnonzero(np.abs(whole) <= _STEEPEST * half_diagonal)
    reach = max(seam.width for seam in anatomy.seams) + 2.0 * half_diagonal
    return kept, parts[:, kept] < whole[kept] + reach


def _inside_non_adjacent(anatomy, centres, parts, half_diagonal) -> tuple[np.ndarray, np.ndarray]:
    inside = parts <= half_diagonal
    kept = np.flatnonzero((inside & (~adjacent_parts() @ inside)).any(axis=0))
    return kept, inside[:, kept]


def surface_overlap(anatomy: Anatomy, step: float = _OVERLAP_STEP) -> float:
    """Returns the deepest overlap of two parts that are not adjacent, mm; 0 if there is none.

    Two surfaces that overlap by d have a point d / 2 inside both.

    Args:
        anatomy: The hand in its pose.
        step: Distance between the points that are evaluated, mm.
    """
    points, mask = band_points(find_overlaps(anatomy, step))
    distances = part_distances(anatomy.cones, points, mask)
    distances = distances[:, (distances < 0).sum(axis=0) > 1]
    near, deepest = adjacent_parts(), 0.0
    for part in range(len(PART_JOINTS)):
        others = np.where(~near[part][:, None], distances, np.inf).min(axis=0, initial=np.inf)
        inside = np.maximum(distances[part], others)
        deepest = max(deepest, -2.0 * float(inside.min(initial=0.0)))
    return deepest
