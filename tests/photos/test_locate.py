"""Crops as in training, intrinsics and mirrored pictures."""

import numpy as np
import pytest

from data_prep.captures.frames import CaptureView
from data_prep.records.crop import plan_crop
from dhm.errors import BadInputError
from dhm.evidence.keypoints import Detection
from dhm.formats.photo import Photo
from dhm.geometry.hand_rig import JOINT_NAMES
from dhm.photos.doubts import contrast_doubt, focal_length_doubt
from dhm.photos.locate import camera_intrinsics, locate_hand, mirrored_intrinsics, parse_bbox

SIZE = (300, 400)


EMPTY = Detection(None, {}, None)


def _locate(detection, bbox=None, side=None):
    return locate_hand("a.jpg", SIZE, detection, JOINT_NAMES, bbox, side)


def _detection(pixels):
    named = zip(JOINT_NAMES[: len(pixels)], pixels, strict=True)
    return Detection(None, {name: (*point, 0.9) for name, point in named}, None)


@pytest.mark.parametrize("seed", range(5))
def test_the_crop_around_keypoints_is_that_of_the_training_data(seed, tmp_path):
    rng = np.random.default_rng(seed)
    K = np.array([[300.0, 0, 199.5], [0, 310, 149.5], [0, 0, 1]])
    joints = rng.normal([30 * seed, 0, 500], [50, 60, 20], (22, 3))
    view = CaptureView("s", 0, "c", tmp_path, None, K, SIZE, np.eye(4), joints,
                       np.ones(22, bool), None)  # fmt: skip
    pixels = (joints / joints[:, 2:]) @ K.T
    found = _locate(_detection(pixels[:, :2].tolist()))
    A = plan_crop(view, 64).A_crop_view
    corners = A @ np.array([[*found.low, 1], [*found.high, 1]]).T
    np.testing.assert_allclose(corners[:2].T, [[-0.5, -0.5], [63.5, 63.5]], atol=1e-6)
    assert found.low.min() >= -0.5 and (found.high <= np.array([399.5, 299.5])).all()


def test_a_box_is_enlarged_by_half_and_clipped():
    found = _locate(EMPTY, (100, 100, 100, 60))
    np.testing.assert_allclose([found.low, found.high], [[75, 85], [225, 175]])
    found = _locate(EMPTY._replace(box=(0, 250, 80, 50)))
    np.testing.assert_allclose([found.low, found.high], [[-0.5, 237.5], [100, 299.5]])
    found = _locate(EMPTY, "whole")
    np.testing.assert_allclose([found.low, found.high], [[-0.5, -0.5], [399.5, 299.5]])


def test_the_command_line_precedes_the_detections_box_and_that_its_keypoints():
    hand = _detection([(10, 10), (60, 10), (60, 90)])
    hand = hand._replace(box=(100, 100, 100, 60), side="left")
    assert _locate(hand).low.tolist() == [75, 85]
    assert _locate(hand, (200, 100, 100, 60)).low.tolist() == [175, 85]
    assert _locate(hand).side == "left"
    assert _locate(hand, side="right").side == "right"
    assert _locate(hand._replace(side="right"), side="left").side == "left"
    assert _locate(hand._replace(side=None)).side == "right"
    assert _locate(hand).confidence.sum() == pytest.approx(2.7)


@pytest.mark.parametrize(
    ("detection", "bbox", "message"),
    [
        pytest.param(
            EMPTY, (0.2, 0.3, 0.4, 0.5),
            "found a box of 1 x 1 pixels, expected one of at least 16 in the picture of 400 x 300",
            marks=pytest.mark.mistake(
                "predict, flags", "--bbox in parts of the picture, or outside it", "refused"
            ),
        ),
        pytest.param(
            EMPTY._replace(side="Left"), (10, 10, 90, 90), "found side 'Left', expected 'left' or",
            marks=pytest.mark.mistake(
                "predict, detectors", "a detector of one's own that says 'Left'", "refused"
            ),
        ),
        pytest.param(
            EMPTY._replace(keypoints={"INDEX_TIP": (1, 2, 1)}), (10, 10, 90, 90),
            "a.jpg, keypoints: found 'INDEX_TIP', expected one of thumb_null",
            marks=pytest.mark.mistake(
                "predict, detectors", "a detector's own joint names",
                "refused, with the known names",
            ),
        ),
        pytest.param(
            _detection([(0.1, 0.2), (0.5, 0.6), (0.7, 0.3)]), None,
            r"a.jpg: found keypoints between 0.1 and 0.7, expected pixels; .* \[1, 1\] says so",
            marks=pytest.mark.mistake(
                "predict, detectors", "parts of the picture's size as keypoints", "refused"
            ),
        ),
        (EMPTY, None, "a.jpg: found no box and 0 keypoints, expected where the hand"),
        (_detection([(1, 2), (30, 40)]), None, "found no box and 2 keypoints"),
        (EMPTY, (500, 20, 50, 50), "found a box of 0 x 75 pixels, expected one"),
        (EMPTY, (50, 20, 5, 50), "found a box of 8 x 75 pixels"),
    ],
)  # fmt: skip
def test_a_hand_that_cannot_be_located_is_refused(detection, bbox, message):
    with pytest.raises(BadInputError, match=message):
        _locate(detection, bbox)


