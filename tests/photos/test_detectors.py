"""The MediaPipe adapter against stand-ins with the shapes of MediaPipe's classes."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dhm.errors import BadInputError
from dhm.geometry.hand_rig import JOINT_NAMES
from dhm.photos.detectors import MEDIAPIPE_LANDMARKS, Detection, MediapipeDetector, largest
from tests.launcher import launch_here


@dataclass
class NormalizedLandmark:
    x: float | None = None
    y: float | None = None
    z: float | None = None
    visibility: float | None = None
    presence: float | None = None
    name: str | None = None


@dataclass
class Category:
    index: int | None = None
    score: float | None = None
    display_name: str | None = None
    category_name: str | None = None


@dataclass
class HandLandmarkerResult:
    handedness: list
    hand_landmarks: list
    hand_world_landmarks: list


class _Landmarker:
    result = HandLandmarkerResult([], [], [])
    closed = False
    seen = None

    @classmethod
    def create_from_options(cls, options):
        if options.base_options.model_asset_path.endswith("bad.task"):
            raise RuntimeError("Unable to open zip archive.")
        assert options.running_mode == "IMAGE" and options.num_hands > 1
        return cls()

    def close(self):
        type(self).closed = True

    def detect(self, image):
        type(self).seen = image
        return self.result


@pytest.fixture
def package(monkeypatch):
    vision = SimpleNamespace(
        HandLandmarker=_Landmarker,
        HandLandmarkerOptions=lambda **fields: SimpleNamespace(**fields),
        RunningMode=SimpleNamespace(IMAGE="IMAGE"),
    )
    tasks = SimpleNamespace(vision=vision, BaseOptions=lambda **f: SimpleNamespace(**f))
    fake = SimpleNamespace(
        tasks=tasks,
        Image=lambda image_format, data: SimpleNamespace(format=image_format, data=data),
        ImageFormat=SimpleNamespace(SRGB="SRGB"),
    )
    monkeypatch.setitem(sys.modules, "mediapipe", fake)


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "hand_landmarker.task"
    path.write_bytes(b"model")
    return path


@pytest.mark.mistake(
    "predict, detectors", "a detector that returns None, or hands without a box", "understood"
)
def test_the_largest_hand_of_any_detector_is_chosen():
    small = Detection(None, {"wrist": (0, 0, 1), "index1": (9, 9, 1)}, None)
    large = Detection(None, {"wrist": (0, 0), "index1": (90, 9), "pinky1": (np.nan, 2)}, None)
    assert largest([small, large]) is large and largest(None) is None
    assert largest([small, small._replace(box=(0, 0, 5, 5)), Detection(None, {}, None)]) is small


def test_the_largest_hand_is_chosen():
    hands = [Detection((0, 0, 10, 10), {"wrist": (1, 2, 0.5)}, "left"),
             Detection((5, 5, 30, 20), {"wrist": (9, 9, 0.8)}, None)]  # fmt: skip
    assert largest(hands) is hands[1] and largest([]) is None


def test_landmarks_become_joints_in_pixels(package, model_file, monkeypatch):
    marks = [NormalizedLandmark(x=(10 + i) / 200, y=(20 + 2 * i) / 100) for i in range(21)]
    hands = HandLandmarkerResult([[Category(score=0.9, category_name="Left")]], [marks], [[]])
    monkeypatch.setattr(_Landmarker, "result", hands)
    image = np.zeros((100, 200, 3), np.uint8)[:, ::-1]
    (found,) = MediapipeDetector(model_file)(image)
    assert found.side == "left"
    # In MediaPipe's documented order: 0 wrist, 1 thumb CMC, 4 thumb tip, 5 index MCP, 20 pinky tip.
    for index, name in {0: "wrist", 1: "thumb1", 4: "thumb_null", 5: "index1", 6: "index2",
                        12: "middle_null", 17: "pinky1", 20: "pinky_null"}.items():  # fmt: skip
        assert found.keypoints[name] == pytest.approx((9.5 + index, 19.5 + 2 * index, 0.9))
    assert found.box == pytest.approx((9.5, 19.5, 20, 40))
    assert _Landmarker.seen.format == "SRGB" and _Landmarker.seen.data.flags.c_contiguous


def test_every_landmark_is_a_joint_of_the_hand():
    assert len(set(MEDIAPIPE_LANDMARKS)) == 21
    assert set(MEDIAPIPE_LANDMARKS) == set(JOINT_NAMES) - {"thumb0"}


def test_the_command_ends_the_detector(package, model_file, exported_run, tmp_path, monkeypatch):
    monkeypatch.setattr(_Landmarker, "closed", False)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    done = launch_here(
        tmp_path, "predict", "--workdir", str(exported_run), "--images", "a.png", "--out", "o",
        "--detector", str(model_file),
    )  # fmt: skip
    assert done.returncode == 1 and _Landmarker.closed  # no hand in the picture


def test_a_picture_without_a_hand_gives_no_detection(package, model_file):
    assert MediapipeDetector(model_file)(np.zeros((8, 8, 3), np.uint8)) == []


@pytest.mark.mistake(
    "predict, detectors", "--detector without MediaPipe", "refused, with the command"
)
def test_a_missing_package_is_refused_with_what_to_install(model_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(BadInputError, match=r"--detector: found no package .*pip install 'media"):
        MediapipeDetector(model_file)


@pytest.mark.mistake("predict, detectors", "a file that is missing, or no model", "refused")
def test_an_invalid_model_file_is_refused(package, tmp_path):
    with pytest.raises(BadInputError, match="no such file, expected MediaPipe's hand_landmarker"):
        MediapipeDetector(tmp_path / "none.task")
    (tmp_path / "bad.task").write_bytes(b"no zip")
    with pytest.raises(BadInputError, match=r"bad.task: found a file that MediaPipe cannot use"):
        MediapipeDetector(tmp_path / "bad.task")
