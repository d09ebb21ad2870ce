"""Boxes as in training, intrinsics, mirrors."""

import numpy as np
import pytest

from data_prep.captures.frames import CaptureView
from data_prep.records.crop import plan_crop
from dhm.errors import BadInputError
from dhm.formats.photo import Photo
from dhm.geometry.hand_rig import JOINT_NAMES
from dhm.photos.detector import Detection, largest
from dhm.photos.keypoints_file import HandClues
from dhm.photos.located import (
    detected_clues,
    intrinsics,
    locate,
    mirrored_intrinsics,
    parse_bbox,
)

SIZE = (300, 400)


def _locate(clues, bbox=None, left=False):
    return locate("a.jpg", SIZE, clues, JOINT_NAMES, bbox, left)


def _clues(pixels):
    names = JOINT_NAMES[: len(pixels)]
    return HandClues({name: (*point, 0.9) for name, point in zip(names, pixels, strict=True)})


@pytest.mark.parametrize("seed", range(5))
def test_the_crop_of_keypoints_is_that_of_the_preparation(seed, tmp_path):
    rng = np.random.default_rng(seed)
    K = np.array([[300.0, 0, 199.5], [0, 310, 149.5], [0, 0, 1]])
    joints = rng.normal([30 * seed, 0, 500], [50, 60, 20], (22, 3))
    view = CaptureView("s", 0, "c", tmp_path, None, K, SIZE, np.eye(4), joints,
                       np.ones(22, bool), None)  # fmt: skip
    pixels = (joints / joints[:, 2:]) @ K.T
    found = _locate(_clues(pixels[:, :2].tolist()))
    A = plan_crop(view, 64).A_crop_view
    corners = A @ np.array([[*found.low, 1], [*found.high, 1]]).T
    np.testing.assert_allclose(corners[:2].T, [[-0.5, -0.5], [63.5, 63.5]], atol=1e-6)
    assert found.low.min() >= -0.5 and (found.high <= np.array([399.5, 299.5])).all()


def test_a_box_is_enlarged_by_half_and_clipped():
    found = _locate(HandClues({}), (100, 100, 100, 60))
    np.testing.assert_allclose([found.low, found.high], [[75, 85], [225, 175]])
    found = _locate(HandClues({}, bbox=(0, 250, 80, 50)))
    np.testing.assert_allclose([found.low, found.high], [[-0.5, 237.5], [100, 299.5]])
    found = _locate(HandClues({}), "whole")
    np.testing.assert_allclose([found.low, found.high], [[-0.5, -0.5], [399.5, 299.5]])


def test_the_command_line_wins_over_the_file_and_that_over_keypoints():
    clues = _clues([(10, 10), (60, 10), (60, 90)])._replace(bbox=(100, 100, 100, 60), side="left")
    assert _locate(clues).low.tolist() == [75, 85]
    assert _locate(clues, (200, 100, 100, 60)).low.tolist() == [175, 85]
    assert _locate(clues).side == "left"
    assert _locate(clues._replace(side="right"), left=True).side == "left"
    assert _locate(clues._replace(side=None)).side == "right"
    assert _locate(clues).confidence.sum() == pytest.approx(2.7)


@pytest.mark.parametrize(
    ("clues", "bbox", "message"),
    [
        (HandClues({}), None, "a.jpg: found no box and 0 keypoints, expected where the hand"),
        (_clues([(1, 2), (30, 40)]), None, "found no box and 2 keypoints"),
        (HandClues({}), (500, 20, 50, 50), "found a box of 0 x 75 pixels, expected one"),
        (HandClues({}), (50, 20, 5, 50), "found a box of 8 x 75 pixels"),
    ],
)  # fmt: skip
def test_what_shows_no_hand_is_refused(clues, bbox, message):
    with pytest.raises(BadInputError, match=message):
        _locate(clues, bbox)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,0,4", "1,2,3,nan",
                                  "1,2,inf,4", "all"])  # fmt: skip
def test_boxes_that_are_none_are_refused(text):
    with pytest.raises(BadInputError, match=r"--bbox: found .* expected x,y,w,h in pixels"):
        parse_bbox(text)


def test_boxes_are_parsed():
    assert parse_bbox("1, -2,30.5,4e1") == (1, -2, 30.5, 40)
    assert parse_bbox("whole") == "whole"


def test_the_largest_hand_is_taken():
    hands = [Detection((0, 0, 10, 10), {"wrist": (1, 2, 0.5)}, "left"),
             Detection((5, 5, 30, 20), {"wrist": (9, 9, 0.8)}, None)]  # fmt: skip
    assert largest(hands) is hands[1] and largest([]) is None
    image = np.zeros((4, 4, 3), np.uint8)
    clues = detected_clues(image, lambda _: hands)
    assert clues == HandClues({"wrist": (9, 9, 0.8)}, None, None, (5, 5, 30, 20))
    assert detected_clues(image, lambda _: []) is None


def test_where_the_focal_length_comes_from():
    photo = Photo(np.zeros((3000, 4000, 3), np.uint8), 26.0)
    known = np.diag([7.0, 7, 1])
    K, source = intrinsics(photo, known, 5.0)
    assert K is known and "file" in source
    K, source = intrinsics(photo, None, 1234.0)
    assert K[0, 0] == K[1, 1] == 1234 and "--focal" in source
    K, source = intrinsics(photo, None, None)
    # 26 mm on 43.27 mm of film's diagonal, 5000 pixels here.
    assert K[0, 0] == pytest.approx(26 / 43.2666 * 5000, rel=1e-4) and "26 mm" in source
    K, source = intrinsics(photo._replace(focal_35mm=None), None, None)
    assert 2 * np.degrees(np.arctan(2000 / K[0, 0])) == pytest.approx(60)
    assert "assumed" in source and K[:2, 2].tolist() == [1999.5, 1499.5]


def test_a_mirror_camera_sees_the_mirrored_point():
    K = np.array([[500.0, 3, 100], [0, 490, 80], [0, 0, 1]])
    points = np.random.default_rng(0).normal([0, 0, 400], 60, (10, 3))
    pixels = points @ K.T
    mirrored = (points * [-1, 1, 1]) @ mirrored_intrinsics(K, 300).T
    np.testing.assert_allclose(
        mirrored[:, :2] / mirrored[:, 2:],
        np.array([299, 0]) + pixels[:, :2] / pixels[:, 2:] * [-1, 1],
    )
    assert mirrored_intrinsics(K, 300)[0, 0] == 500
