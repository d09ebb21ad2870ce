"""Evidence of hands on disk: .json for people and detectors, .npz for batches.

docs/fitting.md has the format. Everything is in mm and pixels, the first pixel's centre is (0, 0).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.evidence.arrays import content_of_arrays
from dhm.evidence.cameras import View, read_view
from dhm.evidence.values import (
    file_path,
    flag,
    named_by,
    named_points,
    numbers,
    refuse_unknown,
    rigid_transform,
)
from dhm.export.hand_files import LEFT, RIGHT
from dhm.fitting.surface import spread_sample, vertex_normals
from dhm.formats.json_file import read_json
from dhm.formats.mesh import read_scan
from dhm.geometry.hand_rig import dof_names

NUM_POINTS = 1500
"""Points of the skin that are used of a frame's depth maps and scan together."""

_FRAME = ("joints", "cameras", "scan", "start", "side", "fit_scale")
_FILE = (*_FRAME, "frames", "sequence")
_EXPECTED = 'evidence: {"joints": {"wrist": [x, y, z], ...}, "cameras": {...}, "scan": "a.ply"}'
MIN_JOINTS, _MIN_KEYPOINTS = 3, 4


class FrameEvidence(NamedTuple):
    """What is known of one hand at one moment, as it was written: left hands are left ones.

    Attributes:
        name: For the results' files.
        joints: World mm, in the template's order.
        confidence: 0 where a joint is not given.
        views: What cameras show.
        points: Of the skin, world mm.
        normals: Their unit normals.
        side: RIGHT, LEFT or None where it does not say.
        start: Angles and T_frame_model to start from, or None.
        fit_scale: Whether the hand's size is to be fitted.
    """

    name: str
    joints: Float[np.ndarray, "j 3"]
    confidence: Float[np.ndarray, " j"]
    views: tuple[View, ...]
    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    side: str | None = None
    start: tuple[Float[np.ndarray, " d"], Float[np.ndarray, "4 4"]] | None = None
    fit_scale: bool = False


class EvidenceFile(NamedTuple):
    """The frames of a file, and whether they follow each other in time."""

    frames: tuple[FrameEvidence, ...]
    sequence: bool


def read_evidence(path: Path, joint_names: Sequence[str]) -> EvidenceFile:
    """Reads a .json or .npz file of evidence and the depth maps and scans that it names.

    Args:
        path: The file.
        joint_names: The template's.

    Raises:
        BadInputError: If it is missing or damaged, names a joint or a field that there is not,
            has a number that is not finite or a rotation that is none, or says too little to
            place a hand; the message names the frame.
    """
    if path.suffix.lower() == ".npz":
        content = content_of_arrays(path, joint_names)
    else:
        content = read_json(path, _EXPECTED)
    refuse_unknown(path, content, _FILE)
    entries = content.get("frames")
    if entries is None:
        return EvidenceFile((_frame(path, path.stem, content, path.parent, joint_names),), False)
    if not isinstance(entries, list) or not entries:
        raise BadInputError(path, f"frames of a {type(entries).__name__}", "a list of frames")
    frames = []
    for number, entry in enumerate(entries):
        where = f"{path}, frame {number}"
        if not isinstance(entry, dict):
            raise BadInputError(where, f"a {type(entry).__name__}", _EXPECTED)
        name = f"{path.stem}_{number:04d}"
        frames.append(_frame(where, name, _merged(content, entry), path.parent, joint_names))
    return EvidenceFile(tuple(frames), flag(path, content, "sequence"))


def _merged(shared: dict, entry: dict) -> dict:
    """A frame with what all frames share, camera by camera."""
    own = {key: value for key, value in shared.items() if key not in ("frames", "sequence")}
    mine, all_ = entry.get("cameras", {}), own.get("cameras", {})
    if isinstance(mine, dict) and isinstance(all_, dict):
        both = {
            name: {**_as_dict(all_.get(name)), **_as_dict(mine.get(name))}
            for name in (*all_, *(name for name in mine if name not in all_))
        }
        return own | entry | ({"cameras": both} if both else {})
    return own | entry


