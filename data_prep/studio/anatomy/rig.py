"""Rest frames, joint limits and forward kinematics of a studio hand, in float64.

The wrist's frame is the hand's: x to the fingers, y out of the palm, z to the thumb. An Euler
triple (x, y, z) turns a joint by Rz Ry Rx on the right of its rest transform.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from data_prep.studio.anatomy.joint_tree import (
    axis_rotation,
    chain_frames,
    frame_along,
    rest_transforms,
    rig_parents,
)
from data_prep.studio.anatomy.proportions import Proportions
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES, dof_indices, dof_names
from dhm.geometry.kinematics import tree_levels

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
# Share of the cupping, and the rotations that bring it about: the finger's own flexion and the
# thumb's opposition, each divided by the angle at which it acts in full.
CUPPED = {"ring1": 0.5, "pinky1": 1.0}
FULL_FLEXION, FULL_OPPOSITION = 1.4, 0.6
_DOF_NAMES = dof_names(JOINT_NAMES)
_DOFS = dof_indices(JOINT_NAMES)


def rest_frames(proportions: Proportions) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Returns each joint's rest frame in the hand's frame, by name."""
    return {name: frame.copy() for name, frame in _rest_frames(proportions).items()}


@lru_cache(maxsize=16)
def _rest_frames(proportions: Proportions) -> dict[str, np.ndarray]:
    thumb = [frame_along(bone, _THUMB_FLEXES_TO) for bone in _THUMB_BONES]
    frames = {"wrist": np.eye(4)}
    frames |= chain_frames("thumb", proportions.roots[0], thumb, proportions.lengths[0])
    angles = zip(proportions.splay, proportions.roll, strict=True)
    for finger, (splay, roll) in enumerate(angles, start=1):
        straight = axis_rotation(1, -splay) @ axis_rotation(0, roll)
        root, lengths = proportions.roots[finger], proportions.lengths[finger]
        frames |= chain_frames(FINGERS[finger], root, [straight] * 3, lengths)
    return frames


def rig_transforms(proportions: Proportions) -> Float[np.ndarray, "22 4 4"]:
    """Returns each joint's rest transform in its parent's frame, in the order of JOINT_NAMES."""
    return _rig_transforms(proportions).copy()


@lru_cache(maxsize=16)
def _rig_transforms(proportions: Proportions) -> Float[np.ndarray, "22 4 4"]:
    return rest_transforms(_rest_frames(proportions), np.eye(4))


def pose_rig(
    proportions: Proportions, theta: Float[np.ndarray, " 28"]
) -> Float[np.ndarray, "22 4 4"]:
    """Returns T_hand_joint of the 22 joints, the palm's cupping included.

    Args:
        proportions: Whose hand.
        theta: The 28 rotations in radians, in the order of `dof_names`.
    """
    local = _cupped_transforms(proportions, theta)
    local[:, :3, :3] = local[:, :3, :3] @ _joint_rotations(theta)
    return _along_the_tree(local)


def metacarpal_frames(
    proportions: Proportions, theta: Float[np.ndarray, " 28"]
) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Returns the frames at the four knuckles that do not follow the fingers' own rotation."""
    local = _cupped_transforms(proportions, theta)
    names = [f"{finger}1" for finger in FINGERS[1:]]
    return {name: local[JOINT_NAMES.index(name)] for name in names}


def flexion(theta: Float[np.ndarray, " 28"], joint: str) -> float:
    """Returns a joint's rotation about z, 0 where the rig has none."""
    name = f"{joint}_z"
    return float(theta[_DOF_NAMES.index(name)]) if name in _DOF_NAMES else 0.0


def _joint_rotations(theta: np.ndarray) -> Float[np.ndarray, "22 3 3"]:
    rotations = np.tile(np.eye(3), (len(JOINT_NAMES), 1, 1))
    for (joint, axis), angle in zip(_DOFS, theta, strict=True):
        rotations[joint] = axis_rotation(axis, angle) @ rotations[joint]
    return rotations


def _cupped_transforms(proportions: Proportions, theta: np.ndarray) -> np.ndarray:
    local = rig_transforms(proportions)
    opposition = np.clip(theta[_DOF_NAMES.index("thumb1_y")] / FULL_OPPOSITION, 0.0, 1.0)
    for name, share in CUPPED.items():
        own = np.clip(flexion(theta, name) / FULL_FLEXION, 0.0, 1.0)
        turn = np.eye(4)
        turn[:3, :3] = axis_rotation(2, proportions.cupping * share * (own + opposition) / 2)
        joint = JOINT_NAMES.index(name)
        local[joint] = turn @ local[joint]
    return local


def _along_the_tree(local: np.ndarray) -> np.ndarray:
    parents, T = rig_parents(), local.copy()
    for level in tree_levels(parents)[1:]:
        for joint in level:
            T[joint] = T[parents[joint]] @ local[joint]
    return T
