"""The keypoints file of `predict`: the hand of each picture, found by the picture's path.

    {"a.jpg": {"keypoints": {"wrist": [u, v, confidence], "index1": [u, v], ...},
               "K": [[fx, s, cx], [0, fy, cy], [0, 0, 1]], "side": "left", "bbox": [x, y, w, h],
               "size": [width, height]}}

Each of the fields is optional. A video has a list `frames` of such objects, with null for a
frame without a hand. Pixels are those of the upright picture, or of the same picture at the given
size; the first pixel's centre is (0, 0). With the size [1, 1] they are parts of the picture.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from dhm.errors import BadInputError
from dhm.evidence.keypoints import (
    Box,
    Detection,
    read_intrinsics,
    read_points,
    read_side,
    refuse_unknown_fields,
    without_placeholders,
)
from dhm.formats.json_file import json_numbers, read_json
from dhm.formats.paths import composed, path_parts

_SHARED = ("K", "side", "size")  # by the frames of a video
_FIELDS = ("keypoints", *_SHARED, "bbox")
_EXPECTED = 'keypoints by picture: {"a.jpg": {"keypoints": {"wrist": [u, v, confidence], ...}}}'
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class VideoDetections(NamedTuple):
    """The hand of each frame of a video, None without a hand, or why its entry cannot be used."""

    frames: tuple[Detection | BadInputError | None, ...]

    def of(self, number: int) -> Detection | None:
        """Returns the hand of a frame; None without a hand or behind the last entry.

        Raises:
            BadInputError: If the frame's entry cannot be used.
        """
        frame = self.frames[number] if number < len(self.frames) else None
        if isinstance(frame, BadInputError):
            raise frame
        return frame


class KeypointsFile:
    """The hands of a keypoints file, by picture.

    A picture's entry is the one that names the picture: by its path, from the working folder or
    from the file's own, or by the end of its path, such as "cam1/0001.jpg" or its bare name; the
    longest of these counts. Paths are compared without `.`, `..` and `~` and in NFC.

    Args:
        path: The file.
        joint_names: The template's joint names.
        pictures: The pictures to find entries for.

    Attributes:
        unused: Names of entries for none of the pictures.

    Raises:
        BadInputError: If the file is missing or no JSON, or two entries have one name.
    """

    def __init__(self, path: Path, joint_names: Sequence[str], pictures: Sequence[Path] = ()):
        self._path, self._joint_names = path, joint_names
        self._entries = read_json(path, _EXPECTED)
        by_parts, by_path = self._indices()
        whole = {picture: path_parts(picture) for picture in pictures}
        exact = {parts: by_path[parts] for parts in whole.values() if parts in by_path}
        # An entry that names one picture exactly is not another's that ends alike.
        taken = {name for names in exact.values() for name in names}
        self._found = {}
        for picture, parts in whole.items():
            ends = (by_parts.get(parts[start:]) for start in range(len(parts)))
            by_end = [name for name in ends if name is not None and name not in taken]
            self._found[picture] = exact.get(parts, []) + by_end
        seen = {name for names in self._found.values() for name in names}
        self.unused = tuple(name for name in self._entries if name not in seen)
        self._shared = Counter(names[0] for names in self._found.values() if names)

    def _indices(self) -> tuple[dict[tuple[str, ...], str], dict[tuple[str, ...], list[str]]]:
        """Returns the entries by their normalised names, and by the whole paths that these give.

        Of entries for one whole path the longest name comes first.
        """
        by_parts: dict[tuple[str, ...], str] = {}
        for name in self._entries:
            parts = Path(composed(os.path.normpath(os.path.expanduser(name)))).parts
            if parts in by_parts:
                found = f"{by_parts[parts]!r} and {name!r}, which are one name"
                raise BadInputError(self._path, found, "one entry a picture")
            by_parts[parts] = name
        by_path: dict[tuple[str, ...], list[str]] = {}
        for _, name in sorted(by_parts.items(), key=lambda item: -len(item[0])):
            for whole in {path_parts(name), path_parts(name, self._path.parent)}:
                by_path.setdefault(whole, []).append(name)
        return by_parts, by_path

    def of(self, picture: Path) -> "Detection | VideoDetections | None":
        """Returns the hand of one of the pictures, or None if there is no entry for it.

        Raises:
            BadInputError: If its entry has an unknown joint, an unknown field or an invalid value,
                or is that of another picture, too; the message names the picture.
        """
        if not (names := self._found[picture]):
            return None
        name = names[0]
        if self._shared[name] > 1:
            found = f"the entry {name!r}, which {self._shared[name]} pictures share"
            expected = "entries by longer paths, such as 'cam1/0001.jpg'"
            raise BadInputError(f"{self._path}, {picture}", found, expected)
        return self[name]

    def __getitem__(self, name: str) -> "Detection | VideoDetections | None":
        """Returns the entry of a name as the file has it; None for null."""
        entry = self._entries[name]
        if entry is None:
            return None
        is_video = isinstance(entry, dict) and entry.get("frames") is not None
        read = _read_video if is_video else _read_detection
        return read(f"{self._path}, {name}", entry, self._joint_names)


def _read_video(where: str, entry: dict, joint_names: Sequence[str]) -> VideoDetections:
    refuse_unknown_fields(where, entry, ("frames", *_SHARED))
    frames = entry["frames"]
    if not isinstance(frames, list):
        raise BadInputError(where, f"frames of a {type(frames).__name__}", "a list of frames")
    shared = {key: entry[key] for key in _SHARED if key in entry}
    detections: list[Detection | BadInputError | None] = []
    for number, frame in enumerate(frames):
        try:
            detections.append(
                None if frame is None else
                _read_detection(f"{where}, frame {number}", frame, joint_names, shared)
            )  # fmt: skip
        except BadInputError as error:
            detections.append(error)
    return VideoDetections(tuple(detections))


def _read_detection(
    where: str, entry: Any, joint_names: Sequence[str], shared: Mapping[str, Any] = _NOTHING
) -> Detection:
    if not isinstance(entry, dict):
        raise BadInputError(where, f"a {type(entry).__name__}", f"an object with {list(_FIELDS)}")
    refuse_unknown_fields(where, entry, _FIELDS)
    entry = {**shared, **{key: value for key, value in entry.items() if value is not None}}
    K, box, size = entry.get("K"), entry.get("bbox"), entry.get("size")
    points = read_points(where, "keypoints", entry.get("keypoints", {}), joint_names, 2)
    points, notes = without_placeholders(points)
    return Detection(
        None if box is None else _read_box(where, box),
        points,
        read_side(where, entry),
        None if K is None else read_intrinsics(where, K),
        None if size is None else _read_size(where, size),
        notes,
    )


def _read_size(where: str, value: Any) -> tuple[int, int]:
    expected = "size as [width, height] of the picture in pixels, or [1, 1] for parts of it"
    width, height = json_numbers(where, value, (2,), expected).tolist()
    if min(width, height) < 1 or width % 1 or height % 1:
        raise BadInputError(where, f"size {value!r}"[:80], expected)
    return int(width), int(height)


def _read_box(where: str, value: Any) -> Box:
    expected = "bbox as [x, y, width, height] in pixels"
    x, y, width, height = json_numbers(where, value, (4,), expected).tolist()
    if width <= 0 or height <= 0:
        raise BadInputError(where, repr(value)[:80], expected)
    return x, y, width, height
