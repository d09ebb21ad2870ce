"""Videos made here and predicted: frames, gaps, the filter, damaged files."""

import errno
import json

import cv2
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.photos.predict_task import PredictOptions, predict_files
from dhm.photos.video_files import VideoReader, whole_video

FPS = 20.0
BOX = PredictOptions(bbox=(60, 40, 100, 90))
K = [[220.0, 0, 119.5], [0, 220, 89.5], [0, 0, 1]]


def _frames(count):
    rng = np.random.default_rng(0)
    still = cv2.resize(rng.integers(0, 255, (9, 12, 3), np.uint8), (240, 180))
    for _ in range(count):
        noisy = still + rng.normal(0, 25, still.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "clip.mp4"
    with whole_video(path, FPS) as writer:
        for frame in _frames(24):
            writer.write(frame)
    return path


def _overlay(path):
    reader = VideoReader(path)
    return reader.fps, list(reader)


def test_a_video_comes_back(video):
    fps, frames = _overlay(video)
    assert fps == pytest.approx(FPS) and len(frames) == 24
    original = np.stack(list(_frames(24))).astype(float)
    blurred = [cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 4) for frame in frames]
    wanted = [cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 4) for frame in original]
    assert np.abs(np.stack(blurred) - np.stack(wanted)).mean() < 5


def test_every_frame_has_a_hand_and_a_picture(predictor, video, tmp_path):
    out = tmp_path / "out"
    options = BOX._replace(mesh_every=10)
    assert predict_files(predictor, [video], out, options) == 0
    content = json.loads((out / "clip.json").read_text())
    assert [frame["frame"] for frame in content["frames"]] == list(range(24))
    assert content["frames"][-1]["time_s"] == pytest.approx(23 / FPS)
    names = content["joint_names"], content["angle_names"]
    assert names[0] == list(predictor.template.joint_names) and len(names[1]) == 28
    hand = content["frames"][3]["hand"]
    assert np.shape(hand["joints"]) == (len(names[0]), 3) and len(hand["angles_rad"]) == 28
    fps, frames = _overlay(out / "clip_overlay.mp4")
    assert fps == pytest.approx(FPS) and len(frames) == 24
    assert frames[0].shape == (256, 240 + 256, 3)
    meshes = sorted(path.name for path in (out / "clip_meshes").glob("*.obj"))
    assert meshes == [f"frame_{number:06d}.obj" for number in (0, 10, 20)]
    assert not list(out.rglob("*.partial*"))


def test_the_filter_calms_a_still_hand(predictor, video, tmp_path, monkeypatch):
    class Raw:
        def __call__(self, value, seconds):
            return np.asarray(value)

        def reset(self):
            return None

    angles = {}
    for name in ("raw", "filtered"):
        if name == "raw":
            monkeypatch.setattr("dhm.photos.predict_video.OneEuroFilter", Raw)
        predict_files(predictor, [video], tmp_path / name, BOX)
        monkeypatch.undo()
        content = json.loads((tmp_path / name / "clip.json").read_text())
        angles[name] = np.array([frame["hand"]["angles_rad"] for frame in content["frames"]])
    assert angles["raw"].std(axis=0).mean() > 1e-6
    filtered, raw = (angles[name][8:].std(axis=0).mean() for name in ("filtered", "raw"))
    assert filtered < 0.8 * raw
    np.testing.assert_allclose(angles["filtered"][0], angles["raw"][0], atol=1e-5)


def test_frames_without_a_hand_stay_and_the_filter_starts_anew(predictor, video, tmp_path):
    joints = predictor.decode(np.zeros(28))[1]
    turn = cv2.Rodrigues(np.array([1.3, 0.4, -0.2]))[0]
    frames = []
    for number in range(20):  # four fewer than the video has
        depth = 450.0 if number < 10 else 900.0
        points = (joints - joints.mean(axis=0)) @ turn.T + [0, 0, depth]
        pixels = points @ np.array(K).T
        named = zip(predictor.template.joint_names, pixels[:, :2] / pixels[:, 2:], strict=True)
        frames.append({"keypoints": {name: point.tolist() for name, point in named}})
    frames[9] = None
    file = tmp_path / "keypoints.json"
    file.write_text(json.dumps({"clip.mp4": {"K": K, "frames": frames}}))
    options = PredictOptions(keypoints=file)
    assert predict_files(predictor, [video], tmp_path / "out", options) == 0
    found = json.loads((tmp_path / "out" / "clip.json").read_text())["frames"]
    missing = [frame["frame"] for frame in found if frame["hand"] is None]
    assert missing == [9, 20, 21, 22, 23]
    assert {frame["hand"]["frame_of_reference"] for frame in found[:9]} == {"camera"}
    depth = [None if frame["hand"] is None else np.mean(frame["hand"]["joints"], axis=0)[2]
             for frame in found]  # fmt: skip
    # The model's own angles are not those of the keypoints: near, not exact.
    assert depth[8] == pytest.approx(450, rel=0.1)
    assert depth[10] == pytest.approx(900, rel=0.1)  # at once, after the gap
    assert len(_overlay(tmp_path / "out" / "clip_overlay.mp4")[1]) == 24


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "found an empty file, expected a video"), (b"no video", "found a file that does not")],
)
def test_what_is_no_video_is_refused_and_nothing_is_left(predictor, tmp_path, data, message):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(BadInputError, match=message):
        VideoReader(tmp_path / "a.mp4")
    assert predict_files(predictor, [tmp_path / "a.mp4"], tmp_path / "out", BOX) == 1
    assert not list((tmp_path / "out").iterdir())


def test_a_video_without_a_hand_is_refused_and_nothing_is_left(predictor, video, tmp_path):
    options = PredictOptions(detector=lambda image: [])
    assert predict_files(predictor, [video], tmp_path / "out", options) == 1
    assert not list((tmp_path / "out").iterdir())


def test_a_cut_video_gives_what_there_is_or_is_refused(predictor, video, tmp_path):
    data = video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    refused = predict_files(predictor, [tmp_path / "cut.mp4"], tmp_path / "out", BOX)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == (set() if refused else {"cut.json", "cut_overlay.mp4"})


def test_a_folder_that_cannot_be_written_is_an_error_of_the_disk(tmp_path):
    frame = np.zeros((20, 20, 3), np.uint8)
    with (
        pytest.raises(OSError, match="cannot be written as a video") as refusal,
        whole_video(tmp_path / "none" / "a.mp4", FPS) as writer,
    ):
        writer.write(frame)
    assert refusal.value.errno == errno.EIO
