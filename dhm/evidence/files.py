"""Evidence files: .json for people and detectors, .npz for batches; docs/fitting.md has the format.

What they hold becomes mm and pixels; the first pixel's centre is (0, 0).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.evidence.arrays import read_arrays
from dhm.evidence.cameras import (
    CameraView,
    SkinPoints,
    error_prefix,
    read_camera,
    read_path,
    rigid_transform,
)
from dhm.evidence.keypoints import (
    in_template_order,
    read_points,
    read_side,
    refuse_unknown_fields,
)
from dhm.evidence.placeholders import without_far_joints
from dhm.evidence.units import UNIT_FIELDS, Units, read_units
from dhm.fitting.evidence import spread_sample
from dhm.formats.json_file import json_numbers, read_json
from dhm.formats.scan import read_scan
from dhm.geometry.hand_rig import dof_names
from dhm.geometry.mesh import vertex_normals

NUM_POINTS = 1500
"""Skin points used of a frame's depth maps and scan together."""
MIN_JOINTS = 3
"""Joints with a known 3D position that determine the root transform."""
_MIN_KEYPOINTS = 4
# Mean cosine between normals and directions from the middle: 0.3 to 0.45 for hands, 0.1 for parts.
_INWARD = 0.1
_INWARDS = "The scan's faces look inwards: their corners may be in the wrong order."
_SCAN_SPAN = (20.0, 1e4)  # mm; a part of a hand, and a room

_FRAME_FIELDS = ("joints", "cameras", "scan", "start", "side", "fit_scale", *UNIT_FIELDS)
_EXPECTED = 'evidence: {"joints": {"wrist": [x, y, z], ...}, "cameras": {...}, "scan": "a.ply"}'


class FrameEvidence(NamedTuple):
    """The evidence of one hand at one moment, as in its file: left hands are left hands.

    Attributes:
        name: Name of the frame, for messages.
        joints: World mm, in the template's order.
        confidence: 0 for missing joints.
        views: Cameras with their keypoints.
        points: Skin points, world mm.
        normals: Their unit normals.
        side: RIGHT, LEFT, or None if the file does not say.
        start: Angles and T_frame_model to start from, or None.
        fit_scale: Whether the hand's size is fitted.
        doubts: Sentences about what was left out of it.
    """

    name: str
    joints: Float[np.ndarray, "j 3"]
    confidence: Float[np.ndarray, " j"]
    views: tuple[CameraView, ...]
    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    side: str | None = None
    start: tuple[Float[np.ndarray, " d"], Float[np.ndarray, "4 4"]] | None = None
    fit_scale: bool = False
    doubts: tuple[str, ...] = ()

    @property
    def num_joints_in_space(self) -> int:
        """Number of joints that are given in 3D or seen by two cameras."""
        seen = sum((view.confidence > 0).astype(int) for view in self.views)
        return int(((self.confidence > 0) | (np.asarray(seen) >= 2)).sum())


class EvidenceFile(NamedTuple):
    """The frames of a file that can be fitted.

    Attributes:
        frames: The frames.
        sequence: Whether they follow each other in time.
        numbers: The place of each in the file.
        num_frames: Number of frames in the file.
        refused: Why other frames cannot be used; those of which nothing was measured are not here.
    """

    frames: tuple[FrameEvidence, ...]
    sequence: bool
    numbers: tuple[int, ...] = (0,)
    num_frames: int = 1
    refused: tuple[BadInputError, ...] = ()


class _NothingMeasuredError(BadInputError):
    """A frame of which nothing was measured."""


