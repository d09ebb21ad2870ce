"""The overlap of parts that are no neighbours, against every point of a dense grid."""

import numpy as np
import pytest

from data_prep.studio.anatomy.anatomy import pose_anatomy
from data_prep.studio.anatomy.field import part_distances
from data_prep.studio.anatomy.narrow_band import band_points, find_overlaps
from data_prep.studio.anatomy.overlap import surface_overlap
from data_prep.studio.anatomy.parts import PART_JOINTS, neighbours
from data_prep.studio.anatomy.proportions import subject
from tests.data_prep.studio.motion.named_poses import fist, pinch, pose, random_pose

STEP = 2.0


def _dense_overlap(anatomy):
    """Twice the depth of the deepest point inside of two such parts, pair by pair."""
    band = find_overlaps(anatomy, STEP)
    shape = np.ceil(np.array([260.0, 160.0, 200.0]) / STEP).astype(int)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    parts = part_distances(anatomy.cones, band.origin + STEP * grid)
    near, deepest = neighbours(), 0.0
    for one in range(len(PART_JOINTS)):
        for other in range(one):
            if not near[one, other]:
                inside = np.maximum(parts[one], parts[other])
                deepest = max(deepest, -2.0 * float(inside.min()))
    return deepest


@pytest.mark.parametrize(
    "theta", [fist(), pinch(), random_pose(3), random_pose(8)], ids=["fist", "pinch", "3", "8"]
)
def test_the_overlap_is_that_of_all_points_of_the_grid(theta):
    anatomy = pose_anatomy(subject(3), theta)
    expected = _dense_overlap(anatomy)
    assert surface_overlap(anatomy, STEP) == pytest.approx(expected, abs=1e-4)
    assert expected > 0  # these poses are not repaired


def test_an_open_hand_overlaps_nowhere_and_has_hardly_a_cell_to_look_at():
    spread = pose(index1_y=-0.2, middle1_y=-0.04, ring1_y=0.15, pinky1_y=0.3)
    anatomy = pose_anatomy(subject(0), spread)
    assert surface_overlap(anatomy) == 0.0
    points, _ = band_points(find_overlaps(anatomy, STEP))
    assert len(points) < 3000