@pytest.mark.parametrize(
    ("detection", "bbox", "said"),
    [
        (EMPTY, (100, 100, 100, 60), None),
        (EMPTY, "whole", None),
        (_detection([(10, 10), (60, 10), (60, 90)]), None, None),
        (_detection([(10, 10), (60, 10), (60, 90), (60, -40)]), None, None),  # one is out of view
        (_detection([(10, 10), (60, 10), (60, 90)]), (5, 5, 60, 90), None),
        pytest.param(
            EMPTY, (250, 100, 340, 180), "(250, 100) of 340 x 180 pixels reaches out of the",
            marks=pytest.mark.mistake(
                "predict, flags", "--bbox as two corners",
                "doubtful if it reaches out of the picture; otherwise not noticed",
            ),
        ),
        pytest.param(
            _detection([(10, 10), (60, 10), (60, 90)]), (300, 200, 60, 60),
            "The box at (300, 200) of 60 x 60 pixels has 0 of 3 keypoints in and around it.",
            marks=pytest.mark.mistake(
                "predict, keypoints", "bbox as corners, by its centre, or of another size",
                "doubtful if the keypoints are elsewhere, or it reaches out of the picture",
            ),
        ),
        pytest.param(
            _detection([(200, 290), (250, 380), (240, 500), (260, 330)]), None,
            "3 of 4 keypoints lie outside the picture of 400 x 300 pixels",
            marks=pytest.mark.mistake(
                "predict, keypoints", "those of the picture before EXIF turned it, without a size",
                "doubtful if they lie outside the upright picture",
            ),
        ),
    ],
)  # fmt: skip
def test_a_place_where_no_picture_is_is_doubtful(detection, bbox, said):
    doubts = _locate(detection, bbox).doubts
    assert (doubts == ()) if said is None else (len(doubts) == 1 and said in doubts[0])


@pytest.mark.mistake(
    "predict, flags", "--bbox with other separators, three numbers, or no height", "refused"
)
@pytest.mark.parametrize("text", ["", "1,2,3", "1 2 3 4", "1,2,3,4,5", "a,b,c,d", "1,2,0,4",
                                  "1,2,3,nan", "1,2,inf,4", "all"])  # fmt: skip
def test_invalid_boxes_are_refused(text):
    with pytest.raises(BadInputError, match=r"--bbox: found .* expected x,y,w,h in pixels"):
        parse_bbox(text)


def test_boxes_are_parsed():
    assert parse_bbox("1, -2,30.5,4e1") == (1, -2, 30.5, 40)
    assert parse_bbox("whole") == "whole"


def test_sources_of_the_focal_length_in_their_order():
    photo = Photo(np.zeros((3000, 4000, 3), np.uint8), 26.0)
    known = np.diag([7.0, 7, 1])
    K, source = camera_intrinsics(photo, known, 5.0)
    assert K is known and "file" in source
    K, source = camera_intrinsics(photo, None, 1234.0)
    assert K[0, 0] == K[1, 1] == 1234 and "--focal" in source
    K, source = camera_intrinsics(photo, None, None)
    # 26 mm on 43.27 mm of film's diagonal, 5000 pixels here.
    assert K[0, 0] == pytest.approx(26 / 43.2666 * 5000, rel=1e-4) and "26 mm" in source
    K, source = camera_intrinsics(photo._replace(focal_35mm=None), None, None)
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


def test_a_wider_view_than_a_lens_has_is_doubtful():
    assert focal_length_doubt(np.diag([500.0, 500, 1]), SIZE) is None
    said = focal_length_doubt(np.diag([26.0, 26, 1]), (3000, 4000))
    assert said.startswith("The focal length of 26 px gives a field of view of 179 degrees")


def test_a_crop_of_one_colour_is_doubtful():
    crop = np.full((8, 8, 3), 90, np.uint8)
    assert "between 90 and 90 of 255" in contrast_doubt(crop)
    crop[0, 0, 0] = 110
    assert contrast_doubt(crop) is None