def read_evidence(path: Path, joint_names: Sequence[str]) -> EvidenceFile:
    """Reads a .json or .npz evidence file and the depth maps and scans that it names.

    A frame that cannot be used costs no other: it is left out, with the reason in `refused`. What
    was not measured may be left out or null; of a joint or keypoint the confidence may be 0, or a
    number NaN.

    Args:
        path: The file.
        joint_names: The template's joint names.

    Raises:
        BadInputError: If the file is missing or damaged, has an unknown field, or none of its
            frames can be used: with an unknown joint or field, an infinite number, an invalid
            rotation, or too little evidence to place a hand; the message names the frame.
    """
    content = _read_content(path, joint_names)
    refuse_unknown_fields(path, content, (*_FRAME_FIELDS, "frames", "sequence"))
    entries = content.get("frames")
    if entries is None:
        frame = _read_frame(path, path.stem, content, path.parent, joint_names)
        return EvidenceFile((frame,), False)
    if not isinstance(entries, list) or not entries:
        raise BadInputError(path, f"frames of a {type(entries).__name__}", "a list of frames")
    sequence = _read_flag(path, content, "sequence")
    shared = {key: content[key] for key in _FRAME_FIELDS if key in content}
    frames: dict[int, FrameEvidence] = {}
    refused: list[BadInputError] = []
    for number, entry in enumerate(entries):
        name, where = f"{path.stem}_{number:04d}", f"{path}, frame {number}"
        try:
            merged = _merged_frame(where, shared, entry)
            frames[number] = _read_frame(where, name, merged, path.parent, joint_names)
        except BadInputError as error:
            refused.append(error)
    if not frames:
        raise refused[0]
    refused = [error for error in refused if not isinstance(error, _NothingMeasuredError)]
    return EvidenceFile(
        tuple(frames.values()), sequence, tuple(frames), len(entries), tuple(refused)
    )


def _read_content(path: Path, joint_names: Sequence[str]) -> dict:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_arrays(path, joint_names)
    if suffix != ".json":
        raise BadInputError(path, f"a file of type {suffix!r}", "evidence as .json or .npz")
    return read_json(path, _EXPECTED)


def _merged_frame(where: str, shared: dict, entry: Any) -> dict:
    """Returns a frame's fields with the shared ones for those that it lacks."""
    if entry is None:
        raise _NothingMeasuredError(where, "null", _EXPECTED)
    if not isinstance(entry, dict):
        raise BadInputError(where, f"a {type(entry).__name__}", _EXPECTED)
    merged = shared | entry
    if "cameras" in shared and "cameras" in entry:
        merged["cameras"] = _merge(shared["cameras"], entry["cameras"], levels=2)
    return merged


def _merge(shared: Any, own: Any, levels: int) -> Any:
    """Puts a frame's own fields over the shared ones; returns what is no object, to be refused."""
    if shared is None or own is None or levels == 0:
        return shared if own is None else own
    for value in (shared, own):
        if not isinstance(value, dict):
            return value
    common = shared.keys() & own.keys()
    return shared | own | {key: _merge(shared[key], own[key], levels - 1) for key in common}


def _read_frame(
    where: str | Path, name: str, entry: dict, folder: Path, joint_names: Sequence[str]
) -> FrameEvidence:
    refuse_unknown_fields(where, entry, _FRAME_FIELDS)
    units = read_units(where, entry)
    joints = read_points(where, "joints", entry.get("joints"), joint_names, 3)
    cameras = {} if entry.get("cameras") is None else entry["cameras"]
    if not isinstance(cameras, dict):
        raise BadInputError(where, f"cameras of a {type(cameras).__name__}", "cameras by name")
    views, skin, doubts = [], [], []
    for camera, content in cameras.items():
        if content is None:
            continue
        place = f"{where}, camera {camera}"
        view, camera_skin = read_camera(place, camera, content, folder, joint_names, units)
        views.append(view)
        skin += camera_skin
    if (scan := entry.get("scan")) is not None:
        skin.append(_read_scan(where, scan, folder, units))
        if _look_inwards(*skin[-1]):
            doubts.append(_INWARDS)
    positions, confidence = in_template_order(joints, joint_names, 3)
    positions = units.mm * positions
    confidence, left_out = without_far_joints(positions, confidence, joint_names)
    frame = FrameEvidence(
        name, positions, confidence, tuple(views), *_sample_skin(skin),
        read_side(where, entry), _read_start(where, entry.get("start"), joint_names, units),
        _read_flag(where, entry, "fit_scale"), (*left_out, *doubts),
    )  # fmt: skip
    _require_enough(where, frame)
    return frame


