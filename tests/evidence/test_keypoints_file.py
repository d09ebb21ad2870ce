"""Keypoints files: what they may hold, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.evidence.keypoints import Detection, in_picture, in_template_order
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
        pytest.param(
            "",
            r"keypoints.json: found damaged JSON .*expected keypoints by picture",
            marks=pytest.mark.mistake("predict, keypoints", "an empty file, or no JSON", "refused"),
        ),
        pytest.param(
            "[]",
            "found JSON of a list, expected keypoints by picture",
            marks=pytest.mark.mistake(
                "predict, keypoints", "a list of hands instead of hands by picture", "refused"
            ),
        ),
        pytest.param(
            {"a.jpg": [{"keypoints": {}}, {"keypoints": {}}]},
            r"a.jpg: found a list, expected an object with \['keypoints'",
            marks=pytest.mark.mistake(
                "predict, keypoints", "several hands of a picture", "refused"
            ),
        ),
        pytest.param(
            {"a.jpg": {"points": {}}},
            "a.jpg: found 'points', expected one of keypoints, K, side",
            marks=pytest.mark.mistake(
                "predict, keypoints", "a misspelt field", "refused, with the known names"
            ),
        ),
        pytest.param(
            {"a.jpg": {"keypoints": [[1, 2]] * 21}},
            "found keypoints of a list, expected points by joint name",
            marks=pytest.mark.mistake(
                "predict, keypoints", "21 points in an order instead of by name", "refused"
            ),
        ),
        pytest.param(
            {"a.jpg": {"keypoints": {"INDEX_FINGER_MCP": [1, 2]}}},
            "found joint 'INDEX_FINGER_MCP', expected one of thumb",
            marks=pytest.mark.mistake(
                "predict, keypoints",
                "joint names of another program",
                "refused, with the known names",
            ),
        ),
        ({"a.jpg": {"keypoints": {"wrist": [1]}}}, r"a.jpg, wrist: found \[1\], expected \[u, v\]"),
        ({"a.jpg": {"keypoints": {"wrist": [1, "x"]}}}, r"wrist: found \[1, 'x', 1.0\]"),
        ({"a.jpg": {"keypoints": {"wrist": [1, [2]]}}}, r"wrist: found \[1, \[2\]"),
        ({"a.jpg": {"keypoints": {"wrist": 3}}}, "wrist: found 3"),
        ('{"a.jpg": {}, "a.jpg": {}}', "found damaged JSON \\('a.jpg' twice in one object\\)"),
        ({"a.jpg": {}, "x/../a.jpg": {}}, "found 'a.jpg' and 'x/../a.jpg', which are one name"),
        pytest.param(
            {"a.jpg": {"keypoints": {"wrist": [1, 2, 95]}}},
            "found confidence 95.0, expected .* the confidence from 0 to 1",
            marks=pytest.mark.mistake(
                "predict, keypoints", "a confidence in percent, or a third coordinate", "refused"
            ),
        ),
        ({"a.jpg": {"keypoints": {"wrist": [1, 2, -0.1]}}}, "found confidence -0.1"),
        ('{"a.jpg": {"keypoints": {"wrist": [1e999, 2]}}}', "wrist: found"),
        ('{"a.jpg": {"keypoints": {"wrist": [1e7, 2]}}}', r"wrist: found .*below 1e\+07"),
        ('{"a.jpg": {"keypoints": {"wrist": [1%s, 2]}}}' % ("0" * 400), "wrist: found"),
        pytest.param(
            {"a.jpg": {"side": "Left"}},
            "found side 'Left', expected 'left' or 'right'",
            marks=pytest.mark.mistake("predict, keypoints", "'Left' as side", "refused"),
        ),
        ({"a.jpg": {"K": [[1, 0], [0, 1]]}}, r"expected K as \[\[fx, s, cx\]"),
        ({"a.jpg": {"K": [[0, 0, 1], [0, 1, 1], [0, 0, 1]]}}, "expected K as"),
        ({"a.jpg": {"K": [[1, 0, 1], [0, 1, 1], [0, 0, 2]]}}, "expected K as"),
        pytest.param(
            {"a.jpg": {"K": np.transpose(K).tolist()}},
            r"found K = \[\[500.0, 0.0, 0.0\], .*expected K as \[\[fx, s, cx\]",
            marks=pytest.mark.mistake(
                "predict, keypoints", "K transposed, or [fx, fy, cx, cy]", "refused"
            ),
        ),
        ({"a.jpg": {"K": [500, 510, 320, 240]}}, r"expected K as \[\[fx, s, cx\]"),
        ({"a.jpg": {"size": [640]}}, r"expected size as \[width, height\] of the picture"),
        ({"a.jpg": {"size": [640, 0]}}, r"found size \[640, 0\], expected size as"),
        ({"a.jpg": {"size": [640.5, 480]}}, r"found size \[640.5, 480\], expected size as"),
        ({"a.jpg": {"size": "640x480"}}, r"found '640x480', expected size as"),
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


@pytest.mark.mistake(
    "predict, keypoints", "null, NaN or a confidence of 0 for what was not found", "understood"
)
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


@pytest.mark.mistake(
    "predict, keypoints", "[-1, -1] or [0, 0] for what was not found, with or without a confidence",
    "understood: not measured, with a note",
)  # fmt: skip
def test_placeholders_are_not_measured_and_named(write):
    points = {"wrist": [-1, -1], "thumb1": [0, 0], "index1": [0.0, 0.0, 0.9], "index2": [-1, -1, 1],
              "ring1": [0, 0], "ring2": [0, 0], "pinky1": [0, 3], "pinky2": [-1, -1.5],
              "pinky3": [0, 0, 0]}  # fmt: skip
    found = write({"a.jpg": {"keypoints": points}, "v.mp4": {"frames": [{"keypoints": points}]}})
    expected = {"pinky1": (0, 3, 1), "pinky2": (-1, -1.5, 1)}
    note = (
        "Keypoints at (0, 0) or (-1, -1) count as not measured: "
        "wrist, thumb1, index1, index2, ring1, ..."
    )
    for hand in (found["a.jpg"], found["v.mp4"].of(0)):
        assert hand.keypoints == expected and hand.notes == (f"{note}.",)


SEEN = {"keypoints": {"wrist": [10, 20.5, 0.7], "index1": [-3, 4]}, "bbox": [1, 2, 30, 40], "K": K}


@pytest.mark.mistake(
    "predict, keypoints", "keypoints, box and K of a smaller or larger copy of the picture",
    'understood with `"size"`; without it doubtful by K, or not noticed',
)  # fmt: skip
def test_coordinates_of_another_size_are_scaled_about_the_pixels_edges(write):
    """The edge between two pixels stays where it is: x' + 0.5 = s (x + 0.5)."""
    found = write({"a.jpg": SEEN | {"size": [640, 480]}})["a.jpg"]
    assert found.size == (640, 480)
    large = in_picture("a.jpg", found, (960, 1280))
    assert large.keypoints == {"wrist": (20.5, 41.5, 0.7), "index1": (-5.5, 8.5, 1)}
    assert large.box == (2.5, 4.5, 60, 80) and large.size is None
    np.testing.assert_allclose(large.K, [[1000, 0, 640.5], [0, 1020, 480.5], [0, 0, 1]])
    assert large.notes == (
        "Keypoints, box and K are for 640 x 480 pixels by their file: they are scaled by 2 to the "
        "picture's 1280 x 960.",
    )
    back = in_picture("a.jpg", large._replace(size=(1280, 960)), (480, 640))
    for name, point in found.keypoints.items():
        assert back.keypoints[name] == pytest.approx(point)
    np.testing.assert_allclose(back.K, found.K)
    assert in_picture("a.jpg", found, (480, 640)) == found._replace(size=None)
    # A third of 1000 x 667, rounded.
    assert in_picture("a.jpg", found._replace(size=(333, 222)), (667, 1000)).size is None
    assert in_picture("a.jpg", found._replace(size=(1000, 667)), (222, 333)).size is None


