"""Evidence files: .json for people and detectors, .npz for batches; docs/fitting.md has the format.

What they hold becomes mm and pixels; the first pixel's centre is (0, 0).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
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
    is_unmeasured,
    read_points,
    read_side,
    refuse_unknown_fields,
)
from dhm.evidence.units import UNIT_FIELDS, Units, read_units
from dhm.fitting.evidence import spread_sample
from dhm.formats.json_file import json_numbers, read_json
from dhm.formats.npz import Arrays
from dhm.formats.scan import read_scan
from dhm.geometry.hand_rig import dof_names
from dhm.geometry.mesh import vertex_normals

NUM_POINTS = 1500
"""Skin points used of a frame's depth maps and scan together."""
MIN_JOINTS = 3
"""Joints with a known 3D position that determine the root transform."""
_MIN_KEYPOINTS = 4

_FRAME_FIELDS = ("joints", "cameras", "scan", "start", "side", "fit_scale", *UNIT_FIELDS)
_ARRAYS = ("joints", "joint_confidence", "joint_names", "keypoints", "keypoint_confidence", "K",
           "T_camera_world", "depth", "K_depth", "sequence", *UNIT_FIELDS)  # fmt: skip
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
    is_npz = path.suffix.lower() == ".npz"
    content = _read_arrays(path, joint_names) if is_npz else read_json(path, _EXPECTED)
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
    views, skin = [], []
    for camera, content in cameras.items():
        if content is None:
            continue
        place = f"{where}, camera {camera}"
        view, camera_skin = read_camera(place, camera, content, folder, joint_names, units)
        views.append(view)
        skin += camera_skin
    if (scan := entry.get("scan")) is not None:
        points, normals = _read_scan(where, scan, folder)
        skin.append((units.mm * points, normals))
    positions, confidence = in_template_order(joints, joint_names, 3)
    frame = FrameEvidence(
        name, units.mm * positions, confidence, tuple(views), *_sample_skin(skin),
        read_side(where, entry), _read_start(where, entry.get("start"), joint_names, units),
        _read_flag(where, entry, "fit_scale"),
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


def _read_scan(where: str | Path, value: Any, folder: Path) -> SkinPoints:
    path = read_path(where, value, folder)
    with error_prefix(where):
        vertices, faces = read_scan(path)
    normals = vertex_normals(vertices, faces)
    usable = (normals**2).sum(axis=1) > 0.5
    return vertices[usable], normals[usable]


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
        theta[names.index(name)] = angle
    T = json_numbers(where, entry.get("T_frame_model"), (4, 4), expected)
    T[:3, 3] *= units.mm
    return theta, rigid_transform(f"{where}, start", T)


def _read_arrays(path: Path, joint_names: Sequence[str]) -> dict:
    """Reads a .npz file as the content of a .json, with arrays for depth maps."""
    arrays = Arrays(path)
    names = arrays.names
    refuse_unknown_fields(path, dict.fromkeys(names), _ARRAYS)
    order = list(joint_names)
    if "joint_names" in names:
        order = [str(name) for name in arrays.of("joint_names", "U", None)]
    observed = [arrays[name] for name in ("joints", "keypoints", "depth") if name in names]
    count = len(np.atleast_1d(observed[0])) if observed else 0
    if not count:
        raise BadInputError(path, f"arrays {list(names)}", "joints, keypoints or depth")
    sequence = arrays["sequence"] if "sequence" in names else np.array(False)
    if sequence.size != 1 or sequence.dtype.kind not in "biu":
        found = f"sequence as {sequence.dtype} {list(sequence.shape)}"
        raise BadInputError(path, found, "true or false")
    frames = [_array_frame(arrays, frame, count, order) for frame in range(count)]
    said = {
        key: arrays[key].item() for key in UNIT_FIELDS if key in names and arrays[key].size == 1
    }
    return said | {"frames": frames, "sequence": bool(sequence.item())}


def _array_frame(arrays: Arrays, frame: int, count: int, order: list[str]) -> dict:
    def array(name: str, kinds: str, *shape: int | None) -> np.ndarray:
        return arrays.measured(name, kinds, count, *shape)[frame]

    def points(name: str, confidence: str, *shape: int) -> tuple[np.ndarray, np.ndarray]:
        has_confidence = confidence in names
        weights = np.ones(shape[:-1])
        if has_confidence:
            weights = array(confidence, "f", *shape[:-1])
        return array(name, "f", *shape), weights

    names, num_joints, content = arrays.names, len(order), {}
    if "joints" in names:
        content["joints"] = _by_name(order, *points("joints", "joint_confidence", num_joints, 3))
    if "K" not in names:
        return content
    num_cameras = arrays["K"].shape[-3] if arrays["K"].ndim > 2 else 1
    cameras: list[dict] = [{} for _ in range(num_cameras)]
    for key, side in (("K", 3), ("T_camera_world", 4), ("K_depth", 3)):
        if key in names:
            shape = (num_cameras, side, side)
            is_shared = arrays[key].ndim == 3
            values = arrays.measured(key, "f", *shape) if is_shared else array(key, "f", *shape)
            for camera, value in zip(cameras, values, strict=True):
                camera[key] = value
    if "keypoints" in names:
        rows = points("keypoints", "keypoint_confidence", num_cameras, num_joints, 2)
        for camera, pixels, weights in zip(cameras, *rows, strict=True):
            camera["points"] = _by_name(order, pixels, weights)
    if "depth" in names:
        depth_maps = array("depth", "fiu", num_cameras, None, None)
        for camera, depth in zip(cameras, depth_maps, strict=True):
            camera["depth"] = depth
    used = {str(index): camera for index, camera in enumerate(cameras) if not _is_absent(camera)}
    return content | {"cameras": used}


def _is_absent(camera: dict) -> bool:
    """Returns whether a frame has neither the calibration nor a point or depth map of a camera."""
    seen = [point for point in camera.get("points", {}).values() if not is_unmeasured(point, 2)]
    return np.isnan(camera["K"]).all() and not seen and "depth" not in camera


def _by_name(order: list[str], points: np.ndarray, weights: np.ndarray) -> dict[str, list[float]]:
    """Returns points by name, with their confidence."""
    rows = zip(order, points.tolist(), weights.tolist(), strict=True)
    return {name: [*point, weight] for name, point, weight in rows}
