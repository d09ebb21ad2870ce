"""Keypoint files."""

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.keypoints import KEYPOINT_NAMES, Keypoints, read_keypoints, write_keypoints


def test_names_follow_the_released_order():
    assert len(KEYPOINT_NAMES) == len(set(KEYPOINT_NAMES)) == 42
    assert KEYPOINT_NAMES[:5] == (
        "b_r_thumb_null", "b_r_thumb3", "b_r_thumb2", "b_r_thumb1", "b_r_index_null",
    )  # fmt: skip
    assert KEYPOINT_NAMES[20] == "b_r_wrist"
    assert KEYPOINT_NAMES[21] == "b_l_thumb_null"


def test_absent_joints_are_invalid(tmp_path):
    path = tmp_path / "keypoints0001.pts"
    path.write_text("20 1.5 -2 3e2 7.25 8\n3 4 5 6 1 2\n")
    keypoints = read_keypoints(path)
    assert np.flatnonzero(keypoints.valid).tolist() == [3, 20]
    np.testing.assert_array_equal(keypoints.points[20], [1.5, -2, 300])
    assert (keypoints.score[20], keypoints.num_views[20]) == (7.25, 8)
    assert not keypoints.points[~keypoints.valid].any()


def test_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    valid = rng.random(42) < 0.7
    points = rng.normal(size=(42, 3)) * 1000 * valid[:, None]
    score, views = rng.random(42) * valid, rng.integers(2, 9, 42) * valid
    write_keypoints(tmp_path / "k.pts", Keypoints(points, valid, score, views.astype(float)))
    again = read_keypoints(tmp_path / "k.pts")
    np.testing.assert_array_equal(again.valid, valid)
    np.testing.assert_allclose(again.points, points, atol=1e-6)
    np.testing.assert_array_equal(again.num_views, views)


def test_foreign_capture_misses_its_joints(release_mini):
    folder = release_mini / "annotations" / "keypoints" / "subject_4"
    right = read_keypoints(folder / "keypoints1210.pts").valid[:21]
    assert len(right) - right.sum() == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no keypoint"),
        ("0 1 2 3 4\n", r"k.pts:1: found 4 values, expected 5 numbers of a keypoint"),
        ("0 1 2 3 4 5 6\n", "found 6 values, expected 5"),
        ("0 1 2 3 4 5\n0 1 2 3 4 5\n", r"k.pts:2: found keypoint 0 a second time"),
        ("42 1 2 3 4 5\n", "found keypoint 42, expected an index from 0 to 41"),
        ("-1 1 2 3 4 5\n", "found keypoint -1"),
        ("0 1 2 inf 4 5\n", "found 'inf', expected a finite number"),
        ("0 1 2 x 4 5\n", "found 'x', expected a number"),
        ("wrist 1 2 3 4 5\n", "found 'wrist', expected an integer"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    path = tmp_path / "k.pts"
    path.write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_keypoints(path)
