"""Rest frames, joint limits and forward kinematics of a synthetic hand, in float64.

In the hand's frame the wrist is the origin, x points to the fingers, y out of the palm and z to the
thumb; every joint's x axis runs along its bone and its positive z rotation is flexion. An Euler
triple (x, y, z) rotates a joint by Rz Ry Rx on the right of its rest transform.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.proportions import Proportions
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES, dof_indices, dof_names
from dhm.geometry.kinematics import tree_levels

# Direction of each bone of the thumb at rest, and the direction in which it flexes.
_THUMB_BONES = ((0.66, 0.25, 0.70), (0.72, 0.30, 0.62), (0.80, 0.25, 0.54), (0.84, 0.20, 0.50))
_THUMB_FLEXES_TO = (0.05, 0.62, -0.78)
_FINGER_LIMITS = ((-0.20, 0.20), (-0.35, 0.35), (-0.40, 1.60), (-0.05, 1.85), (-0.10, 1.35))
# Lowest and highest value of the 28 rotations of theta, radians: thumb0 x y z, thumb1 x y z,
# thumb2 z, thumb3 z, then x y z, z, z of each finger.
JOINT_LIMITS = np.array(
    (
        (-0.35, 0.35), (-0.35, 0.35), (-0.25, 0.35), (-0.50, 0.90), (-0.70, 0.70), (-0.50, 0.70),
        (-0.20, 1.00), (-0.35, 1.35), *_FINGER_LIMITS * 4,
    )
)  # fmt: skip
# Share of the cupping at each knuckle. Half of it comes from the finger's own flexion and half
# from the thumb's opposition, each divided by the angle at which it acts in full.
CUPPED = {"ring1": 0.5, "pinky1": 1.0}
FULL_FLEXION, FULL_OPPOSITION = 1.4, 0.6
DOF_NAMES = dof_names(JOINT_NAMES)
"""Names of the 28 rotations, in the order of theta."""

_DOFS = dof_indices(JOINT_NAMES)


def digit_joints(finger: str) -> tuple[str, ...]:
    """Returns the names of a digit's joints from its root to its tip."""
    parts = ("0", "1", "2", "3", "_null") if finger == "thumb" else ("1", "2", "3", "_null")
    return tuple(finger + part for part in parts)


def rig_parents() -> tuple[int, ...]:
    """Returns the parent of each of the 22 joints; the wrist is the root."""
    above = {"wrist": -1}
    for finger in FINGERS:
        chain = ("wrist", *digit_joints(finger))
        above |= {name: JOINT_NAMES.index(parent) for parent, name in pairwise(chain)}
    return tuple(above[name] for name in JOINT_NAMES)


