"""The cells of a grid near the surface, found from coarse to fine, and the field at their corners.

A cell is kept when the surface may pass through it (or two parts overlap in it), and hands down to
its children only the cones that can matter there, so that the field in the kept cells equals the
one of all cones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.anatomy import Anatomy
from data_prep.studio.anatomy.field import (
    FAR,
    Vicinity,
    blend_parts,
    cone_distances,
    hand_distance,
    smooth_minimum,
)
from data_prep.studio.anatomy.parts import PART_JOINTS, neighbours

WRIST_CUT = -32.0  # mm, where the forearm is cut off
_CELL_STEPS = (12, 4, 2)  # side of the cells of each level, in steps of the grid
_STEEPEST = 1.25  # bound of the field's gradient
_PADDING = 3.0  # mm around the cones

# Takes a hand, the centres of cells, the distances to its parts there and half a cell's diagonal;
# returns the cells to keep and which parts matter in each.
_Choice = Callable[
    [Anatomy, np.ndarray, np.ndarray, float], tuple[np.ndarray, Bool[np.ndarray, "p c"]]
]


@dataclass(frozen=True)
class NarrowBand:
    """Cells of two steps' side that were chosen.

    Attributes:
        origin: The grid's first point in the hand's frame, mm.
        step: Distance of neighbouring points, mm.
        cells: Grid index of each cell's first point.
        active: Which cones matter in each cell.
    """

    origin: Float[np.ndarray, " 3"]
    step: float
    cells: Int[np.ndarray, "c 3"]
    active: Bool[np.ndarray, "k c"]


def find_band(anatomy: Anatomy, step: float) -> NarrowBand:
    """Finds the cells that may hold the surface of a hand, cut off at the wrist.

    Args:
        anatomy: The hand in its pose.
        step: The grid's resolution, mm.
    """
    return _find_cells(anatomy, step, _near_surface)


def find_overlaps(anatomy: Anatomy, step: float) -> NarrowBand:
    """Finds the cells that may lie inside of two parts which are no neighbours.

    Args:
        anatomy: The hand in its pose.
        step: The grid's resolution, mm.
    """
    return _find_cells(anatomy, step, _inside_strangers)


def _find_cells(anatomy: Anatomy, step: float, choose: _Choice) -> NarrowBand:
    """Divides the cells of a grid, of which those that `choose` keeps are divided further."""
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
    """Evaluates the field at all corners of the band's cubes.

    Returns:
        The grid points in mm, the signed distances, and the corners of each cube of one step.
    """
    side = _CELL_STEPS[-1]
    shape = band.cells.max(axis=0) + side + 1
    owner = np.full(shape, -1, np.int32)
    numbers = np.arange(len(band.cells), dtype=np.int32)
    for offset in _offsets(side + 1):
        owner[tuple((band.cells + offset).T)] = numbers
    used = np.flatnonzero(owner.ravel() >= 0)
    points = band.origin + band.step * np.stack(np.unravel_index(used, shape), axis=1)
    vicinity = Vicinity(owner.ravel()[used], band.active)
    values = hand_distance(anatomy, points, vicinity)
    place = owner.ravel()
    place[used] = np.arange(len(used))
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    cubes = ((band.cells[:, None] + _offsets(side)).reshape(-1, 3)) @ strides
    return points, values, place[cubes[:, None] + _CORNERS @ strides]


def band_points(band: NarrowBand) -> tuple[Float[np.ndarray, "n 3"], Vicinity]:
    """Returns the grid points in the band's cells, mm, and which cones matter at them."""
    offsets = _offsets(_CELL_STEPS[-1])
    points = band.origin + band.step * (band.cells[:, None] + offsets).reshape(-1, 3)
    return points, Vicinity(np.repeat(np.arange(len(band.cells)), len(offsets)), band.active)


def band_vicinity(band: NarrowBand, points: Float[np.ndarray, "n 3"]) -> Vicinity:
    """Returns which cones matter at points that lie in the band's cells."""
    side = _CELL_STEPS[-1]
    shape = tuple(band.cells.max(axis=0) // side + 1)
    number = np.full(shape, -1, np.int32)
    number[tuple((band.cells // side).T)] = np.arange(len(band.cells))
    index = np.floor((points - band.origin) / (band.step * side)).astype(int)
    index = np.clip(index, 0, np.array(shape) - 1)
    return Vicinity(number[tuple(index.T)], band.active)


# The order in which marching cubes numbers a cube's corners.
_CORNERS = np.array(
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
)


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
    """The chosen cells, and the cones that matter in each."""
    cones, slack = anatomy.cones, 2.0 * half_diagonal
    parts = np.full((len(PART_JOINTS), len(centres)), FAR, np.float32)
    melting = []
    vicinity = Vicinity(np.arange(len(centres)), active)
    for cone, chosen, distance in cone_distances(cones, centres, vicinity):
        part, width = parts[cones.parts[cone]], cones.blends[cone]
        before = part[chosen]
        part[chosen] = after = smooth_minimum(before, distance, width)
        melting.append((cone, chosen, distance, after, distance < before + width + slack))
    # Backwards: from which distance on what came before a cone is out of reach of those after it.
    needed, ceilings = np.zeros_like(active), np.full_like(parts, np.inf)
    for cone, chosen, distance, after, acts in reversed(melting):
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


def _inside_strangers(anatomy, centres, parts, half_diagonal) -> tuple[np.ndarray, np.ndarray]:
    inside = parts <= half_diagonal
    strangers = ~neighbours()
    kept = np.flatnonzero((inside & (strangers @ inside)).any(axis=0))
    return kept, inside[:, kept]
