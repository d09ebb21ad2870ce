"""The released capture's KRT file: intrinsics and extrinsics of all cameras."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.formats.text import Line, read_lines

_LINES_PER_CAMERA = 8


class KrtCamera(NamedTuple):
    """One camera of a KRT file.

    Attributes:
        K: Intrinsics.
        distortion: Lens coefficients (the released pictures are undistorted already).
        T_camera_world: World to camera, mm.
    """

    K: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " d"]
    T_camera_world: Float[np.ndarray, "4 4"]


def read_krt(path: str | Path) -> dict[str, KrtCamera]:
    """Reads all cameras of a KRT file, by name, in the file's order.

    Raises:
        BadInputError: The file is empty or truncated, a number is not finite, a camera comes
            twice, K is not an intrinsic matrix or R is not a rotation.
    """
    lines = read_lines(path)
    if not lines:
        raise BadInputError(path, "no camera", "blocks of a name, K, distortion and [R | t]")
    cameras: dict[str, KrtCamera] = {}
    for start in range(0, len(lines), _LINES_PER_CAMERA):
        block = lines[start : start + _LINES_PER_CAMERA]
        name_line = block[0]
        if len(name_line.tokens) != 1:
            raise name_line.refusal(f"{len(name_line.tokens)} values", "a camera's name alone")
        name = name_line.tokens[0]
        if name in cameras:
            raise name_line.refusal(f"camera {name} a second time", "each camera once")
        cameras[name] = _parse_camera(name, block)
    return cameras


def _parse_camera(name: str, block: list[Line]) -> KrtCamera:
    if len(block) < _LINES_PER_CAMERA:
        raise block[-1].refusal(
            f"the end of the file after {len(block)} lines of camera {name}",
            f"{_LINES_PER_CAMERA} lines: name, K (3), distortion, [R | t] (3)",
        )
    K = np.array([line.floats(0, 3, f"camera {name}'s K") for line in block[1:4]])
    distortion = np.array([block[4].float(t, "the distortion") for t in block[4].tokens])
    T = np.eye(4)
    T[:3] = [line.floats(0, 4, f"camera {name}'s [R | t]") for line in block[5:8]]
    _check_intrinsics(K, block[1], name)
    _check_rotation(T[:3, :3], block[5], name)
    return KrtCamera(K, distortion, T)


def _check_intrinsics(K: np.ndarray, line: Line, name: str) -> None:
    below = np.array([K[1, 0], K[2, 0], K[2, 1], K[2, 2] - 1.0])
    if np.abs(below).max() > 1e-6 or min(K[0, 0], K[1, 1]) <= 0:
        raise line.refusal(
            f"K = {K.tolist()} of camera {name}",
            "an upper triangular K with positive focal lengths and last row 0 0 1",
        )


def _check_rotation(R: np.ndarray, line: Line, name: str) -> None:
    error = np.abs(R @ R.T - np.eye(3)).max()
    determinant = np.linalg.det(R)
    if not (error <= 1e-3 and determinant > 0):
        raise line.refusal(
            f"an R of camera {name} with |R R^T - I| = {error:.3g}, det {determinant:.3g}",
            "a rotation (orthonormal within 1e-3, determinant +1)",
        )


def write_krt(path: str | Path, cameras: dict[str, KrtCamera]) -> None:
    """Writes cameras in the layout that `read_krt` reads."""
    blocks = []
    for name, camera in cameras.items():
        rows = [*camera.K, camera.distortion, *camera.T_camera_world[:3]]
        numbers = [" ".join(f"{value:.9f}" for value in row) for row in rows]
        blocks.append("\n".join([name, *numbers]) + "\n")
    Path(path).write_text("\n".join(blocks) + "\n")
