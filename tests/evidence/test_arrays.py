"""Evidence as arrays: batches of frames in .npz files."""

import numpy as np
import pytest

from data_prep.toy.hand import make_toy_template
from dhm.errors import BadInputError
from dhm.evidence.files import NUM_POINTS, read_evidence

NAMES = make_toy_template(800).joint_names
K = [[500.0, 0, 60], [0, 500, 40], [0, 0, 1]]


def _depth():
    depth = np.zeros((80, 120))
    depth[10:70, 20:100] = 450 + np.arange(80) * 0.5
    return depth


def test_npz_arrays_are_read_as_frames(tmp_path):
    rng = np.random.default_rng(0)
    joints, pixels = rng.normal(size=(3, 22, 3)), rng.normal(200, 30, size=(3, 2, 22, 2))
    confidence = rng.uniform(0.1, 1, (3, 22))
    confidence[:, 4] = 0
    T = np.tile(np.eye(4), (2, 1, 1))
    np.savez(
        tmp_path / "a.npz", joints=joints, joint_confidence=confidence, keypoints=pixels,
        K=np.tile(K, (2, 1, 1)), T_camera_world=T, joint_names=np.array(NAMES[::-1]),
        depth=np.tile(_depth(), (3, 2, 1, 1)).astype(np.uint16), sequence=np.array(True),
    )  # fmt: skip
    read = read_evidence(tmp_path / "a.npz", NAMES)
    assert read.sequence
    assert len(read.frames) == 3
    frame = read.frames[1]
    np.testing.assert_allclose(frame.confidence, confidence[1, ::-1])
    np.testing.assert_allclose(frame.joints[0], joints[1, -1])
    np.testing.assert_array_equal(frame.views[1].keypoints, pixels[1, 1, ::-1])
    assert len(frame.points) == NUM_POINTS


def test_arrays_may_have_nan_where_nothing_was_measured(tmp_path):
    joints = np.random.default_rng(0).normal(size=(4, len(NAMES), 3))
    confidence = np.ones(joints.shape[:2])
    joints[0, 3], confidence[0, 4], confidence[0, 5] = np.nan, 0, np.nan
    joints[1] = np.nan
    keypoints = np.full((4, 2, len(NAMES), 2), np.nan)
    keypoints[:, 0, :6] = 20
    keypoints[1] = np.nan
    cameras = np.tile(np.array(K), (4, 2, 1, 1))
    cameras[2, 1] = np.nan  # without keypoints: no camera
    cameras[3, 0] = np.nan  # with keypoints: refused
    arrays = {"joints": joints, "joint_confidence": confidence, "keypoints": keypoints}
    np.savez(tmp_path / "a.npz", **arrays, K=cameras)
    read = read_evidence(tmp_path / "a.npz", NAMES)
    assert read.numbers == (0, 2) and read.num_frames == 4
    (refused,) = read.refused
    assert "frame 3, camera 0: found nan" in str(refused)
    first, third = read.frames
    assert np.flatnonzero(first.confidence == 0).tolist() == [3, 4, 5]
    assert [(view.confidence > 0).sum() for view in first.views] == [6, 0]
    assert [view.name for view in third.views] == ["0"]


JOINTS = np.random.default_rng(1).integers(-90, 90, size=(2, 22, 3))
PIXELS = np.random.default_rng(2).integers(0, 99, size=(2, 1, 22, 2))


@pytest.mark.mistake("fit, .npz", "whole numbers, and true and false as confidence", "understood")
def test_whole_numbers_and_truth_are_numbers(tmp_path):
    valid = np.arange(44).reshape(2, 22) % 3 > 0
    np.savez(
        tmp_path / "a.npz", joints=JOINTS, joint_confidence=valid, keypoints=PIXELS,
        K=np.array(K, int)[None], T_camera_world=np.eye(4, dtype=int)[None],
    )  # fmt: skip
    frames = read_evidence(tmp_path / "a.npz", NAMES).frames
    for frame, joints, known, pixels in zip(frames, JOINTS, valid, PIXELS, strict=True):
        np.testing.assert_array_equal(frame.joints, joints * known[:, None])
        np.testing.assert_array_equal(frame.confidence, known)
        np.testing.assert_array_equal(frame.views[0].keypoints, pixels[0])
        np.testing.assert_array_equal(frame.views[0].K, K)


