"""Evidence in .npz files: batches of frames as arrays, read as the content of a .json."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dhm.errors import BadInputError
from dhm.evidence.keypoints import is_unmeasured, refuse_unknown_fields
from dhm.evidence.units import UNIT_FIELDS
from dhm.formats.npz import Arrays

OBSERVED = ("joints", "keypoints", "depth")
"""Arrays of what was observed, one entry a frame."""

# Axes: f frames, c cameras, j joints, h and w of a depth map.
_SHAPES: dict[str, tuple[str | int, ...]] = {
    "joints": ("f", "j", 3),
    "joint_confidence": ("f", "j"),
    "keypoints": ("f", "c", "j", 2),
    "keypoint_confidence": ("f", "c", "j"),
    "K": ("f", "c", 3, 3),
    "T_camera_world": ("f", "c", 4, 4),
    "K_depth": ("f", "c", 3, 3),
    "depth": ("f", "c", "h", "w"),
}
_CALIBRATION = ("K", "T_camera_world", "K_depth")  # may be without the axis of frames
_NEEDS = {
    "joint_confidence": "joints", "keypoints": "K", "keypoint_confidence": "keypoints",
    "T_camera_world": "K", "K_depth": "K", "depth": "K",
}  # fmt: skip
_ARRAYS = (*_SHAPES, "joint_names", "sequence", *UNIT_FIELDS)


def read_arrays(path: Path, joint_names: Sequence[str]) -> dict:
    """Reads a .npz file as the content of a .json, with arrays for depth maps.

    Args:
        path: The file.
        joint_names: The template's joint names.

    Raises:
        BadInputError: If it is damaged, or an array is unknown, of another shape, or useless
            without one that is missing.
    """
    arrays = Arrays(path)
    names = arrays.names
    refuse_unknown_fields(path, dict.fromkeys(names), _ARRAYS)
    for name, needed in _NEEDS.items():
        if name in names and needed not in names:
            raise BadInputError(path, f"{name} without {needed}", f"both, or neither of {name}")
    order = _joint_order(path, arrays, joint_names)
    sizes = _sizes(path, arrays, len(order))
    content = {name: _numbers(path, arrays, name, sizes) for name in _SHAPES if name in names}
    frames = [
        _frame({name: array[frame] for name, array in content.items()}, order)
        for frame in range(sizes["f"])
    ]
    said = {key: _one(path, arrays, key) for key in (*UNIT_FIELDS, "sequence") if key in names}
    if not isinstance(said.get("sequence", False), bool | int):
        raise BadInputError(path, f"sequence = {said['sequence']!r}", "true or false")
    return said | {"frames": frames, "sequence": bool(said.get("sequence", False))}


def _joint_order(path: Path, arrays: Arrays, joint_names: Sequence[str]) -> list[str]:
    """Returns the names of the file's joints in their order."""
    if "joint_names" not in arrays.names:
        return list(joint_names)
    order = [str(name) for name in arrays.of("joint_names", "U", None)]
    for name in order:
        if order.count(name) > 1:
            raise BadInputError(path, f"{name!r} twice in joint_names", "each joint once")
    return order


def _sizes(path: Path, arrays: Arrays, num_joints: int) -> dict[str, int]:
    """Returns the lengths of the axes that several arrays share."""
    observed = [name for name in OBSERVED if name in arrays.names]
    if not observed:
        raise BadInputError(path, f"arrays {list(arrays.names)}", "joints, keypoints or depth")
    first = arrays[observed[0]]
    if first.ndim != len(_SHAPES[observed[0]]):
        raise _misshapen(path, observed[0], first, {"j": num_joints})
    if not len(first):
        raise BadInputError(path, f"{observed[0]} of no frame", "one frame or more")
    sizes = {"f": len(first), "j": num_joints}
    if "K" in arrays.names:
        K = arrays["K"]
        if K.ndim not in (3, 4):
            raise _misshapen(path, "K", K, sizes)
        sizes["c"] = K.shape[-3]
    return sizes


def _numbers(path: Path, arrays: Arrays, name: str, sizes: Mapping[str, int]) -> np.ndarray:
    """Returns an array with the axis of frames; numbers of any kind, and truth as confidence."""
    array, axes = arrays[name], _SHAPES[name]
    is_shared = name in _CALIBRATION and array.ndim == len(axes) - 1
    shape = [sizes.get(axis) if isinstance(axis, str) else axis for axis in axes[is_shared:]]
    kinds = "fiub" if name.endswith("_confidence") else "fiu"
    fits = array.ndim == len(shape) and all(
        want in (None, have) for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits or not array.size or array.dtype.kind not in kinds:
        raise _misshapen(path, name, array, sizes)
    array = arrays.measured(name, kinds, *shape)
    if name != "depth":
        array = array.astype(np.float64)
    return np.broadcast_to(array, (sizes["f"], *array.shape)) if is_shared else array


def _misshapen(path: Path, name: str, array: np.ndarray, sizes: Mapping[str, int]) -> BadInputError:
    axes = _SHAPES[name]
    expected = f"numbers {_bracketed(axes)}"
    if name in _CALIBRATION:
        expected += f" or {_bracketed(axes[1:])}"
    if known := [f"{axis} = {sizes[axis]}" for axis in axes if axis in sizes]:
        expected += f" with {', '.join(known)}"
    if "j" in axes:
        expected += ", the template's joints unless joint_names says which"
    return BadInputError(path, f"{name} as {array.dtype} {list(array.shape)}", expected)


def _bracketed(axes: Sequence[str | int]) -> str:
    return f"[{' '.join(map(str, axes))}]"


def _one(path: Path, arrays: Arrays, key: str) -> object:
    """Returns the value of an array that holds one for all frames."""
    array = arrays[key]
    if array.size != 1:
        found = f"{key} as {array.dtype} {list(array.shape)}"
        raise BadInputError(path, found, "one value for all frames")
    return array.item()


def _frame(content: Mapping[str, np.ndarray], order: list[str]) -> dict:
    """Returns one frame's arrays as an entry of a .json's "frames"."""
    frame: dict = {}
    if "joints" in content:
        frame["joints"] = _by_name(order, content["joints"], content.get("joint_confidence"))
    if "K" not in content:
        return frame
    cameras = {}
    for c in range(len(content["K"])):
        camera = {key: content[key][c] for key in (*_CALIBRATION, "depth") if key in content}
        if "keypoints" in content:
            weights = content.get("keypoint_confidence")
            own = None if weights is None else weights[c]
            camera["points"] = _by_name(order, content["keypoints"][c], own)
        if not _is_absent(camera):
            cameras[str(c)] = camera
    return frame | {"cameras": cameras}


def _is_absent(camera: dict) -> bool:
    """Returns whether a frame has neither the calibration nor a point or depth map of a camera."""
    seen = [point for point in camera.get("points", {}).values() if not is_unmeasured(point, 2)]
    return np.isnan(camera["K"]).all() and not seen and "depth" not in camera


def _by_name(
    order: list[str], points: np.ndarray, weights: np.ndarray | None
) -> dict[str, list[float]]:
    """Returns points by name, with their confidence, 1 by default."""
    if weights is None:
        weights = np.ones(len(order))
    rows = zip(order, points.tolist(), weights.tolist(), strict=True)
    return {name: [*point, weight] for name, point, weight in rows}
