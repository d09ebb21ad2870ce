"""What every made-up hand shares: joint chains, rest frames and rotations about an axis.

In the hand's own frame the wrist is the origin, x points to the fingers, y out of the palm and z
to the thumb; every joint's x axis runs along its bone and its positive z rotation is flexion.
"""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES


def digit_joints(finger: str) -> tuple[str, ...]:
    """Returns the names of a finger's joints from its root to its tip."""
    parts = ("0", "1", "2", "3", "_null") if finger == "thumb" else ("1", "2", "3", "_null")
    return tuple(finger + part for part in parts)


def rig_parents() -> tuple[int, ...]:
    """Returns the parent of each of the 22 joints; the wrist is the root."""
    above = {"wrist": -1}
    for finger in FINGERS:
        chain = ("wrist", *digit_joints(finger))
        above |= {name: JOINT_NAMES.index(parent) for parent, name in pairwise(chain)}
    return tuple(above[name] for name in JOINT_NAMES)


def axis_rotation(axis: int, angle: float) -> Float[np.ndarray, "3 3"]:
    """Returns the right-handed rotation by an angle about a coordinate axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.eye(3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    rotation[[one, one, other, other], [one, other, one, other]] = cos, -sin, sin, cos
    return rotation


def frame_along(bone: tuple, flexes_to: tuple) -> Float[np.ndarray, "3 3"]:
    """Returns the rotation whose x axis is the bone's and whose y axis is nearest `flexes_to`."""
    x = np.array(bone) / np.linalg.norm(bone)
    y = np.array(flexes_to) - x * (x @ np.array(flexes_to))
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def chain_frames(
    finger: str, root: tuple, rotations: list[np.ndarray], lengths: tuple[float, ...]
) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Returns the frames of a finger's joints, by name; the tip is turned like the last bone.

    Args:
        finger: Name of the finger.
        root: Position of its first joint, mm.
        rotations: Orientation of each bone.
        lengths: Length of each bone, mm.
    """
    frames, position = {}, np.array(root, float)
    names = digit_joints(finger)
    for name, rotation, length in zip(
        names, [*rotations, rotations[-1]], [*lengths, 0.0], strict=True
    ):
        frames[name] = np.eye(4)
        frames[name][:3, :3], frames[name][:3, 3] = rotation, position
        position = position + rotation[:, 0] * length
    return frames


def rest_transforms(
    frames: dict[str, np.ndarray], T_model_hand: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "22 4 4"]:
    """Returns each joint's rest transform in its parent's frame, in the order of JOINT_NAMES.

    Args:
        frames: Rest frame of each joint in the hand's frame, by name.
        T_model_hand: Where the hand's frame lies in the frame of the root's rest transform.
    """
    transforms = []
    for name, parent in zip(JOINT_NAMES, rig_parents(), strict=True):
        above = frames[JOINT_NAMES[parent]] if parent >= 0 else np.linalg.inv(T_model_hand)
        transforms.append(np.linalg.inv(above) @ frames[name])
    return np.stack(transforms)
