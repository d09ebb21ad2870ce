"""Hands of videos: files in and out, frames without a hand, the filter, damaged files."""

import errno
import json

import cv2
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.photos.predict import PredictOptions, predict_files
from dhm.photos.video import OneEuroFilter
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
    return reader.fps, [frame.image for frame in reader]


def test_a_written_video_is_read_back(video):
    fps, frames = _overlay(video)
    assert fps == pytest.approx(FPS) and len(frames) == 24
    original = np.stack(list(_frames(24))).astype(float)
    blurred = [cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 4) for frame in frames]
    wanted = [cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 4) for frame in original]
    assert np.abs(np.stack(blurred) - np.stack(wanted)).mean() < 5


def test_every_frame_gets_a_hand_and_an_overlay(predictor, video, tmp_path):
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


PHONE = np.cumsum([0, 33, 34, 33, 100, 17, 16, 250, 33, 33, 500, 41, 33]) / 1000
"""Times of a film of variable rate, seconds."""


@pytest.fixture(scope="module")
def phone_film(tmp_path_factory):
    path = tmp_path_factory.mktemp("videos") / "phone.mp4"
    with whole_video(path, FPS) as writer:
        for frame, seconds in zip(_frames(len(PHONE)), PHONE + 2.5, strict=True):
            writer.write(frame, seconds)
    return path


def test_frames_have_the_times_of_the_file(phone_film, video):
    found = np.array([frame.seconds for frame in VideoReader(phone_film)])
    np.testing.assert_allclose(found, PHONE, atol=2e-4)
    steady = [frame.seconds for frame in VideoReader(video)]
    np.testing.assert_allclose(steady, np.arange(24) / FPS, atol=1e-6)


@pytest.mark.mistake(
    "predict, videos", "a film of a phone, whose rate varies",
    "understood: the frames have the file's times, with a note",
)  # fmt: skip
def test_results_overlay_and_filter_have_the_times_of_the_file(
    predictor, phone_film, tmp_path, monkeypatch, no_overlay
):
    steps = []

    class Recorder(OneEuroFilter):
        def __call__(self, value, seconds):
            steps.append(seconds)
            return super().__call__(value, seconds)

    monkeypatch.setattr("dhm.photos.video.OneEuroFilter", Recorder)
    assert predict_files(predictor, [phone_film], tmp_path, BOX) == 0
    content = json.loads((tmp_path / "phone.json").read_text())
    times = [frame["time_s"] for frame in content["frames"]]
    np.testing.assert_allclose(times, PHONE, atol=2e-4)
    assert "variable rate, 0.0160 to 0.5000 s apart" in content["notes"][0]
    np.testing.assert_allclose(steps[1:], np.diff(PHONE), atol=3e-4)
    overlay = [frame.seconds for frame in VideoReader(tmp_path / "phone_overlay.mp4")]
    np.testing.assert_allclose(overlay, PHONE, atol=4e-4)


def test_frames_without_a_time_of_their_own_follow_the_average_rate(video, monkeypatch):
    reader = VideoReader(video)

    class NoTimes:
        def get(self, what):
            return 0.0

        def __getattr__(self, name):
            return getattr(capture, name)

    capture, reader._capture = reader._capture, NoTimes()
    found = [frame.seconds for frame in reader]
    np.testing.assert_allclose(found, np.arange(24) / FPS)
    assert reader.num_untimed == 23


def test_a_film_without_overlay_has_the_same_results(predictor, phone_film, tmp_path, no_overlay):
    assert predict_files(predictor, [phone_film], tmp_path / "with", BOX) == 0
    options = BOX._replace(overlay=False)
    assert predict_files(predictor, [phone_film], tmp_path / "without", options) == 0
    assert [path.name for path in (tmp_path / "without").iterdir()] == ["phone.json"]
    with_overlay, without = (
        (tmp_path / name / "phone.json").read_text() for name in ("with", "without")
    )
    assert with_overlay == without


@pytest.fixture
def no_overlay(monkeypatch):
    """Leaves out the drawing, which takes most of the time."""
    monkeypatch.setattr("dhm.photos.video._draw_frame", lambda image, found, predictor: image)


