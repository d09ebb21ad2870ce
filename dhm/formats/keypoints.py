"""The released capture's keypoint files: 3-D joints of one frame."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from dhm.errors import BadInputError
from dhm.formats.text import read_lines

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
_ONE_HAND = (*(f"{f}{part}" for f in _FINGERS for part in ("_null", "3", "2", "1")), "wrist")

KEYPOINT_NAMES: tuple[str, ...] = tuple(
    side + name for side in ("b_r_", "b_l_") for name in _ONE_HAND
)
"""Name of each of the 42 indices: the right hand's 21, then the left hand's."""


class Keypoints(NamedTuple):
    """The joints of one frame, at the indices of `KEYPOINT_NAMES`.

    Attributes:
        points: World mm; 0 where not annotated.
        valid: Whether the file has the joint.
        score: Detection scores summed over the views.
        num_views: Number of views the joint was triangulated from.
    """

    points: Float[np.ndarray, "42 3"]
    valid: Bool[np.ndarray, " 42"]
    score: Float[np.ndarray, " 42"]
    num_views: Float[np.ndarray, " 42"]


def read_keypoints(path: str | Path) -> Keypoints:
    """Reads a .pts file: `index x y z score_sum view_count` a line, in any order.

    Raises:
        BadInputError: The file is empty, a line is truncated, a number is not finite, or an
            index is unknown or comes twice.
    """
    lines = read_lines(path)
    if not lines:
        raise BadInputError(path, "no keypoint", "a line `index x y z score views` for each joint")
    table = np.zeros((len(KEYPOINT_NAMES), 5))
    valid = np.zeros(len(KEYPOINT_NAMES), bool)
    for line in lines:
        index = line.int(line.tokens[0], "a keypoint's index")
        if not 0 <= index < len(valid):
            raise line.refusal(f"keypoint {index}", f"an index from 0 to {len(valid) - 1}")
        if valid[index]:
            raise line.refusal(f"keypoint {index} a second time", "each keypoint once")
        table[index] = line.floats(1, 5, "a keypoint (x y z score views)")
        valid[index] = True
    return Keypoints(table[:, :3], valid, table[:, 3], table[:, 4])


def write_keypoints(path: str | Path, keypoints: Keypoints) -> None:
    """Writes the valid keypoints in the layout that `read_keypoints` reads."""
    rows = [
        f"{index} {x:.6f} {y:.6f} {z:.6f} {keypoints.score[index]:.4f}"
        f" {keypoints.num_views[index]:.0f}\n"
        for index, (x, y, z) in enumerate(keypoints.points)
        if keypoints.valid[index]
    ]
    Path(path).write_text("".join(rows))