@pytest.mark.mistake(
    "predict, keypoints", "parts of the picture's size instead of pixels, in keypoints, box or K",
    'understood with `"size": [1, 1]`; refused without',
)  # fmt: skip
def test_parts_of_a_picture_are_understood_if_the_file_says_so(write):
    """0 and 1 are the picture's edges, half a pixel outside the centres of its outer pixels."""
    corners = {"wrist": [0.0, 1.0], "index1": [0.5, 0.25]}
    K_parts = [[0.8, 0, 0.5], [0, 1.0, 0.5], [0, 0, 1]]
    entry = {"keypoints": corners, "bbox": [0.25, 0, 0.5, 1], "K": K_parts, "size": [1, 1]}
    found = in_picture("a.jpg", write({"a.jpg": entry})["a.jpg"], (480, 640))
    assert found.keypoints == {"wrist": (-0.5, 479.5, 1), "index1": (319.5, 119.5, 1)}
    assert found.box == (159.5, -0.5, 320, 480)
    np.testing.assert_allclose(found.K, [[512, 0, 319.5], [0, 480, 239.5], [0, 0, 1]])
    assert found.notes == ("Keypoints, box and K are parts of the picture by their file.",)


def test_the_frames_of_a_video_share_a_size(write):
    frames = [{"keypoints": {"wrist": [1, 2]}}, {"size": [320, 240]}]
    hands = write({"v.mp4": {"size": [640, 480], "frames": frames}})["v.mp4"]
    assert [hands.of(i).size for i in range(2)] == [(640, 480), (320, 240)]


