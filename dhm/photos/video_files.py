"""Video files, read and written by the FFmpeg that OpenCV brings."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from dhm.errors import BadInputError
from dhm.formats.mp4_times import set_frame_times

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
_CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV can write
_FALLBACK_FPS = 30.0
_SAME_TIME_S = 1e-3  # containers round the times of a constant rate to their units


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        image: Upright, RGB.
        seconds: When it is shown, by the file: films of phones have no constant rate.
    """

    image: UInt8[np.ndarray, "h w 3"]
    seconds: float


class VideoReader:
    """Iterates over the frames of a video.

    Attributes:
        fps: Frames a second on average, by the file.
        num_frames: Frames by the file's header, which is an estimate in some formats.
        num_untimed: Frames so far whose time in the file does not lie after the one before's. They
            are taken to follow at `fps`.

    Raises:
        BadInputError: If the file is missing, empty, or does not decode as a video.
    """

    def __init__(self, path: Path):
        if not path.is_file():
            raise BadInputError(path, "no such file", "a video")
        if path.stat().st_size == 0:
            raise BadInputError(path, "an empty file", "a video")
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise BadInputError(path, "a file that does not decode", "a video")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 1 <= fps <= 1000 else _FALLBACK_FPS
        self.num_frames = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.num_untimed = 0

    def __iter__(self) -> Iterator[VideoFrame]:
        last: float | None = None
        try:
            while True:
                more, frame = self._capture.read()
                if not more:
                    return
                last = self._time_after(last)
                yield VideoFrame(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), last)
        finally:
            self._capture.release()

    def _time_after(self, last: float | None) -> float:
        """Returns the time of the frame that was just read, given that of the one before."""
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if last is None:
            return seconds if 0 <= seconds < np.inf else 0.0
        if last < seconds < np.inf:
            return seconds
        self.num_untimed += 1
        return last + 1 / self.fps


class VideoWriter:
    """Writes RGB frames of one size, that of the first frame, to an .mp4 file."""

    def __init__(self, path: Path, fps: float):
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._seconds: list[float] = []

    def write(self, frame: UInt8[np.ndarray, "h w 3"], seconds: float | None = None) -> None:
        """Adds a frame.

        Args:
            frame: The frame.
            seconds: When it is shown, after the one before; by default at the constant rate.

        Raises:
            OSError: If the video cannot be written.
        """
        if self._writer is None:
            # The codec wants even sides.
            self._size = (frame.shape[1] // 2 * 2, frame.shape[0] // 2 * 2)
            code = cv2.VideoWriter.fourcc(*_CODEC)
            self._writer = cv2.VideoWriter(str(self._path), code, self._fps, self._size)
            if not self._writer.isOpened():
                raise OSError(errno.EIO, "cannot be written as a video", str(self._path))
        last = self._seconds[-1] + 1 / self._fps if self._seconds else 0.0
        self._seconds.append(last if seconds is None else seconds)
        width, height = self._size
        self._writer.write(cv2.cvtColor(frame[:height, :width], cv2.COLOR_RGB2BGR))

    def release(self) -> None:
        """Closes the file as it is, without the times of its frames."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def close(self) -> None:
        """Completes the file.

        Raises:
            OSError: If the times of the frames cannot be written.
        """
        if self._writer is None:
            return
        self.release()
        constant = self._seconds[0] + np.arange(len(self._seconds)) / self._fps
        if np.allclose(self._seconds, constant, rtol=0, atol=_SAME_TIME_S):
            return
        try:
            set_frame_times(self._path, self._seconds)
        except ValueError as error:
            raise OSError(errno.EIO, f"no times of frames ({error})", str(self._path)) from error


@contextmanager
def whole_video(path: Path, fps: float) -> Iterator[VideoWriter]:
    """Yields a writer whose file gets its name once complete; on an error no file is left."""
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    writer = VideoWriter(partial, fps)
    try:
        yield writer
        writer.close()
        partial.replace(path)
    finally:
        writer.release()
        partial.unlink(missing_ok=True)