def _as_dict(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def _frame(
    where: str | Path, name: str, entry: dict, folder: Path, joint_names: Sequence[str]
) -> FrameEvidence:
    refuse_unknown(where, entry, _FRAME)
    joints, confidence = named_points(where, "joints", entry.get("joints", {}), joint_names, 3)
    cameras = entry.get("cameras", {})
    if not isinstance(cameras, dict):
        raise BadInputError(where, f"cameras of a {type(cameras).__name__}", "cameras by name")
    views, seen = [], []
    for camera, content in cameras.items():
        view, skin = read_view(f"{where}, camera {camera}", camera, content, folder, joint_names)
        views.append(view)
        seen += skin
    if (scan := entry.get("scan")) is not None:
        seen.append(_scan(where, scan, folder))
    side = entry.get("side")
    if side not in (None, LEFT, RIGHT):
        raise BadInputError(where, f"side {side!r}", f"{LEFT!r} or {RIGHT!r}")
    frame = FrameEvidence(
        name, joints, confidence, tuple(views), *_sampled(seen), side,
        _start(where, entry.get("start"), joint_names), flag(where, entry, "fit_scale"),
    )  # fmt: skip
    _refuse_too_little(where, frame)
    return frame


def known_in_space(frame: FrameEvidence) -> int:
    """How many joints are given in 3D or seen by two cameras."""
    seen = sum((view.confidence > 0).astype(int) for view in frame.views)
    return int(((frame.confidence > 0) | (np.asarray(seen) >= 2)).sum())


def _refuse_too_little(where: str | Path, frame: FrameEvidence) -> None:
    """Something must tell where the hand is and how it is turned: points, or a start."""
    seen = max([int((view.confidence > 0).sum()) for view in frame.views], default=0)
    enough = known_in_space(frame) >= MIN_JOINTS or seen >= _MIN_KEYPOINTS
    has_any = bool((frame.confidence > 0).any() or seen or len(frame.points))
    if not (enough or (frame.start is not None and has_any)):
        found = f"{known_in_space(frame)} joints in space and at most {seen} keypoints in a camera"
        expected = (
            f"{MIN_JOINTS} joints given or seen by two cameras, {_MIN_KEYPOINTS} keypoints in one "
            "camera, or a start with other evidence"
        )
        raise BadInputError(where, found, expected)


def _scan(where: str | Path, value: Any, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    path = file_path(where, value, folder)
    with named_by(where):
        vertices, faces = read_scan(path)
    normals = vertex_normals(vertices, faces)
    usable = (normals**2).sum(axis=1) > 0.5
    return vertices[usable], normals[usable]


def _sampled(seen: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    points = np.concatenate([np.zeros((0, 3)), *(points for points, _ in seen)])
    normals = np.concatenate([np.zeros((0, 3)), *(normals for _, normals in seen)])
    chosen = spread_sample(points, NUM_POINTS)
    return points[chosen], normals[chosen]


def _start(where: str | Path, entry: Any, joint_names: Sequence[str]):
    if entry is None:
        return None
    names = dof_names(tuple(joint_names))
    expected = 'a start {"angles_rad": {"index1_z": 0.3, ...}, "T_frame_model": [4 4]}'
    if not isinstance(entry, dict):
        raise BadInputError(where, f"a start of a {type(entry).__name__}", expected)
    refuse_unknown(where, entry, ("angles_rad", "T_frame_model"))
    angles = entry.get("angles_rad", {})
    theta = np.zeros(len(names))
    for name, value in _as_dict(angles).items():
        if name not in names:
            raise BadInputError(where, f"angle {name!r}", f"one of {', '.join(names)}")
        theta[names.index(name)] = numbers(f"{where}, {name}", value, (), "an angle in radians")
    T = numbers(where, entry.get("T_frame_model"), (4, 4), expected)
    return theta, rigid_transform(f"{where}, start", T)
