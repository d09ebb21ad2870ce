"""Times written into .mp4 files, read back by FFmpeg."""

import cv2
import numpy as np
import pytest

from dhm.formats.mp4_times import set_frame_times

TIMES = np.cumsum([0, 0.01, 0.4, 0.033, 0.033, 2.0, 0.05])


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for grey in range(len(TIMES)):
        writer.write(np.full((48, 64, 3), 30 * grey, np.uint8))
    writer.release()
    return path


def read(path):
    """The times and mean greys of a film's frames, and its length, seconds."""
    capture = cv2.VideoCapture(str(path))
    times, greys = [], []
    while True:
        more, frame = capture.read()
        if not more:
            break
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        greys.append(frame.mean())
    length = capture.get(cv2.CAP_PROP_FRAME_COUNT) / capture.get(cv2.CAP_PROP_FPS)
    return times, greys, length


def test_frames_get_their_times_and_keep_their_content(film):
    _, before, _ = read(film)
    set_frame_times(film, list(3.5 + TIMES))
    times, after, length = read(film)
    np.testing.assert_allclose(times, TIMES, atol=1e-4)
    assert before == after
    assert length == pytest.approx(TIMES[-1] + 0.05, abs=0.01)
    set_frame_times(film, list(np.arange(7) / 25))  # and back
    np.testing.assert_allclose(read(film)[0], np.arange(7) / 25, atol=1e-4)


def test_one_frame_needs_no_times(tmp_path):
    path = tmp_path / "one.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    content = path.read_bytes()
    set_frame_times(path, [0.7])
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("cut", "seconds", "message"),
    [
        (None, TIMES[:-1], "7 frames for 6 times"),
        (None, -TIMES, "a duration of -"),
        (None, 1e9 * TIMES, "a duration of "),
        (-1, TIMES, "no index at the end"),
        (0, TIMES, "no index at the end"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_the_file(film, cut, seconds, message):
    content = film.read_bytes()[:cut]
    film.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        set_frame_times(film, list(seconds))
    assert film.read_bytes() == content
