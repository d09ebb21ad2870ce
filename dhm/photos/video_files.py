"""Video files, read and written by the FFmpeg that OpenCV brings."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from dhm.errors import BadInputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
_CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV can write
_FALLBACK_FPS = 30.0


class VideoReader:
    """Iterates over the upright RGB frames of a video.

    Attributes:
        fps: Frames per second.

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

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        try:
            while True:
                more, frame = self._capture.read()
                if not more:
                    return
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            self._capture.release()


class VideoWriter:
    """Writes RGB frames of one size, that of the first frame."""

    def __init__(self, path: Path, fps: float):
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Adds a frame.

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
        width, height = self._size
        self._writer.write(cv2.cvtColor(frame[:height, :width], cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """Completes the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None


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
        writer.close()
        partial.unlink(missing_ok=True)
