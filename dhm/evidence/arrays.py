"""A batch of evidence in one .npz file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dhm.errors import BadInputError
from dhm.evidence.values import refuse_unknown
from dhm.formats.npz import Arrays


def content_of_arrays(path: Path, joint_names: Sequence[str]) -> dict:
    """The content of a .npz as that of a .json, with arrays for depth maps."""
    arrays = Arrays(path)
    names = arrays.names
    known = ("joints", "joint_confidence", "joint_names", "keypoints", "keypoint_confidence", "K",
             "T_camera_world", "depth", "K_depth", "sequence")  # fmt: skip
    refuse_unknown(path, dict.fromkeys(names), known)
    order = list(joint_names)
    if "joint_names" in names:
        order = [str(name) for name in arrays.of("joint_names", "U", None)]
    count = next((len(arrays[n]) for n in ("joints", "keypoints", "depth") if n in names), 0)
    if not count:
        raise BadInputError(path, f"arrays {list(names)}", "joints, keypoints or depth")
    frames = [_array_frame(arrays, frame, count, order) for frame in range(count)]
    return {
        "frames": frames,
        "sequence": bool(arrays["sequence"]) if "sequence" in names else False,
    }


def _array_frame(arrays: Arrays, frame: int, count: int, order: list[str]) -> dict:
    names, num_joints, content = arrays.names, len(order), {}
    if "joints" in names:
        joints = arrays.of("joints", "f", count, num_joints, 3)[frame]
        weights = np.ones(num_joints)
        if "joint_confidence" in names:
            weights = arrays.of("joint_confidence", "f", count, num_joints)[frame]
        content["joints"] = _rows(order, joints, weights)
    if "K" not in names:
        return content
    num_cameras = arrays["K"].shape[-3] if arrays["K"].ndim > 2 else 1
    cameras: dict[str, dict] = {str(c): {} for c in range(num_cameras)}
    for key in ("K", "T_camera_world", "K_depth"):
        if key in names:
            side = 4 if key == "T_camera_world" else 3
            each = (num_cameras, side, side)
            fixed = arrays[key].ndim == 3
            array = (
                arrays.of(key, "f", *each) if fixed else arrays.of(key, "f", count, *each)[frame]
            )
            for c in range(num_cameras):
                cameras[str(c)][key] = array[c]
    if "keypoints" in names:
        points = arrays.of("keypoints", "f", count, num_cameras, num_joints, 2)[frame]
        weights = np.ones((num_cameras, num_joints))
        if "keypoint_confidence" in names:
            shape = (count, num_cameras, num_joints)
            weights = arrays.of("keypoint_confidence", "f", *shape)[frame]
        for c in range(num_cameras):
            cameras[str(c)]["points"] = _rows(order, points[c], weights[c])
    if "depth" in names:
        depth = arrays.of("depth", "fiu", count, num_cameras, None, None)[frame]
        for c in range(num_cameras):
            cameras[str(c)]["depth"] = depth[c]
    return content | {"cameras": cameras}


def _rows(order: list[str], points: np.ndarray, weights: np.ndarray) -> dict[str, list[float]]:
    """Points by name, without those of no confidence."""
    return {
        name: [*point, weight]
        for name, point, weight in zip(order, points.tolist(), weights.tolist(), strict=True)
        if weight != 0
    }