def test_the_filter_reduces_the_jitter_of_a_still_hand(predictor, video, tmp_path, no_overlay):
    class Raw(OneEuroFilter):
        def __call__(self, value, seconds):
            return np.asarray(value)

    angles = {}
    for name, kind in (("raw", Raw), ("filtered", OneEuroFilter)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dhm.photos.video.OneEuroFilter", kind)
            predict_files(predictor, [video], tmp_path / name, BOX)
        content = json.loads((tmp_path / name / "clip.json").read_text())
        angles[name] = np.array([frame["hand"]["angles_rad"] for frame in content["frames"]])
    assert angles["raw"].std(axis=0).mean() > 1e-6
    filtered, raw = (angles[name][8:].std(axis=0).mean() for name in ("filtered", "raw"))
    assert filtered < 0.8 * raw
    np.testing.assert_allclose(angles["filtered"][0], angles["raw"][0], atol=1e-5)


@pytest.mark.mistake(
    "predict, videos", "keypoints of another number of frames", "warning in a note"
)
def test_frames_without_a_hand_are_kept_and_restart_the_filter(
    predictor, video, tmp_path, no_overlay
):
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
    content = json.loads((tmp_path / "out" / "clip.json").read_text())
    assert "describes 20 frames, the video has 24" in content["notes"][0]
    found = content["frames"]
    missing = [frame["frame"] for frame in found if frame["hand"] is None]
    assert missing == [9, 20, 21, 22, 23]
    assert {frame["hand"]["frame_of_reference"] for frame in found[:9]} == {"camera"}
    depth = [None if frame["hand"] is None else np.mean(frame["hand"]["joints"], axis=0)[2]
             for frame in found]  # fmt: skip
    # The model's own angles are not those of the keypoints: near, not exact.
    assert depth[8] == pytest.approx(450, rel=0.1)
    assert depth[10] == pytest.approx(900, rel=0.1)  # at once, after the gap
    assert len(_overlay(tmp_path / "out" / "clip_overlay.mp4")[1]) == 24


@pytest.mark.mistake("predict, videos", "an empty file, or no video", "refused")
@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "found an empty file, expected a video"), (b"no video", "found a file that does not")],
)
def test_invalid_videos_are_refused_and_leave_no_file(predictor, tmp_path, data, message):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(BadInputError, match=message):
        VideoReader(tmp_path / "a.mp4")
    assert predict_files(predictor, [tmp_path / "a.mp4"], tmp_path / "out", BOX) == 1
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.mistake("predict, videos", "a video of no hand", "refused")
def test_a_video_without_a_hand_is_refused_and_leaves_no_file(predictor, video, tmp_path):
    options = PredictOptions(detector=lambda image: [])
    assert predict_files(predictor, [video], tmp_path / "out", options) == 1
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.mistake(
    "predict, videos", "one hand's keypoints for a whole video, or frames for a picture", "refused"
)
def test_one_hand_s_keypoints_are_not_those_of_each_frame(predictor, video, tmp_path, caplog):
    picture, file = tmp_path / "a.png", tmp_path / "k.json"
    cv2.imwrite(str(picture), next(iter(_frames(1))))
    hand = {"keypoints": {"wrist": [90, 60], "index1": [120, 90], "pinky1": [100, 100]}}
    file.write_text(json.dumps({"clip.mp4": hand, "a.png": {"frames": [hand]}}))
    options = PredictOptions(keypoints=file, overlay=False)
    assert predict_files(predictor, [video, picture], tmp_path / "out", options) == 2
    assert "found one hand's keypoints for clip.mp4, expected frames" in caplog.text
    assert "found frames for a.png, expected one hand's keypoints" in caplog.text
    file.write_text(json.dumps({"clip.mp4": {"bbox": [60, 40, 100, 90], "side": "left"}}))
    assert predict_files(predictor, [video], tmp_path / "out", options) == 0
    content = json.loads((tmp_path / "out" / "clip.json").read_text())
    assert content["side"] == "left" and len(content["frames"]) == 24


@pytest.mark.mistake("predict, videos", "a video that was copied in part",
                     "refused, or its whole frames alone, with a note")  # fmt: skip
