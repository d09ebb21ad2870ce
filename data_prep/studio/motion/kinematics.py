"""Joints of many poses at once, and derivatives of points on the hand by the 28 rotations.

The derivatives leave out the palm's cupping, which moves the knuckles by a few mm at most.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.array_math import cross
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import (
    CUPPED,
    DOF_NAMES,
    FULL_FLEXION,
    FULL_OPPOSITION,
    axis_rotation,
    rig_parents,
    rig_transforms,
)
from dhm.geometry.hand_rig import JOINT_NAMES, dof_indices
from dhm.geometry.kinematics import tree_levels

# Joint and axis of each rotation.
_ROTATED, _AXES = np.array(dof_indices(JOINT_NAMES)).T
_PARENTS = np.array(rig_parents())
_LEVELS = [np.array(level) for level in tree_levels(rig_parents())]


def _moving_rotations() -> Bool[np.ndarray, "22 28"]:
    """Returns which rotations move the frame of each joint."""
    moves = np.zeros((len(JOINT_NAMES), len(_ROTATED)), bool)
    for joint in range(len(JOINT_NAMES)):
        above = joint
        while above >= 0:
            moves[joint] |= above == _ROTATED
            above = _PARENTS[above]
    return moves


_MOVES = _moving_rotations()


def pose_rigs(
    proportions: Proportions, theta: Float[np.ndarray, "n 28"]
) -> Float[np.ndarray, "n 22 4 4"]:
    """Returns T_hand_joint of several poses: `rig.pose_rig` for all of them at once."""
    local = np.tile(rig_transforms(proportions), (len(theta), 1, 1, 1))
    opposition = np.clip(theta[:, DOF_NAMES.index("thumb1_y")] / FULL_OPPOSITION, 0.0, 1.0)
    for name, share in CUPPED.items():
        own = np.clip(theta[:, DOF_NAMES.index(f"{name}_z")] / FULL_FLEXION, 0.0, 1.0)
        turn = axis_rotation(2, proportions.cupping * share * (own + opposition) / 2)
        joint = JOINT_NAMES.index(name)
        local[:, joint, :3] = turn @ local[:, joint, :3]
    local[..., :3, :3] = local[..., :3, :3] @ _joint_rotations(theta)
    for level in _LEVELS[1:]:
        local[:, level] = local[:, _PARENTS[level]] @ local[:, level]
    return local


def _joint_angles(theta: Float[np.ndarray, "n 28"]) -> Float[np.ndarray, "n 22 3"]:
    """Rotations of each joint about x, y and z, 0 where the rig has none."""
    angles = np.zeros((len(theta), len(JOINT_NAMES), 3))
    angles[:, _ROTATED, _AXES] = theta
    return angles


def _joint_rotations(theta: Float[np.ndarray, "n 28"]) -> Float[np.ndarray, "n 22 3 3"]:
    """Rz Ry Rx of each joint."""
    angles = np.moveaxis(_joint_angles(theta), -1, 0)
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    entries = (
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    )  # fmt: skip
    return np.stack(entries, axis=-1).reshape(*cx.shape, 3, 3)


def points_in_hand(
    T_hand_joint: Float[np.ndarray, "n 22 4 4"],
    joints: Int[np.ndarray, "*p"],
    points: Float[np.ndarray, "*p 3"],
) -> Float[np.ndarray, "n *p 3"]:
    """Transforms points from joint frames to the hand's frame, mm."""
    T = T_hand_joint[:, joints]
    return np.einsum("n...ij,...j->n...i", T[..., :3, :3], points) + T[..., :3, 3]


def rotation_screws(
    theta: Float[np.ndarray, "n 28"], T_hand_joint: Float[np.ndarray, "n 22 4 4"]
) -> Float[np.ndarray, "n 28 6"]:
    """Returns each rotation as a screw in the hand's frame: its axis a and its moment c x a, mm.

    With c the joint's position, a point p moves by a x p + c x a per radian. A joint rotates by
    Rz Ry Rx: x is an axis of the rotated frame, y of the frame before Rx, z of the frame before
    Ry Rx.
    """
    angles = _joint_angles(theta)[:, _ROTATED]
    (cx, cy), (sx, sy) = (f(np.moveaxis(angles[..., :2], -1, 0)) for f in (np.cos, np.sin))
    none, one = np.zeros_like(cx), np.ones_like(cx)
    about = np.array([(one, none, none), (none, cx, -sx), (-sy, cy * sx, cy * cx)])
    local = about[_AXES, :, :, np.arange(len(_AXES))]  # [rotation, component, pose]
    T = T_hand_joint[:, _ROTATED]
    axes = np.einsum("ndij,djn->ndi", T[..., :3, :3], local)
    return np.concatenate([axes, cross(T[..., :3, 3], axes)], axis=-1)


def point_velocities(
    positions: Float[np.ndarray, "m 3"],
    joints: Int[np.ndarray, " m"],
    screws: Float[np.ndarray, "m 28 6"],
) -> Float[np.ndarray, "m 28 3"]:
    """Returns the derivatives of points by the rotations, mm / rad.

    Args:
        positions: Points in the hand's frame, mm.
        joints: Joint whose frame each point is fixed to.
        screws: `rotation_screws` of each point's pose.
    """
    moved = cross(screws[..., :3], positions[:, None]) + screws[..., 3:]
    return moved * _MOVES[joints][..., None]


def point_gradients(
    positions: Float[np.ndarray, "m 3"],
    joints: Int[np.ndarray, " m"],
    directions: Float[np.ndarray, "m 3"],
    screws: Float[np.ndarray, "m 28 6"],
) -> Float[np.ndarray, "m 28"]:
    """Returns the component of `point_velocities` along one direction per point, mm / rad."""
    wrenches = np.concatenate([cross(positions, directions), directions], axis=-1)
    return (screws @ wrenches[..., None])[..., 0] * _MOVES[joints]
