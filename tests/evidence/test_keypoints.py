"""Keypoints files: what they may hold, and what is refused."""

import json

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.evidence.keypoints import Detection, VideoDetections, read_keypoints_file
from dhm.geometry.hand_rig import JOINT_NAMES

K = [[500, 0, 320], [0, 510, 240], [0, 0, 1]]


@pytest.fixture
def write(tmp_path):
    path = tmp_path / "keypoints.json"

    def read(content):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_keypoints_file(path, JOINT_NAMES)

    return read


def test_all_fields_of_a_picture_are_read(write):
    points = {"wrist": [10, 20.5, 0.7], "index1": [-3, 4]}
    entry = {"keypoints": points, "K": K, "side": "left", "bbox": [1, 2, 30, 40]}
    hands = write({"a.jpg": entry, "b.jpg": {}})
    assert hands["a.jpg"].keypoints == {"wrist": (10, 20.5, 0.7), "index1": (-3, 4, 1)}
    np.testing.assert_array_equal(hands["a.jpg"].K, K)
    assert hands["a.jpg"].side == "left" and hands["a.jpg"].box == (1, 2, 30, 40)
    assert hands["b.jpg"] == Detection(None, {}, None, None)


def test_frames_of_a_video_share_camera_and_side(write):
    frame, other = {"keypoints": {"wrist": [1, 2]}}, {"keypoints": {}, "side": "right"}
    hands = write({"v.mp4": {"K": K, "side": "left", "frames": [frame, None, other]}})["v.mp4"]
    assert isinstance(hands, VideoDetections) and hands.frames[1] is None
    assert [hands.frames[i].side for i in (0, 2)] == ["left", "right"]
    np.testing.assert_array_equal(hands.frames[2].K, K)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"keypoints.json: found damaged JSON .*expected keypoints by picture"),
        ("[]", "found JSON of a list"),
        ({"a.jpg": []}, r"a.jpg: found a list, expected an object with \['keypoints'"),
        ({"a.jpg": {"points": {}}}, "a.jpg: found 'points', expected one of keypoints, K, side"),
        ({"a.jpg": {"keypoints": [1]}}, "found keypoints of a list"),
        ({"a.jpg": {"keypoints": {"elbow": [1, 2]}}}, "found joint 'elbow', expected one of thumb"),
        ({"a.jpg": {"keypoints": {"wrist": [1]}}}, r"a.jpg, wrist: found \[1\], expected \[u, v\]"),
        ({"a.jpg": {"keypoints": {"wrist": [1, "x"]}}}, r"wrist: found \[1, 'x', 1.0\]"),
        ({"a.jpg": {"keypoints": {"wrist": [1, [2]]}}}, r"wrist: found \[1, \[2\]"),
        ({"a.jpg": {"keypoints": {"wrist": None}}}, "wrist: found None"),
        ({"a.jpg": {"keypoints": {"wrist": [1, 2, 1.5]}}}, "found confidence 1.5"),
        ({"a.jpg": {"keypoints": {"wrist": [1, 2, -0.1]}}}, "found confidence -0.1"),
        ('{"a.jpg": {"keypoints": {"wrist": [NaN, 2]}}}', "wrist: found"),
        ('{"a.jpg": {"keypoints": {"wrist": [1e999, 2]}}}', "wrist: found"),
        ('{"a.jpg": {"keypoints": {"wrist": [1e7, 2]}}}', r"wrist: found .*below 1e\+07"),
        ('{"a.jpg": {"keypoints": {"wrist": [1%s, 2]}}}' % ("0" * 400), "wrist: found"),
        ({"a.jpg": {"side": "Left"}}, "found side 'Left', expected 'left' or 'right'"),
        ({"a.jpg": {"K": [[1, 0], [0, 1]]}}, r"expected K as \[\[fx, s, cx\]"),
        ({"a.jpg": {"K": [[0, 0, 1], [0, 1, 1], [0, 0, 1]]}}, "expected K as"),
        ({"a.jpg": {"K": [[1, 0, 1], [0, 1, 1], [0, 0, 2]]}}, "expected K as"),
        ({"a.jpg": {"bbox": [0, 0, -3, 5]}}, r"expected bbox as \[x, y, width, height\]"),
        ({"a.jpg": {"bbox": 5}}, "expected bbox as"),
        ({"v.mp4": {"frames": {}}}, "found frames of a dict, expected a list"),
        ({"v.mp4": {"frames": [3]}}, "v.mp4, frame 0: found a int"),
        ({"v.mp4": {"frames": [], "bbox": [0, 0, 1, 1]}}, "found 'bbox', expected one of frames"),
    ],
)
def test_invalid_content_is_refused_with_its_place(write, content, message):
    with pytest.raises(BadInputError, match=message):
        write(content)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="no such file, expected keypoints by picture"):
        read_keypoints_file(tmp_path / "none.json", JOINT_NAMES)
