"""Annotation files of the released capture.

Cameras (`KRT_512`), keypoints (`keypoints<FRAME>.pts`) and depth maps (`depthmap<CAMERA>.pkl`). The
depth maps are pickled NumPy arrays, which are read without running anything: the array is built
from the records that `restricted_pickle` makes of the file.
"""

import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from dhm.errors import BadInputError
from dhm.formats.restricted_pickle import (
    ARRAY_GLOBALS,
    ONLY_ARRAYS,
    brief,
    build_array,
    load_records,
)
from dhm.formats.text import MAX_MAGNITUDE, Line, read_lines

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_ONE_HAND = (*(f"{f}{part}" for f in _FINGERS for part in ("_null", "3", "2", "1")), "wrist")

KEYPOINT_NAMES: tuple[str, ...] = tuple(
    side + name for side in ("b_r_", "b_l_") for name in _ONE_HAND
)
"""Joint of each of the 42 indices: the right hand's 21, then the left hand's."""


_LINES_PER_CAMERA = 8
_BLOCK = "8 lines: name, K (3), distortion, [R | t] (3)"
_MOST_COEFFICIENTS = 8  # of the lens: k1, k2, p1, p2, k3 to k6, in OpenCV's order
_DEPTH_MAP = "a pickled 2-D NumPy array of depths in mm"


class KrtCamera(NamedTuple):
    """One camera of a KRT file.

    Attributes:
        K: Intrinsics.
        distortion: Lens coefficients, which nothing applies: the released pictures are already
            undistorted. The preparation says where they are not 0.
        T_camera_world: World to camera, mm.
    """

    K: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " d"]
    T_camera_world: Float[np.ndarray, "4 4"]


def read_krt(
    path: str | Path, damaged: dict[str, BadInputError] | None = None
) -> dict[str, KrtCamera]:
    """Reads the cameras of a KRT file by name, in the file's order.

    Args:
        path: The file.
        damaged: Gets, by name, why a camera whose block is complete cannot be used: a number is
            none or not finite, K is not an intrinsic matrix, R is not a rotation, the name comes
            twice. Without it the first such camera is refused.

    Raises:
        BadInputError: The file is empty, or its lines do not form blocks of cameras.
    """
    lines = read_lines(path)
    if not lines:
        raise BadInputError(path, "no camera", f"blocks of {_BLOCK}")
    cameras: dict[str, KrtCamera] = {}
    refused: dict[str, BadInputError] = {}
    for start in range(0, len(lines), _LINES_PER_CAMERA):
        block = lines[start : start + _LINES_PER_CAMERA]
        name = _name_of_block(block)
        try:
            if name in cameras or name in refused:
                cameras.pop(name, None)  # either may be meant
                raise block[0].refusal(f"camera {name} a second time", "each camera once")
            cameras[name] = _parse_camera(name, block)
        except BadInputError as error:
            if damaged is None:
                raise
            refused[name] = error
    if damaged is not None:
        damaged.update(refused)
    return cameras


def _name_of_block(block: list[Line]) -> str:
    """Returns a camera's name after checking that its block has the lines of one."""
    first = block[0]
    if len(first.tokens) != 1:
        expected = f"a camera's name alone (a camera has {_BLOCK})"
        raise first.refusal(f"{len(first.tokens)} values", expected)
    name = first.tokens[0]
    if len(block) < _LINES_PER_CAMERA:
        found = f"the end of the file after {len(block)} lines of camera {name}"
        raise block[-1].refusal(found, _BLOCK)
    for rows, count, of in ((block[1:4], 3, "K"), (block[5:], 4, "[R | t]")):
        for line in rows:
            if len(line.tokens) != count:
                expected = f"{count} numbers of camera {name}'s {of} (a camera has {_BLOCK})"
                raise line.refusal(f"{len(line.tokens)} values", expected)
    return name


def _parse_camera(name: str, block: list[Line]) -> KrtCamera:
    K = np.array([line.floats(0, 3, f"camera {name}'s K") for line in block[1:4]])
    distortion = np.array([block[4].float(t, "the distortion") for t in block[4].tokens])
    T = np.eye(4)
    T[:3] = [line.floats(0, 4, f"camera {name}'s [R | t]") for line in block[5:8]]
    _check_intrinsics(K, block[1], name)
    block[5].check_rotation(T[:3, :3], f"an R of camera {name}")
    return KrtCamera(K, distortion, T)


def _check_intrinsics(K: np.ndarray, line: Line, name: str) -> None:
    below = np.array([K[1, 0], K[2, 0], K[2, 1], K[2, 2] - 1.0])
    if np.abs(below).max() > 1e-6 or min(K[0, 0], K[1, 1]) <= 0:
        raise line.refusal(
            f"K = {K.tolist()} of camera {name}",
            "an upper triangular K with positive focal lengths and last row 0 0 1",
        )


