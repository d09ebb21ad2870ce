"""A hand of somebody else's data set as a view of the template's right hand.

A left hand comes in mirrored: the picture is flipped, x changes its sign in the world and in the
camera, and the principal point moves to the other side. What projects onto a pixel of the picture
then projects onto the same content of the flipped one.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from dhm.geometry.hand_rig import FINGERS

NUM_JOINTS = 21
MIN_JOINTS = 11
"""Of a hand's 21 joints: with fewer than half it is cut off or hidden, nothing to learn from."""

TOO_FEW_JOINTS = f"hand with fewer than {MIN_JOINTS} of its {NUM_JOINTS} joints"
NO_PICTURE = "annotation without its picture"

_TO_PALM = ("_null", "3", "2", "1")
WRIST_THEN_TIP_TO_PALM = ("wrist", *(f"{finger}{part}" for finger in FINGERS for part in _TO_PALM))
"""RHD's order."""
WRIST_THEN_PALM_TO_TIP = (
    "wrist", *(f"{finger}{part}" for finger in FINGERS for part in reversed(_TO_PALM))
)  # fmt: skip
"""FreiHAND's order, and OpenPose's."""
TIP_TO_PALM_THEN_WRIST = (*WRIST_THEN_TIP_TO_PALM[1:], "wrist")
"""InterHand2.6M's order, and the released capture's."""


class Pinhole(NamedTuple):
    """A camera and the size of its pictures.

    Attributes:
        K: Intrinsics, pixel centres at integers.
        K_size: (height, width) that K belongs to.
        T_camera_world: World to camera, mm.
    """

    K: Float[np.ndarray, "3 3"]
    K_size: tuple[int, int]
    T_camera_world: Float[np.ndarray, "4 4"]


def mirrored_camera(camera: Pinhole) -> Pinhole:
    """The camera that sees the mirrored world as the picture flipped left to right.

    With M = diag(-1, 1, 1): x_camera' = M x_camera = (M R M) (M x) + M t, and
    u' = width - 1 - u = (fx X + s Y) / -Z + width - 1 - cx.
    """
    K, T = camera.K.copy(), camera.T_camera_world.copy()
    K[0, 1] = -K[0, 1]
    K[0, 2] = camera.K_size[1] - 1 - K[0, 2]
    T[0, 1:] *= -1
    T[1:3, 0] *= -1
    return Pinhole(K, camera.K_size, T)


def mirrored_points(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """The points of the mirrored world."""
    return points * np.array([-1, 1, 1], points.dtype)


def as_template_joints(
    joint_names: tuple[str, ...],
    order: tuple[str, ...],
    points: Float[np.ndarray, "n 3"],
    valid: Bool[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, "j 3"], Bool[np.ndarray, " j"]]:
    """Brings a hand's joints into the template's order, by name.

    Args:
        joint_names: The template's joints.
        order: The names of `points`.
        points: World mm.
        valid: Which of them were annotated.

    Returns:
        The joints as float32, 0 where invalid, and which are valid; joints of the template that
        `order` lacks are invalid.
    """
    joints = np.zeros((len(joint_names), 3), np.float32)
    found = np.zeros(len(joint_names), bool)
    for joint, name in enumerate(joint_names):
        if name in order and valid[order.index(name)]:
            joints[joint], found[joint] = points[order.index(name)], True
    return joints, found