def test_a_truncated_video_gives_its_whole_frames_or_is_refused(predictor, video, tmp_path):
    data = video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    refused = predict_files(predictor, [tmp_path / "cut.mp4"], tmp_path / "out", BOX)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == (set() if refused else {"cut.json", "cut_overlay.mp4"})
    writer = cv2.VideoWriter(
        str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (240, 180)
    )
    for frame in _frames(24):
        writer.write(frame)
    writer.release()
    data = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(data[: len(data) // 2])
    assert predict_files(predictor, [tmp_path / "a.avi"], tmp_path / "out", BOX) == 0
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert 0 < len(content["frames"]) < 24
    said = f"The file has 24 frames by its header, of which {len(content['frames'])} can be read"
    assert said in content["notes"][0]


def test_a_folder_that_cannot_be_written_raises_an_os_error(tmp_path):
    frame = np.zeros((20, 20, 3), np.uint8)
    with (
        pytest.raises(OSError, match="cannot be written as a video") as refusal,
        whole_video(tmp_path / "none" / "a.mp4", FPS) as writer,
    ):
        writer.write(frame)
    assert refusal.value.errno == errno.EIO


def _slow_twin(values, seconds, min_cutoff, beta, speed_cutoff):
    """The algorithm of the paper, one number at a time."""

    def alpha(cutoff):
        tau = 1 / (2 * np.pi * cutoff)
        return 1 / (1 + tau / seconds)

    out, last, last_speed = [], None, 0.0
    for x in values:
        if last is None:
            last = x
        else:
            speed = (x - last) / seconds
            last_speed = alpha(speed_cutoff) * speed + (1 - alpha(speed_cutoff)) * last_speed
            a = alpha(min_cutoff + beta * abs(last_speed))
            last = a * x + (1 - a) * last
        out.append(last)
    return out


def test_the_filter_agrees_with_its_slow_twin():
    values = np.random.default_rng(0).normal(0, 1, (40, 3)).cumsum(axis=0)
    smooth = OneEuroFilter(1.2, 0.4, 0.8)
    found = np.array([smooth(value, 0.04) for value in values])
    for column in range(3):
        expected = _slow_twin(values[:, column], 0.04, 1.2, 0.4, 0.8)
        np.testing.assert_allclose(found[:, column], expected)


def test_without_beta_the_step_response_is_an_exponential():
    smooth, seconds, cutoff = OneEuroFilter(2.0, 0.0), 1e-4, 2.0
    smooth(np.zeros(1), seconds)
    for _ in range(1000):
        value = smooth(np.ones(1), seconds)
    assert value[0] == pytest.approx(1 - np.exp(-2 * np.pi * cutoff * 0.1), abs=1e-3)


def test_the_filter_has_little_jitter_at_rest_and_little_lag_in_motion():
    rng, seconds = np.random.default_rng(1), 1 / 30
    still = 0.3 + rng.normal(0, 0.05, 300)
    smooth = OneEuroFilter()
    rest = np.array([smooth(np.array([x]), seconds)[0] for x in still])
    assert rest[30:].std() < 0.5 * still[30:].std()
    assert rest[30:].mean() == pytest.approx(0.3, abs=0.02)
    fast = np.clip((np.arange(60) - 20) * 0.1, 0, 1.5)  # a finger bent in half a second
    lag = {}
    for name, beta in (("calm", 0.0), ("euro", 1.0)):
        smooth = OneEuroFilter(beta=beta)
        lag[name] = np.abs(np.array([smooth(np.array([x]), seconds)[0] for x in fast]) - fast).max()
    assert lag["euro"] < 0.6 * lag["calm"]


def test_a_reset_forgets_all_values():
    smooth = OneEuroFilter()
    for value in (0.0, 5.0, 1.0):
        smooth(np.array([value]), 0.1)
    smooth.reset()
    assert smooth(np.array([9.0]), 0.1) == 9
    assert smooth(np.array([9.0]), 0.1) == 9


@pytest.mark.mistake("predict, videos", "a frame whose entry cannot be used",
                     "left out and counted as refused")  # fmt: skip
def test_one_bad_frame_costs_no_other(predictor, video, tmp_path, no_overlay, caplog):
    entry = {"bbox": [60, 40, 100, 90]}
    bad = [{"bbox": [1e6, 1e6, 5, 5]}, {"keypoints": {"nose": [1, 2]}}]
    empty = {"keypoints": {"wrist": [None, None, 0]}}
    file = tmp_path / "k.json"
    file.write_text(json.dumps({"clip.mp4": {"frames": [entry, *bad, empty, None, entry]}}))
    refused = predict_files(predictor, [video], tmp_path / "out", PredictOptions(keypoints=file))
    assert refused == 2 and "frame 1: found a box" in caplog.text and "'nose'" in caplog.text
    frames = json.loads((tmp_path / "out" / "clip.json").read_text())["frames"]
    assert [i for i, frame in enumerate(frames) if frame["hand"] is not None] == [0, 5]
    file.write_text(json.dumps({"clip.mp4": {"frames": bad}}))
    assert predict_files(predictor, [video], tmp_path / "no", PredictOptions(keypoints=file)) == 1
    assert "refused: " in caplog.text and not any((tmp_path / "no").iterdir())