def largest_shift_px(camera: KrtCamera, size: tuple[int, int]) -> float | None:
    """Returns how far the lens moves the pixels of a picture's border at most.

    Args:
        camera: The camera, its coefficients in OpenCV's order: k1, k2, p1, p2, k3 to k6.
        size: (height, width) of the picture that K belongs to.

    Returns:
        Pixels; None where there are more coefficients.
    """
    if len(camera.distortion) > _MOST_COEFFICIENTS:
        return None
    missing = _MOST_COEFFICIENTS - len(camera.distortion)
    k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(camera.distortion, (0, missing))
    height, width = size
    along, down = np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9)
    border = np.concatenate(
        [np.stack(np.broadcast_arrays(u, v), axis=1)
         for u, v in ((along, 0), (along, height - 1), (0, down), (width - 1, down))]
    )  # fmt: skip
    x, y, _ = np.linalg.inv(camera.K) @ np.column_stack([border, np.ones(len(border))]).T
    r2 = x * x + y * y
    numerator = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    with np.errstate(all="ignore"):  # coefficients that are no lens's
        radial = numerator / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        dx = x * (radial - 1) + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        dy = y * (radial - 1) + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        shift = camera.K[:2, :2] @ np.stack([dx, dy])
        return float(np.linalg.norm(shift, axis=0).max())


def write_krt(path: str | Path, cameras: dict[str, KrtCamera]) -> None:
    """Writes a KRT file."""
    blocks = []
    for name, camera in cameras.items():
        rows = [*camera.K, camera.distortion, *camera.T_camera_world[:3]]
        numbers = [" ".join(f"{value:.9f}" for value in row) for row in rows]
        blocks.append("\n".join([name, *numbers]) + "\n")
    Path(path).write_text("\n".join(blocks) + "\n")


class Keypoints(NamedTuple):
    """The joints of one frame, at the indices of `KEYPOINT_NAMES`.

    Attributes:
        points: World mm; 0 where not measured.
        valid: Whether the joint was measured: the file has it, with a score and views above 0,
            and not at 0 0 0 together with others.
        score: Detection scores summed over the views.
        num_views: Number of views the joint was triangulated from.
    """

    points: Float[np.ndarray, "42 3"]
    valid: Bool[np.ndarray, " 42"]
    score: Float[np.ndarray, " 42"]
    num_views: Float[np.ndarray, " 42"]


def read_keypoints(path: str | Path) -> Keypoints:
    """Reads a .pts file: `index x y z score_sum view_count` a line, in any order.

    A joint with a score of 0, no views, or NaN in its line was not measured, nor were several at
    0 0 0.

    Raises:
        BadInputError: The file is empty, a line is truncated, a number is infinite, or an index is
            unknown or comes twice.
    """
    lines = read_lines(path)
    if not lines:
        raise BadInputError(path, "no keypoint", "a line `index x y z score views` for each joint")
    table = np.zeros((len(KEYPOINT_NAMES), 5))
    listed = np.zeros(len(KEYPOINT_NAMES), bool)
    for line in lines:
        index = line.int(line.tokens[0], "a keypoint's index")
        if not 0 <= index < len(listed):
            raise line.refusal(f"keypoint {index}", f"an index from 0 to {len(listed) - 1}")
        if listed[index]:
            raise line.refusal(f"keypoint {index} a second time", "each keypoint once")
        listed[index] = True
        if any(token.lower() in ("nan", "+nan", "-nan") for token in line.tokens[1:]):
            line = line._replace(tokens=[line.tokens[0], *("0" for _ in line.tokens[1:])])
        table[index] = line.floats(1, 5, "a keypoint (x y z score views)")
    valid = (table[:, 3:] > 0).all(axis=1)
    at_origin = valid & (table[:, :3] == 0).all(axis=1)
    if at_origin.sum() > 1:  # no two joints are in one place
        valid &= ~at_origin
    table[~valid, :3] = 0
    return Keypoints(table[:, :3], valid, table[:, 3], table[:, 4])


def write_keypoints(path: str | Path, keypoints: Keypoints) -> None:
    """Writes a .pts file of the valid keypoints."""
    rows = [
        f"{index} {x:.6f} {y:.6f} {z:.6f} {keypoints.score[index]:.4f}"
        f" {keypoints.num_views[index]:.0f}\n"
        for index, (x, y, z) in enumerate(keypoints.points)
        if keypoints.valid[index]
    ]
    Path(path).write_text("".join(rows))


def read_depth_pickle(path: str | Path) -> Float[np.ndarray, "h w"]:
    """Reads a depth map: float32 mm along the camera's z, 0 = background; NaN becomes 0.

    Raises:
        BadInputError: The pickle refers to anything but NumPy's array reconstruction (nothing of
            it runs), is damaged or truncated, or does not hold depths >= 0 in two axes.
    """
    path = Path(path)
    record = load_records(path, ARRAY_GLOBALS, ONLY_ARRAYS, _DEPTH_MAP)
    try:
        depth = build_array(record)
        if depth.ndim != 2:
            raise ValueError(f"shape {brief(depth.shape)}")
    except ValueError as error:
        raise BadInputError(path, f"a damaged pickle ({error})", _DEPTH_MAP) from None
    if depth.dtype.kind == "f":
        depth = np.where(np.isnan(depth), 0, depth)  # not measured
    if not ((depth >= 0) & (depth.astype(np.float64) <= MAX_MAGNITUDE)).all():
        raise BadInputError(path, "a depth that is negative or infinite", "depths >= 0 in mm")
    return depth.astype(np.float32)


def write_depth_pickle(path: str | Path, depth: Float[np.ndarray, "h w"]) -> None:
    """Writes a depth map as a pickled float32 array."""
    with Path(path).open("wb") as file:
        pickle.dump(np.ascontiguousarray(depth, np.float32), file, protocol=4)
