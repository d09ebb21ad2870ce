"""What cannot be mended by other keys is refused, not returned."""

import numpy as np
import pytest

from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.motion.acceptable_path import EXCLUSION, acceptable_path, near_any
from data_prep.studio.motion.keys import common_schedule, open_hand
from data_prep.studio.motion.spheres import sphere_hand

NUM_FRAMES = 3
OPEN = open_hand(np.random.default_rng(0))


@pytest.fixture(scope="module")
def schedule():
    return common_schedule(np.random.default_rng(1), NUM_FRAMES, 1, np.zeros(5))


def test_keys_that_always_lead_to_a_pose_to_avoid_end_in_an_error(schedule):
    hand = sphere_hand(subject(2))
    with pytest.raises(RuntimeError, match=r"frames \[0, 1, 2\] of a motion stay out of bounds"):
        acceptable_path(hand, schedule, lambda *_: OPEN, NUM_FRAMES, 1, OPEN[None])


def test_a_key_that_leads_to_trouble_is_drawn_anew(schedule):
    bent = OPEN.copy()
    bent[8:] = np.clip(bent[8:] + 0.5, None, 0.8)
    theta = acceptable_path(
        sphere_hand(subject(2)), schedule, lambda _, version: bent if version else OPEN,
        NUM_FRAMES, 1, OPEN[None],
    )  # fmt: skip
    assert not near_any(theta, OPEN[None], EXCLUSION).any()
