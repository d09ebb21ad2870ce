"""Keypoints of pictures in a JSON file, as people or detectors write them.

    {"a.jpg": {"keypoints": {"wrist": [u, v, confidence], "index1": [u, v], ...},
               "K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], "side": "left", "bbox": [x, y, w, h]}}

Each of the four is optional. Pixels are those of the upright picture, the first one's centre is
(0, 0). A video has a list `frames` of such objects, or of nulls where no hand is seen.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.export.hand_files import LEFT, RIGHT
from dhm.formats.json_file import read_json

_FIELDS = ("keypoints", "K", "side", "bbox")
_EXPECTED = 'keypoints by picture: {"a.jpg": {"keypoints": {"wrist": [u, v, confidence], ...}}}'


class HandClues(NamedTuple):
    """What is known of a hand in a picture; pixels of the upright picture.

    Attributes:
        keypoints: By joint name: (u, v, confidence).
        K: Intrinsics, or None.
        side: RIGHT, LEFT or None.
        bbox: Tight around the hand: x, y, width, height; or None.
    """

    keypoints: dict[str, tuple[float, float, float]]
    K: Float[np.ndarray, "3 3"] | None = None
    side: str | None = None
    bbox: tuple[float, float, float, float] | None = None


class VideoClues(NamedTuple):
    """What is known of the hand in each frame of a video, None where it is not seen."""

    frames: tuple[HandClues | None, ...]


def read_keypoints_file(
    path: Path, joint_names: tuple[str, ...]
) -> dict[str, HandClues | VideoClues]:
    """Reads a file of keypoints.

    Args:
        path: The file.
        joint_names: The template's.

    Returns:
        What it has by the pictures' names.

    Raises:
        BadInputError: If it is missing or damaged, or names a joint or a field that there is not;
            the message names the picture.
    """
    content = read_json(path, _EXPECTED)
    clues = {}
    for name, entry in content.items():
        where = f"{path}, {name}"
        if isinstance(entry, dict) and "frames" in entry:
            clues[name] = _video(where, entry, joint_names)
        else:
            clues[name] = _clues(where, entry, joint_names)
    return clues


def find_clues(
    clues: dict[str, HandClues | VideoClues], picture: Path
) -> HandClues | VideoClues | None:
    """The entry of a picture: under its path as given, or under its bare name."""
    return clues.get(str(picture), clues.get(picture.name))


def _video(where: str, entry: dict, joint_names: tuple[str, ...]) -> VideoClues:
    _refuse_unknown(where, entry, ("frames", "K", "side"))
    frames = entry["frames"]
    if not isinstance(frames, list):
        raise BadInputError(where, f"frames of a {type(frames).__name__}", "a list of frames")
    shared = {key: entry[key] for key in ("K", "side") if key in entry}
    return VideoClues(tuple(
        None if frame is None
        else _clues(f"{where}, frame {i}", _merged(shared, frame), joint_names)
        for i, frame in enumerate(frames)
    ))  # fmt: skip


def _merged(shared: dict, frame: Any) -> Any:
    return shared | frame if isinstance(frame, dict) else frame


def _clues(where: str, entry: Any, joint_names: tuple[str, ...]) -> HandClues:
    if not isinstance(entry, dict):
        raise BadInputError(where, f"a {type(entry).__name__}", f"an object with {list(_FIELDS)}")
    _refuse_unknown(where, entry, _FIELDS)
    points = entry.get("keypoints", {})
    if not isinstance(points, dict):
        raise BadInputError(where, f"keypoints of a {type(points).__name__}", "points by joint")
    for name in points:
        if name not in joint_names:
            raise BadInputError(where, f"joint {name!r}", f"one of {', '.join(joint_names)}")
    side = entry.get("side")
    if side not in (None, LEFT, RIGHT):
        raise BadInputError(where, f"side {side!r}", f"{LEFT!r} or {RIGHT!r}")
    return HandClues(
        {name: _point(f"{where}, {name}", point) for name, point in points.items()},
        _intrinsics(where, entry.get("K")),
        side,
        _box(where, entry.get("bbox")),
    )


def _refuse_unknown(where: str, entry: dict, known: tuple[str, ...]) -> None:
    for key in entry:
        if key not in known:
            raise BadInputError(where, repr(key), f"one of {', '.join(known)}")


def _numbers(where: str, value: Any, shape: tuple[int, ...], expected: str) -> np.ndarray:
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.shape != shape or not (np.abs(array) < 1e9).all():
        raise BadInputError(where, repr(value)[:80], expected)
    return array


def _point(where: str, value: Any) -> tuple[float, float, float]:
    expected = "[u, v] or [u, v, confidence] in pixels, the confidence in 0 to 1"
    if isinstance(value, list) and len(value) == 2:
        value = [*value, 1.0]
    u, v, confidence = _numbers(where, value, (3,), expected).tolist()
    if not 0 <= confidence <= 1:
        raise BadInputError(where, f"confidence {confidence}", expected)
    return u, v, confidence


def _intrinsics(where: str, value: Any) -> Float[np.ndarray, "3 3"] | None:
    if value is None:
        return None
    expected = "K as [[fx, s, cx], [0, fy, cy], [0, 0, 1]] in pixels"
    K = _numbers(where, value, (3, 3), expected)
    if not (K[0, 0] > 0 and K[1, 1] > 0 and K[1, 0] == 0 and K[2].tolist() == [0, 0, 1]):
        raise BadInputError(where, repr(value)[:80], expected)
    return K


def _box(where: str, value: Any) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    expected = "bbox as [x, y, width, height] in pixels"
    x, y, width, height = _numbers(where, value, (4,), expected).tolist()
    if width <= 0 or height <= 0:
        raise BadInputError(where, repr(value)[:80], expected)
    return x, y, width, height
