"""What `fit` will read and write for an evidence file, found before anything is written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dhm.errors import BadInputError
from dhm.evidence.cameras import read_path
from dhm.evidence.input_files import InputFile
from dhm.export.hand_files import result_endings
from dhm.formats.json_file import read_json
from dhm.formats.npz import Arrays

_OBSERVED = ("joints", "keypoints", "depth")


def outline_evidence(path: Path) -> InputFile:
    """Returns the endings of a file's results, and the depth maps, scans and pictures it names.

    A file that cannot be read counts as one frame; reading it for the fit says why.
    """
    try:
        if path.suffix.lower() == ".npz":
            arrays = Arrays(path)
            shapes = [arrays[name].shape for name in _OBSERVED if name in arrays.names]
            return InputFile(path, _endings(shapes[0][0] if shapes and shapes[0] else 1))
        content = read_json(path, "evidence")
    except BadInputError:
        return InputFile(path, _endings(1))
    frames = content.get("frames")
    frames = frames if isinstance(frames, list) else []
    files = [file for entry in (content, *frames) for file in _files(path, entry)]
    return InputFile(path, _endings(len(frames)), tuple(dict.fromkeys(files)))


def frame_ending(number: int, num_frames: int) -> str:
    """Returns what the names of a frame's results have after their first part."""
    return "" if num_frames <= 1 else f"_{number:04d}"


def _endings(num_frames: int) -> tuple[str, ...]:
    return tuple(
        frame_ending(number, num_frames) + ending
        for number in range(max(num_frames, 1))
        for ending in result_endings(overlay=True)
    )


def _files(path: Path, entry: Any) -> Iterator[Path]:
    """Yields the files that a frame names."""
    if not isinstance(entry, dict):
        return
    cameras = entry.get("cameras")
    cameras = cameras.values() if isinstance(cameras, dict) else ()
    values = [camera.get(key) for camera in cameras if isinstance(camera, dict)
              for key in ("depth", "image")]  # fmt: skip
    for value in (entry.get("scan"), *values):
        if isinstance(value, str):
            try:
                yield read_path(path, value, path.parent)
            except BadInputError:  # not a path: the fit refuses it
                continue
