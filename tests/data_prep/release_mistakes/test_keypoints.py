"""Mistakes in the keypoints of a capture in the released layout."""

import logging
import re
import shutil

import numpy as np
import pytest

from dhm.formats.release_annotations import (
    KEYPOINT_NAMES,
    Keypoints,
    read_keypoints,
    read_krt,
    write_keypoints,
)
from tests.data_prep.release_mistakes.changes import (
    ELSEWHERE,
    Change,
    assert_refused,
    names,
)


def keypoints(change) -> Change:
    """Changes the right hand's 21 points of every frame, and which are valid."""

    def apply(capture):
        for path in capture.glob("annotations/keypoints/*/*.pts"):
            found = read_keypoints(path)
            points, valid = change(found.points[:21].copy(), found.valid[:21].copy())
            count = len(points)
            write_keypoints(path, Keypoints(
                np.concatenate([points, np.zeros((42 - count, 3))]),
                np.concatenate([valid, np.zeros(42 - count, bool)]), np.ones(42), np.full(42, 8.0),
            ))  # fmt: skip

    return apply


def without_depth(change: Change) -> Change:
    def apply(capture):
        shutil.rmtree(capture / "annotations" / "depthmaps")
        change(capture)

    return apply


def reordered(order) -> Change:
    """Writes at each index the joint of another one."""
    return keypoints(lambda points, valid: (points[order], valid[order]))


def texts(change) -> Change:
    def apply(capture):
        for path in capture.glob("annotations/keypoints/*/*.pts"):
            path.write_text("".join(change(line) + "\n" for line in path.read_text().splitlines()))

    return apply


def _index(name):
    return KEYPOINT_NAMES.index(f"b_r_{name}")


WRIST_FIRST = [20, *range(20)]
PALM_TO_TIP = [*(4 * finger + part for finger in range(5) for part in (3, 2, 1, 0)), 20]
LITTLE_FINGER_FIRST = [*(4 * finger + part for finger in range(4, -1, -1) for part in range(4)), 20]
MIDDLE_AND_RING = [*range(8), *range(12, 16), *range(8, 12), *range(16, 21)]
RIGHT = np.array([2 * 120.0, 0, 0])  # a mirror in the middle of the toy capture's hand

REFUSED_KEYPOINTS = [
    pytest.param(
        keypoints(lambda points, valid: (points / 1000, valid)),
        "distances are 0.00[0-9]+ times the template's, as of a file in metres",
        marks=pytest.mark.mistake(
            "capture, keypoints", "metres instead of mm", "refused, with the unit"
        ),
    ),
    pytest.param(
        keypoints(lambda points, valid: (points / 10, valid)),
        "as of a file in centimetres",
        marks=pytest.mark.mistake(
            "capture, keypoints", "centimetres instead of mm", "refused, with the unit"
        ),
    ),
    pytest.param(
        texts(lambda line: line.replace(" ", ",")),
        r"12 x frame whose keypoint file cannot be used, first: .*\.pts:1: found '0,",
        marks=pytest.mark.mistake(
            "capture, keypoints", "commas between the numbers", "refused, with the line"
        ),
    ),
    pytest.param(
        texts(lambda line: " ".join(line.split()[:4])),
        r"\.pts:1: found 3 values, expected 5 numbers of a keypoint \(x y z score views\)",
        marks=pytest.mark.mistake(
            "capture, keypoints", "no score and views", "refused, with the line"
        ),
    ),
    pytest.param(
        names("annotations/keypoints/*/*.pts", lambda path: f"{path.stem[-4:]}.pts"),
        "12 x frame without a keypoint file",
        marks=pytest.mark.mistake(
            "capture, keypoints", "0007.pts instead of keypoints0007.pts", "refused"
        ),
    ),
    pytest.param(
        keypoints(lambda points, valid: (points - points[20], valid)),
        f"({ELSEWHERE}).*cameras map the world",
        marks=pytest.mark.mistake(
            "capture, keypoints",
            "joints about the wrist instead of the world",
            "refused, with the convention",
        ),
    ),
]


@pytest.mark.parametrize(("change", "said"), REFUSED_KEYPOINTS)
def test_wrong_keypoints_are_refused(capture, prepared, change, said):
    change(capture)
    assert_refused(prepared(), said)


DOUBTED_KEYPOINTS = [
    pytest.param(
        reordered(WRIST_FIRST),
        "another order",
        marks=pytest.mark.mistake("capture, keypoints", "the wrist first", "warning"),
    ),
    pytest.param(
        reordered(PALM_TO_TIP),
        "another order",
        marks=pytest.mark.mistake(
            "capture, keypoints", "fingers from the palm to the tip", "warning"
        ),
    ),
    pytest.param(
        reordered(LITTLE_FINGER_FIRST),
        "another order",
        marks=pytest.mark.mistake("capture, keypoints", "the little finger first", "warning"),
    ),
    pytest.param(
        reordered(MIDDLE_AND_RING),
        "way along the four knuckles .*another order",
        marks=pytest.mark.mistake(
            "capture, keypoints", "two fingers that changed places", "warning"
        ),
    ),
    pytest.param(
        texts(lambda line: f"{int(line.split()[0]) + 1} {line.split(' ', 1)[1]}"),
        "another order",
        marks=pytest.mark.mistake("capture, keypoints", "indices from 1 instead of 0", "warning"),
    ),
    pytest.param(
        without_depth(keypoints(lambda points, valid: (RIGHT + points * [-1, 1, 1], valid))),
        "The fingers of 0001_RT_fist bend to the back of a right hand: .* left hand",
        marks=pytest.mark.mistake(
            "capture, keypoints",
            "a left hand's joints, or one axis mirrored",
            "warning, where fingers are bent",
        ),
    ),
]


@pytest.mark.parametrize(("change", "said"), DOUBTED_KEYPOINTS)
def test_doubtful_keypoints_are_said(capture, prepared, caplog, change, said):
    change(capture)
    assert prepared()[0] == 0
    assert re.search(said, caplog.text), caplog.text


def _in_the_first_camera(capture):
    camera = next(iter(read_krt(capture / "annotations" / "KRT_512").values()))
    T = camera.T_camera_world
    keypoints(lambda points, valid: (points @ T[:3, :3].T + T[:3, 3], valid))(capture)


@pytest.mark.mistake(
    "capture, keypoints", "joints in a camera's frame instead of the world", "refused, likewise"
)
def test_joints_of_a_camera_s_frame_are_refused(capture, prepared):
    _in_the_first_camera(capture)
    assert_refused(prepared(), f"({ELSEWHERE}).*cameras map the world")


@pytest.mark.mistake(
    "capture, keypoints",
    "the numbers of other frames",
    "refused where depth maps show it; without them not noticed: pixels are not looked at",
)
def test_keypoints_of_other_frames(capture, prepared, caplog):
    *_, first, second = sorted(capture.glob("annotations/keypoints/*/*.pts"))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    assert_refused(prepared(), "depth map that does not show the hand|scan")
    shutil.rmtree(capture / "annotations" / "depthmaps")
    shutil.rmtree(capture / "annotations" / "3D_scans_decimated")
    assert prepared()[0] == 0
    warnings = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert all(said.startswith("no ") for said in warnings)  # depth map, scan


def test_of_a_capture_without_mistakes_nothing_is_doubted(prepared, caplog):
    assert prepared()[0] == 0
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