def axis_rotation(axis: int, angle: float | Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n 3 3"]:
    """Returns right-handed rotations by angles about a coordinate axis."""
    rotation = np.zeros((*np.shape(angle), 3, 3))
    one, other = (axis + 1) % 3, (axis + 2) % 3
    rotation[..., axis, axis] = 1.0
    rotation[..., one, one] = rotation[..., other, other] = np.cos(angle)
    rotation[..., other, one] = np.sin(angle)
    rotation[..., one, other] = -np.sin(angle)
    return rotation


def rest_frames(
    proportions: Proportions, finger_flexion: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Returns each joint's rest frame in the hand's frame, by name.

    Args:
        proportions: Measures of the hand.
        finger_flexion: Flexion of each finger's three joints in the rest pose, radians.
    """
    frames = _rest_frames(proportions, finger_flexion)
    return {name: frame.copy() for name, frame in frames.items()}


@lru_cache(maxsize=16)
def _rest_frames(proportions: Proportions, finger_flexion: tuple) -> dict[str, np.ndarray]:
    thumb = [_frame_along(bone, _THUMB_FLEXES_TO) for bone in _THUMB_BONES]
    frames = {"wrist": np.eye(4)}
    frames |= _chain_frames("thumb", proportions.roots[0], thumb, proportions.lengths[0])
    angles = zip(proportions.splay, proportions.roll, strict=True)
    for finger, (splay, roll) in enumerate(angles, start=1):
        straight = axis_rotation(1, -splay) @ axis_rotation(0, roll)
        bones = [straight @ axis_rotation(2, angle) for angle in np.cumsum(finger_flexion)]
        root, lengths = proportions.roots[finger], proportions.lengths[finger]
        frames |= _chain_frames(FINGERS[finger], root, bones, lengths)
    return frames


def _frame_along(bone: tuple, flexes_to: tuple) -> Float[np.ndarray, "3 3"]:
    """Returns the rotation whose x axis is the bone's and whose y axis is nearest `flexes_to`."""
    x = np.array(bone) / np.linalg.norm(bone)
    y = np.array(flexes_to) - x * (x @ np.array(flexes_to))
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def _chain_frames(
    finger: str, root: tuple, rotations: list[np.ndarray], lengths: tuple[float, ...]
) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Returns the frames of a digit's joints, by name; the tip has the last bone's rotation."""
    frames, position = {}, np.array(root, float)
    for name, rotation, length in zip(
        digit_joints(finger), [*rotations, rotations[-1]], [*lengths, 0.0], strict=True
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
        T_model_hand: The hand's frame in the model's frame: the root's rest transform.
    """
    transforms = []
    for name, parent in zip(JOINT_NAMES, rig_parents(), strict=True):
        above = frames[JOINT_NAMES[parent]] if parent >= 0 else np.linalg.inv(T_model_hand)
        transforms.append(np.linalg.inv(above) @ frames[name])
    return np.stack(transforms)


def rig_transforms(proportions: Proportions) -> Float[np.ndarray, "22 4 4"]:
    """Returns T_parent_joint of a person at rest, in the order of JOINT_NAMES."""
    return _rig_transforms(proportions).copy()


@lru_cache(maxsize=16)
def _rig_transforms(proportions: Proportions) -> Float[np.ndarray, "22 4 4"]:
    return rest_transforms(rest_frames(proportions), np.eye(4))


def pose_rig(
    proportions: Proportions, theta: Float[np.ndarray, " 28"]
) -> Float[np.ndarray, "22 4 4"]:
    """Returns T_hand_joint of the 22 joints, the palm's cupping included.

    Args:
        proportions: Measures of the hand.
        theta: The 28 rotations in radians, in the order of DOF_NAMES.
    """
    T, parents = _cupped_transforms(proportions, theta), rig_parents()
    T[:, :3, :3] = T[:, :3, :3] @ _joint_rotations(theta)
    for level in tree_levels(parents)[1:]:
        for joint in level:
            T[joint] = T[parents[joint]] @ T[joint]
    return T


def metacarpal_frames(
    proportions: Proportions, theta: Float[np.ndarray, " 28"]
) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Returns the frames at the four knuckles without the fingers' own rotation, by joint."""
    local = _cupped_transforms(proportions, theta)
    names = [f"{finger}1" for finger in FINGERS[1:]]
    return {name: local[JOINT_NAMES.index(name)] for name in names}


def flexion(theta: Float[np.ndarray, " 28"], joint: str) -> float:
    """Returns a joint's rotation about z in radians, 0 where the rig has none."""
    name = f"{joint}_z"
    return float(theta[DOF_NAMES.index(name)]) if name in DOF_NAMES else 0.0


def _joint_rotations(theta: np.ndarray) -> Float[np.ndarray, "22 3 3"]:
    rotations = np.tile(np.eye(3), (len(JOINT_NAMES), 1, 1))
    for (joint, axis), angle in zip(_DOFS, theta, strict=True):
        rotations[joint] = axis_rotation(axis, angle) @ rotations[joint]
    return rotations


def _cupped_transforms(proportions: Proportions, theta: np.ndarray) -> np.ndarray:
    """Returns T_parent_joint with the knuckles turned into the palm, before the joints rotate."""
    local = rig_transforms(proportions)
    opposition = np.clip(theta[DOF_NAMES.index("thumb1_y")] / FULL_OPPOSITION, 0.0, 1.0)
    for name, share in CUPPED.items():
        own = np.clip(flexion(theta, name) / FULL_FLEXION, 0.0, 1.0)
        turn = np.eye(4)
        turn[:3, :3] = axis_rotation(2, proportions.cupping * share * (own + opposition) / 2)
        joint = JOINT_NAMES.index(name)
        local[joint] = turn @ local[joint]
    return local
