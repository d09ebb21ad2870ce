"""The procedural hand: sizes, closed surfaces, a rig that the losses accept."""

import numpy as np
import pytest

from dhm.geometry.hand_rig import JOINT_NAMES
from dhm.losses.objective import objective_topology
from dhm.networks.hand_model import inverse_bind_pose
from dhm.studies.procedural_hand import procedural_hand


@pytest.mark.parametrize("count", [600, 3000, 12_500])
def test_size(count):
    hand = procedural_hand(count)
    assert hand.num_vertices == pytest.approx(count, rel=0.02)
    assert len(hand.faces) == pytest.approx(2 * count, rel=0.04)


def test_surfaces_are_closed_and_face_outwards():
    hand = procedural_hand(3000)
    edges = np.concatenate([hand.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    directed = set(map(tuple, edges.tolist()))
    assert len(directed) == len(edges)
    assert all((b, a) in directed for a, b in directed)
    a, b, c = np.float64(hand.v_template[hand.faces.T])
    assert (np.cross(a, b) * c).sum() / 6 > 2e5  # mm^3


def test_rig_fits_the_losses_and_the_surface():
    hand = procedural_hand(3000)
    assert hand.joint_names == JOINT_NAMES
    np.testing.assert_allclose(hand.lbs_weights.sum(1), 1, atol=1e-6)
    assert objective_topology(hand).parts.tips
    joints = np.linalg.inv(inverse_bind_pose(hand))[:, :3, 3]
    nearest = np.linalg.norm(joints[:, None] - hand.v_template, axis=-1).min(1)
    assert nearest.max() < 20


def test_flexion_brings_the_fingertips_to_the_palm():
    tips = {}
    for flexion in (0.1, 0.9):
        joints = np.linalg.inv(inverse_bind_pose(procedural_hand(600, flexion)))[:, :3, 3]
        tips[flexion] = np.linalg.norm(joints[JOINT_NAMES.index("middle_null")])
    assert tips[0.9] < tips[0.1] - 30


def test_coordinates_are_multiples_of_the_grid():
    scaled = procedural_hand(600).v_template * 1024
    np.testing.assert_array_equal(scaled, np.round(scaled))
