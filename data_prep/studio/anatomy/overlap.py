"""How far the surfaces of parts that are no neighbours overlap: the contact rule, exactly."""

import numpy as np

from data_prep.studio.anatomy.anatomy import Anatomy
from data_prep.studio.anatomy.field import part_distances
from data_prep.studio.anatomy.narrow_band import band_points, find_overlaps
from data_prep.studio.anatomy.parts import PART_JOINTS, neighbours

_STEP = 2.0  # mm; a lens of overlap is much wider than it is deep


def surface_overlap(anatomy: Anatomy, step: float = _STEP) -> float:
    """Returns the depth of the deepest overlap in mm, 0 where no two such parts overlap.

    Two surfaces that overlap by d have a point d / 2 inside of both.

    Args:
        anatomy: The hand in its pose.
        step: Spacing of the points that are looked at, mm.
    """
    points, vicinity = band_points(find_overlaps(anatomy, step))
    distances = part_distances(anatomy.cones, points, vicinity)
    distances = distances[:, (distances < 0).sum(axis=0) > 1]
    near, deepest = neighbours(), 0.0
    for part in range(len(PART_JOINTS)):
        others = np.where(~near[part][:, None], distances, np.inf).min(axis=0, initial=np.inf)
        inside = np.maximum(distances[part], others)
        deepest = max(deepest, -2.0 * float(inside.min(initial=0.0)))
    return deepest