@pytest.mark.mistake(
    "predict, keypoints", "a size of another shape, or of the picture before EXIF turned it",
    "refused",
)  # fmt: skip
@pytest.mark.parametrize("size", [(480, 640), (640, 360), (641, 478)])
def test_coordinates_of_another_shape_are_refused(size):
    found = Detection(None, {}, None, size=size)
    message = (
        rf'a.jpg: found "size": \[{size[0]}, {size[1]}\], expected that of the upright picture'
    )
    with pytest.raises(BadInputError, match=message):
        in_picture("a.jpg", found, (480, 640))


@pytest.mark.mistake("predict, detectors", "NaN, or points without a confidence", "understood")
def test_points_of_a_detector_may_be_missing_as_well():
    nan = np.float32(np.nan)
    points = {"wrist": (nan, nan, 1.0), "index1": (np.float32(5), 6, 0.5), "pinky1": (1, 2, 0)}
    coordinates, confidence = in_template_order(points, JOINT_NAMES, 2)
    assert confidence.sum() == 0.5 and np.isfinite(coordinates).all()
    coordinates, confidence = in_template_order({"wrist": (3, 4)}, JOINT_NAMES, 2)
    assert coordinates[JOINT_NAMES.index("wrist")].tolist() == [3, 4] and confidence.sum() == 1


@pytest.mark.mistake(
    "predict, keypoints", "one bad entry or frame", "left out; the others are used"
)
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


@pytest.mark.mistake(
    "predict, keypoints", "names with other folders, ~, ./ or umlauts of another system",
    "understood",
)  # fmt: skip
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


@pytest.mark.mistake("predict, keypoints", "a name that two pictures share", "refused for both")
def test_an_entry_of_two_pictures_is_refused(side_of):
    message = r"k\.json, p/a\.jpg: found the entry 'a\.jpg', which 2 pictures share, expected"
    with pytest.raises(BadInputError, match=message):
        side_of(["a.jpg"], "p/a.jpg", "q/a.jpg")


def test_entries_for_no_picture_are_known(tmp_path):
    (tmp_path / "k.json").write_text('{"a.jpg": {}, "x/a.jpg": {}, "b.jpg": {}}')
    found = KeypointsFile(tmp_path / "k.json", JOINT_NAMES, [Path("x/a.jpg")])
    assert found.unused == ("b.jpg",)


@pytest.mark.mistake("predict, keypoints", "a missing file, or a folder", "refused")
def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="no such file, expected keypoints by picture"):
        KeypointsFile(tmp_path / "none.json", JOINT_NAMES)
    with pytest.raises(BadInputError, match="found a folder, expected keypoints by picture"):
        KeypointsFile(tmp_path, JOINT_NAMES)
