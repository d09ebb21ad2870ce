"""Times of the frames of an .mp4 file, written into it after FFmpeg's muxer.

OpenCV writes videos of a constant rate. In the file the rate is a table of durations (`stts`) and
a few total durations, which are replaced here, so that a video can have the times of another one.
"""

import struct
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")
_TOTALS = {b"mvhd": 16, b"tkhd": 20, b"elst": 8, b"mdhd": 16}
"""Where the video's duration stands in the content of a box."""
_LARGEST = (1 << 32) - 1  # of the 32-bit fields


def set_frame_times(path: Path, seconds: Sequence[float]) -> None:
    """Sets the times of a video's frames; the first one's becomes 0.

    Args:
        path: An .mp4 file of one video track whose index follows its frames, as FFmpeg's muxer
            writes it.
        seconds: The time of each frame, increasing. The last frame lasts as long as the one before.

    Raises:
        ValueError: The file is no such video, or has another number of frames.
    """
    start, index = _find_index(path)
    changed = _Times(seconds).apply(index)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(changed)
        file.truncate()


def _find_index(path: Path) -> tuple[int, bytes]:
    """Returns where the last box of the file, moov, begins, and its bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 16 <= size:
            file.seek(at)
            length, kind, long = struct.unpack(">I4sQ", file.read(16))
            length = long if length == 1 else length
            if kind == b"moov" and at + length == size:
                file.seek(at)
                return at, file.read()
            if length < 8:
                break
            at += length
    raise ValueError("no index at the end of the file")


class _Times:
    """The durations of a video's frames, put into its index."""

    def __init__(self, seconds: Sequence[float]):
        self._seconds = [time - seconds[0] for time in seconds]
        if len(seconds) > 1:
            self._seconds.append(2 * self._seconds[-1] - self._seconds[-2])

    def apply(self, index: bytes) -> bytes:
        self._movie_scale = self._scale(index, b"mvhd")
        self._media_scale = self._scale(index, b"mdhd")
        if len(self._seconds) == 1:
            return index  # one frame, whose duration stays
        return self._boxes(index)

    def _scale(self, index: bytes, kind: bytes) -> int:
        """Returns a header's time units a second."""
        at = index.find(kind) + 4
        if at < 4 or index[at] != 0:
            raise ValueError(f"no {kind.decode()} of version 0")
        return struct.unpack_from(">I", index, at + 12)[0]

    def _boxes(self, data: bytes) -> bytes:
        """Returns a sequence of boxes with the durations replaced."""
        boxes, at = [], 0
        while at < len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            if not 8 <= length <= len(data) - at:
                raise ValueError(f"a box of {length} bytes")
            content = self._content(kind, data[at + 8 : at + length])
            boxes.append(struct.pack(">I4s", len(content) + 8, kind) + content)
            at += length
        return b"".join(boxes)

    def _content(self, kind: bytes, content: bytes) -> bytes:
        if kind in _PARENTS:
            return self._boxes(content)
        if kind == b"stts":
            return self._durations(content)
        if kind not in _TOTALS:
            return content
        at = _TOTALS[kind]
        scale = self._media_scale if kind == b"mdhd" else self._movie_scale
        return content[:at] + _unsigned(self._seconds[-1] * scale) + content[at + 4 :]

    def _durations(self, content: bytes) -> bytes:
        """Returns the table of runs of frames with one duration."""
        runs = struct.unpack_from(">I", content, 4)[0]
        frames = sum(struct.unpack_from(">I", content, 8 + 8 * run)[0] for run in range(runs))
        if frames != len(self._seconds) - 1:
            raise ValueError(f"{frames} frames for {len(self._seconds) - 1} times")
        # Rounded times, not durations: their errors do not add up.
        ticks = [round(time * self._media_scale) for time in self._seconds]
        steps = [after - before for before, after in pairwise(ticks)]
        table = [(len(list(run)), step) for step, run in groupby(steps)]
        packed = b"".join(struct.pack(">I", count) + _unsigned(step) for count, step in table)
        return content[:4] + struct.pack(">I", len(table)) + packed


def _unsigned(value: float) -> bytes:
    number = round(value)
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"a duration of {number} units")
    return struct.pack(">I", number)