def _require_enough(where: str | Path, frame: FrameEvidence) -> None:
    """Refuses evidence that does not determine the root transform."""
    known = frame.num_joints_in_space
    seen = max([int((view.confidence > 0).sum()) for view in frame.views], default=0)
    has_any = bool((frame.confidence > 0).any() or seen or len(frame.points))
    has_start = frame.start is not None and has_any
    if not (known >= MIN_JOINTS or seen >= _MIN_KEYPOINTS or has_start):
        found = f"{known} joints in space and at most {seen} keypoints in a camera"
        expected = (
            f"{MIN_JOINTS} joints given or seen by two cameras, {_MIN_KEYPOINTS} keypoints in one "
            "camera, or a start with other evidence"
        )
        raise (BadInputError if has_any else _NothingMeasuredError)(where, found, expected)


def _read_flag(where: str | Path, entry: dict, key: str) -> bool:
    value = entry.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadInputError(where, f"{key} = {value!r}", "true or false")
    return value


def _read_scan(where: str | Path, value: Any, folder: Path, units: Units) -> SkinPoints:
    path = read_path(where, value, folder)
    with error_prefix(where):
        vertices, faces = read_scan(path)
    normals = vertex_normals(vertices, faces)
    usable = (normals**2).sum(axis=1) > 0.5
    points = units.mm * vertices[usable]
    span = np.ptp(points, axis=0).max() if len(points) else 0.0
    if not _SCAN_SPAN[0] <= span <= _SCAN_SPAN[1]:
        found = f"a scan that spans {span:.3g} mm"
        raise BadInputError(f"{where}, {path}", found, 'mm, or the "unit" of all of the frame')
    return points, normals[usable]


def _look_inwards(points: Float[np.ndarray, "n 3"], normals: Float[np.ndarray, "n 3"]) -> bool:
    """Returns whether normals point to the middle of the points rather than away from it."""
    outwards = points - points.mean(axis=0)
    length = np.linalg.norm(outwards, axis=1).sum()
    return bool((outwards * normals).sum() < -_INWARD * length)


def _sample_skin(skin: Sequence[SkinPoints]) -> SkinPoints:
    points = np.concatenate([np.zeros((0, 3)), *(points for points, _ in skin)])
    normals = np.concatenate([np.zeros((0, 3)), *(normals for _, normals in skin)])
    chosen = spread_sample(points, NUM_POINTS)
    return points[chosen], normals[chosen]


def _read_start(
    where: str | Path, entry: Any, joint_names: Sequence[str], units: Units
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "4 4"]] | None:
    if entry is None:
        return None
    names = dof_names(tuple(joint_names))
    expected = 'a start {"angles_rad": {"index1_z": 0.3, ...}, "T_frame_model": [4 4]}'
    if not isinstance(entry, dict):
        raise BadInputError(where, f"a start of a {type(entry).__name__}", expected)
    refuse_unknown_fields(where, entry, ("angles_rad", "T_frame_model"))
    angles = entry.get("angles_rad", {})
    if not isinstance(angles, dict):
        raise BadInputError(where, f"angles_rad of a {type(angles).__name__}", expected)
    theta = np.zeros(len(names))
    for name, value in angles.items():
        if name not in names:
            raise BadInputError(where, f"angle {name!r}", f"one of {', '.join(names)}")
        angle = json_numbers(f"{where}, {name}", value, (), "an angle in radians")
        if abs(angle) > np.pi:
            raise BadInputError(f"{where}, {name}", f"{angle:g}", "an angle in radians")
        theta[names.index(name)] = angle
    T = json_numbers(where, entry.get("T_frame_model"), (4, 4), expected)
    T[:3, 3] *= units.mm
    return theta, rigid_transform(f"{where}, start", T)