EYES = np.tile(np.eye(3), (1, 1, 1))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "arrays []"),
        pytest.param(
            {"joints": JOINTS[:, :21]},
            "joints as int64 [2, 21, 3], expected numbers [f j 3] with f = 2, j = 22, the "
            "template's joints unless joint_names says which",
            marks=pytest.mark.mistake(
                "fit, .npz",
                "21 joints, in the order of a data set",
                "refused, with joint_names to say",
            ),
        ),
        pytest.param(
            {"joints": JOINTS[0]},
            "joints as int64 [22, 3], expected numbers [f j 3]",
            marks=pytest.mark.mistake(
                "fit, .npz", "one frame without the axis of frames", "refused"
            ),
        ),
        pytest.param(
            {"joints": JOINTS, "joint_names": np.array(["INDEX", *NAMES[1:]])},
            "joint 'INDEX', expected one of thumb_null",
            marks=pytest.mark.mistake("fit, .npz", "another program's joint_names", "refused"),
        ),
        pytest.param(
            {"joints": JOINTS, "joint_names": np.array(["wrist", *NAMES[1:]])},
            "'wrist' twice in joint_names",
            marks=pytest.mark.mistake("fit, .npz", "a name twice in joint_names", "refused"),
        ),
        pytest.param(
            {"joints": JOINTS, "joint_names": np.array(NAMES, object)},
            "pickled objects",
            marks=pytest.mark.mistake("fit, .npz", "joint_names of Python objects", "refused"),
        ),
        ({"joints": np.full((2, 22, 3), np.nan)}, "frame 0: found 0 joints in space"),
        ({"joints": np.full((2, 22, 3), np.inf)}, "joints with infinity"),
        pytest.param(
            {"joint": JOINTS},
            "'joint', expected one of joints, joint_confidence",
            marks=pytest.mark.mistake(
                "fit, .npz", "a misspelt array", "refused, with the known names"
            ),
        ),
        ({"joints": np.float64(3)}, "joints as float64 []"),
        ({"joints": JOINTS[:0]}, "joints of no frame"),
        ({"joints": JOINTS, "sequence": np.zeros(2, bool)}, "sequence as bool [2]"),
        ({"joints": JOINTS, "sequence": "yes"}, "sequence = 'yes'"),
        pytest.param(
            {"joints": JOINTS / 1000, "unit": np.array(["m", "m"])},
            "unit as <U1 [2], expected one value for all frames",
            marks=pytest.mark.mistake("fit, .npz", "a unit for each frame", "refused"),
        ),
        ({"joints": JOINTS, "K": np.zeros((1, 3, 3))}, "K = "),
        pytest.param(
            {"joints": JOINTS, "keypoints": PIXELS},
            "keypoints without K",
            marks=pytest.mark.mistake("fit, .npz", "keypoints or depth maps without K", "refused"),
        ),
        ({"joints": JOINTS, "depth": np.ones((2, 1, 9, 9))}, "depth without K"),
        ({"keypoints": PIXELS, "K": EYES, "joint_confidence": np.ones((2, 22))}, "without joints"),
        pytest.param(
            {"keypoints": PIXELS[:, 0], "K": EYES},
            "keypoints as int64 [2, 22, 2], expected numbers [f c j 2]",
            marks=pytest.mark.mistake(
                "fit, .npz", "one camera without the axis of cameras", "refused"
            ),
        ),
        (
            {"keypoints": PIXELS, "K": EYES[0]},
            "K as float64 [3, 3], expected numbers [f c 3 3] or [c",
        ),
        pytest.param(
            {"keypoints": PIXELS, "K": np.tile(np.eye(3), (2, 1, 1))},
            "keypoints as int64 [2, 1, 22, 2], expected numbers [f c j 2] with f = 2, c = 2",
            marks=pytest.mark.mistake(
                "fit, .npz", "other numbers of cameras or frames in two arrays", "refused"
            ),
        ),
        ({"depth": np.zeros((9, 0, 5, 5)), "K": np.zeros((0, 3, 3))}, "K as float64 [0, 3, 3]"),
    ],
)
def test_invalid_arrays_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BadInputError) as refusal:
        read_evidence(tmp_path / "a.npz", NAMES)
    assert message in str(refusal.value)
    assert str(tmp_path / "a.npz") in str(refusal.value)
