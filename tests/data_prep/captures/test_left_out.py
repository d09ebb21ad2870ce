"""Counts of what is left out, and the share that is accepted."""

import numpy as np
import pytest

from data_prep.captures.frames import LYING, OUTSIDE_CENTRE, camera_fault
from data_prep.captures.left_out import LeftOut
from dhm.errors import BadInputError


def test_rules_and_faults_are_counted_and_the_first_example_kept():
    left_out = LeftOut(("left hands", "blurred"))
    left_out.add("left hands", 3)
    for name in ("a", "b"):
        left_out.add_fault("damaged", BadInputError(name, "nothing", "a picture"))
    assert left_out.counts == {"left hands": 3, "blurred": 0, "damaged": 2}
    assert left_out.num_faults == 2
    said = "2 x damaged, first: a: found nothing, expected a picture"
    assert left_out.describe() == f"3 x left hands; {said}"
    assert left_out.faults() == [f"left out: {said}"]


def test_faults_alone_count_for_the_share():
    left_out = LeftOut()
    left_out.add("left hands", 90)
    left_out.add_fault("damaged", BadInputError("a", "nothing", "a picture"))
    left_out.require_share("set", 2, 0.5)
    with pytest.raises(BadInputError, match=r"set: found 1 of 2 items .*1 x damaged.*at most 40%"):
        left_out.require_share("set", 2, 0.4)


@pytest.mark.parametrize(
    ("centre", "size", "reason"),
    [
        ((167, 256), (512, 334), None),
        ((140, 300), (512, 334), None),
        ((256, 167), (512, 334), LYING),
        ((167, 256), (334, 512), LYING),
        ((160, 160), (320, 320), None),
        ((-1, 100), (320, 320), OUTSIDE_CENTRE),
        ((100, 320), (320, 320), OUTSIDE_CENTRE),
        ((0.5, 0.5), (512, 334), None),  # normalised: the hand projects onto a point
    ],
)
def test_a_camera_belongs_to_pictures_whose_middle_is_near_its_principal_point(
    centre, size, reason
):
    K = np.eye(3)
    K[:2, 2] = centre
    assert camera_fault(K, size) == reason
