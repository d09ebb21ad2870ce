"""Keypoints files: what they may hold, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.evidence.keypoints import Detection, in_template_order
from dhm.evidence.keypoints_file import KeypointsFile, VideoDetections
from dhm.geometry.hand_rig import JOINT_NAMES

K = [[500, 0, 320], [0, 510, 240], [0, 0, 1]]


@pytest.fixture
def write(tmp_path):
    path = tmp_path / "keypoints.json"

    def read(content):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return KeypointsFile(path, JOINT_NAMES)

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
        ({"a.jpg": {"keypoints": {"wrist": 3}}}, "wrist: found 3"),
        ('{"a.jpg": {}, "a.jpg": {}}', "found damaged JSON \\('a.jpg' twice in one object\\)"),
        ({"a.jpg": {}, "x/../a.jpg": {}}, "found 'a.jpg' and 'x/../a.jpg', which are one name"),
        ({"a.jpg": {"keypoints": {"wrist": [1, 2, 1.5]}}}, "found confidence 1.5"),
        ({"a.jpg": {"keypoints": {"wrist": [1, 2, -0.1]}}}, "found confidence -0.1"),
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
        read = write(content)
        for name in read.unused:
            if isinstance(hands := read[name], VideoDetections):
                hands.of(0)


@pytest.mark.parametrize(
    "missing",
    ["null", "[NaN, NaN, 0]", "[null, null, 0]", "[-1, -1, 0]", "[NaN, NaN]", "[3, 4, NaN]",
     "[3, null, 0.5]", "[0, 0, 0]", "[Infinity, 0, 0.0]"],
)  # fmt: skip
def test_points_that_were_not_measured_are_left_out(write, missing):
    entry = {"keypoints": {"wrist": "MISSING", "index1": [5, 6]}, "K": None}
    video = {"K": None, "side": None, "frames": [entry]}
    content = json.dumps({"a.jpg": entry | {"bbox": None}, "v.mp4": video})
    hands = write(content.replace('"MISSING"', missing))
    for found in (hands["a.jpg"], hands["v.mp4"].of(0)):
        assert found == Detection(None, {"index1": (5, 6, 1)}, None, None)


def test_points_of_a_detector_may_be_missing_as_well():
    nan = np.float32(np.nan)
    points = {"wrist": (nan, nan, 1.0), "index1": (np.float32(5), 6, 0.5), "pinky1": (1, 2, 0)}
    coordinates, confidence = in_template_order(points, JOINT_NAMES, 2)
    assert confidence.sum() == 0.5 and np.isfinite(coordinates).all()


def test_one_bad_entry_or_frame_costs_no_other(write):
    bad, good = {"keypoints": {"nose": [1, 2]}}, {"keypoints": {"wrist": [1, 2]}}
    hands = write({"bad.jpg": bad, "good.jpg": good, "v.mp4": {"frames": [bad, good]}, "n": None})
    assert hands["good.jpg"].keypoints == hands["v.mp4"].of(1).keypoints == {"wrist": (1, 2, 1)}
    assert hands["n"] is None and hands["v.mp4"].of(7) is None
    for refused in (lambda: hands["bad.jpg"], lambda: hands["v.mp4"].of(0)):
        with pytest.raises(BadInputError, match="'nose'"):
            refused()


@pytest.fixture
def side_of(tmp_path, monkeypatch):
    """The side that a keypoints file in a folder gives for each picture, "" for none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def look(names, *pictures, folder="."):
        path = tmp_path / folder / "k.json"
        path.parent.mkdir(exist_ok=True)
        sides = ("left", "right")
        path.write_text(json.dumps({name: {"side": sides[i]} for i, name in enumerate(names)}))
        found = KeypointsFile(path, JOINT_NAMES, [Path(one) for one in pictures])
        hands = [found.of(Path(one)) for one in pictures]
        return "".join("-" if hand is None else hand.side[0] for hand in hands)

    return look


@pytest.mark.parametrize(
    ("names", "pictures", "sides"),
    [
        (["./p/a.jpg"], ["p/a.jpg"], "l"),
        (["p/a.jpg"], ["./p/../p/a.jpg"], "l"),
        (["p/a.jpg"], ["/x/y/p/a.jpg"], "l"),
        (["a.jpg"], ["/x/y/p/a.jpg"], "l"),
        (["./a.jpg"], ["/x/y/p/a.jpg"], "l"),
        (["q/a.jpg"], ["/x/y/p/a.jpg"], "-"),
        (["a.jpg", "p/a.jpg"], ["/x/p/a.jpg"], "r"),
        (["p/a.jpg", "q/a.jpg"], ["/x/q/a.jpg", "/x/p/a.jpg"], "rl"),
        (["p/a.jpg", "a.jpg"], ["/x/q/a.jpg", "/x/p/a.jpg"], "rl"),
        (["a.jpg"], ["a.jpg", "/x/a.jpg"], "l-"),  # the first is named exactly
        (["~/p/a.jpg"], ["home/p/a.jpg"], "l"),
        (["H\u00e4nde.jpg"], ["p/Ha\u0308nde.jpg"], "l"),
        (["Ha\u0308nde/a.jpg"], ["p/H\u00e4nde/a.jpg"], "l"),
    ],
)
def test_a_picture_is_found_by_its_path_or_the_end_of_it(side_of, names, pictures, sides):
    assert side_of(names, *pictures) == sides


def test_paths_may_be_relative_to_the_file(side_of):
    assert side_of(["../p/a.jpg", "../q/a.jpg"], "q/a.jpg", "p/a.jpg", folder="k") == "rl"


def test_an_entry_of_two_pictures_is_refused(side_of):
    message = r"k\.json, p/a\.jpg: found the entry 'a\.jpg', which 2 pictures share, expected"
    with pytest.raises(BadInputError, match=message):
        side_of(["a.jpg"], "p/a.jpg", "q/a.jpg")


def test_entries_for_no_picture_are_known(tmp_path):
    (tmp_path / "k.json").write_text('{"a.jpg": {}, "x/a.jpg": {}, "b.jpg": {}}')
    found = KeypointsFile(tmp_path / "k.json", JOINT_NAMES, [Path("x/a.jpg")])
    assert found.unused == ("b.jpg",)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="no such file, expected keypoints by picture"):
        KeypointsFile(tmp_path / "none.json", JOINT_NAMES)
