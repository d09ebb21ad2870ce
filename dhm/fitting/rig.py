"""A rig and its skin in a pose, with analytic derivatives of joints and skin points.

A point that a rotation carries moves along axis x lever arm: a column of its Jacobian.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dhm.geometry.hand_rig import dof_indices, joint_limits, pose_to_euler
from dhm.geometry.kinematics import forward_kinematics
from dhm.geometry.transforms import (
    axis_angle_to_matrix,
    einsum,
    euler_angles_to_matrix,
    make_transform,
    matmul,
    skew_symmetric,
    transform_points,
)


@dataclass(frozen=True, eq=False)
class Rig:
    """A joint tree with its degrees of freedom and their limits.

    Attributes:
        T_parent_joint: Rest transforms, mm; may be traced.
        parents: Parent of each joint, -1 for the root.
        dofs: (joint, axis) of each angle.
        carried: Whether each angle's rotation carries each joint along.
        low: Smallest angles, radians.
        high: Largest angles.
    """

    T_parent_joint: Float[Array, "j 4 4"]
    parents: tuple[int, ...]
    dofs: tuple[tuple[int, int], ...]
    carried: Bool[np.ndarray, "d j"]
    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]

    @property
    def num_angles(self) -> int:
        return len(self.dofs)


class HandPose(NamedTuple):
    """Pose and place of a hand; `x_world = T_world_model (scale x_model)`.

    Attributes:
        theta: Joint angles, radians.
        T_world_model: Rigid root transform, mm.
        scale: Global scale.
    """

    theta: Float[Array, "*b d"]
    T_world_model: Float[Array, "*b 4 4"]
    scale: Float[Array, "*b"]


class PosedRig(NamedTuple):
    """A rig in a pose, in the model's frame.

    Attributes:
        T_model_joint: Joint frames.
        axes: Axis of each angle's rotation.
    """

    T_model_joint: Float[Array, "j 4 4"]
    axes: Float[Array, "d 3"]

    @property
    def joints(self) -> Float[Array, "j 3"]:
        return self.T_model_joint[:, :3, 3]


class Points(NamedTuple):
    """Points and their derivatives by the parameters: angles, rotation, shift, log of the scale.

    Attributes:
        position: mm.
        jacobian: mm by radian, mm and 1.
    """

    position: Float[Array, "n 3"]
    jacobian: Float[Array, "n 3 p"]


def make_rig(
    T_parent_joint: Float[Array, "j 4 4"],
    parents: tuple[int, ...],
    joint_names: tuple[str, ...],
) -> Rig:
    """Builds the rig of the 28 angles with their anatomical limits.

    Raises:
        ValueError: If a joint that carries an angle is missing.
    """
    dofs = dof_indices(joint_names)
    low, high = (np.asarray(limit, np.float32) for limit in joint_limits(joint_names))
    carried = np.zeros((len(dofs), len(parents)), bool)
    for joint in range(len(parents)):
        above = joint
        while above >= 0:
            carried[[turned == above for turned, _ in dofs], joint] = True
            above = parents[above]
    return Rig(T_parent_joint, parents, dofs, carried, low, high)


def pose_rig(rig: Rig, theta: Float[Array, " d"]) -> PosedRig:
    """Computes joint frames and axes of a pose (section 5.2; Euler triples are Rz Ry Rx)."""
    euler = pose_to_euler(theta, rig.dofs, len(rig.parents))
    own = euler_angles_to_matrix(euler)
    T_model_joint = forward_kinematics(rig.T_parent_joint, own, rig.parents)
    cos, sin = jnp.cos(euler[:, 0]), jnp.sin(euler[:, 0])
    zero, one = jnp.zeros_like(cos), jnp.ones_like(cos)
    # In the turned joint's own frame: x is x, y is Rx^T y, and z is (Rz Ry Rx)^T z.
    x, y = jnp.stack([one, zero, zero], axis=-1), jnp.stack([zero, cos, -sin], axis=-1)
    local = jnp.stack([x, y, own[:, 2, :]], axis=1)
    turned, axis = np.array(rig.dofs).T
    axes = einsum("dik,dk->di", T_model_joint[turned, :3, :3], local[turned, axis])
    return PosedRig(T_model_joint, axes)


def posed_joints(rig: Rig, theta: Float[Array, "*b d"]) -> Float[Array, "*b j 3"]:
    """Computes the joints of many poses in the model's frame, mm."""
    # One batch axis: with several XLA's CPU compiler fails on the products.
    euler = pose_to_euler(theta.reshape(-1, rig.num_angles), rig.dofs, len(rig.parents))
    frames = forward_kinematics(rig.T_parent_joint, euler_angles_to_matrix(euler), rig.parents)
    return frames[..., :3, 3].reshape(*theta.shape[:-1], -1, 3)


def joint_points(rig: Rig, posed: PosedRig, pose: HandPose) -> Points:
    """Computes the joints in the world and their derivatives."""
    joints = posed.joints
    levers = joints[:, None] - joints[None, np.array(rig.dofs)[:, 0]]
    turns = _cross(posed.axes, levers) * jnp.asarray(rig.carried.T, jnp.float32)[..., None]
    return _in_world(joints, turns, pose)


class Skin(NamedTuple):
    """Points of the skin with the correctives of a pose; static but for `v_zero`.

    Attributes:
        lbs_weights: Skinning weights of each point.
        T_joint_model: Inverse bind pose.
        v_zero: Refined zero-pose positions, mm.
        normals: Unit normals at zero pose.
    """

    lbs_weights: Float[Array, "v j"]
    T_joint_model: Float[Array, "j 4 4"]
    v_zero: Float[Array, "v 3"]
    normals: Float[Array, "v 3"]


@dataclass(frozen=True, eq=False)
class SkinSample:
    """Points of the model's skin whose correctives depend on the pose.

    Attributes:
        lbs_weights: Skinning weights.
        T_joint_model: Inverse bind pose.
        normals: Unit normals at zero pose.
        inner: Whether a point is not on the mesh's border; what matches the border may lie
            beyond it.
        refine: Zero-pose positions (mm) for a pose: template and correctives.
    """

    lbs_weights: Float[Array, "s j"]
    T_joint_model: Float[Array, "j 4 4"]
    normals: Float[Array, "s 3"]
    inner: Bool[np.ndarray, " s"]
    refine: Callable[[Float[Array, " d"]], Float[Array, "s 3"]]

    def skin(self, theta: Float[Array, " d"]) -> Skin:
        """Returns the points with the correctives of a pose."""
        return Skin(self.lbs_weights, self.T_joint_model, self.refine(theta), self.normals)


def skin_points(rig: Rig, posed: PosedRig, pose: HandPose, skin: Skin) -> Points:
    """Computes skinned points in the world; their derivative holds `v_zero` fixed.

    Linear blend skinning (paper eq. 1) is a weighted mean over joints, and a rotation carries the
    shares of those joints that it carries.
    """
    motion = matmul(posed.T_model_joint, skin.T_joint_model)
    by_joint = einsum("jik,vk->jvi", motion[:, :3, :3], skin.v_zero) + motion[:, None, :3, 3]
    shares = by_joint * skin.lbs_weights.T[..., None]
    carried = jnp.asarray(rig.carried, jnp.float32)
    weight = matmul(skin.lbs_weights, carried.T)
    carried_shares = einsum("dj,jvi->vdi", carried, shares)
    pivots = posed.joints[np.array(rig.dofs)[:, 0]]
    turns = _cross(posed.axes, carried_shares - weight[..., None] * pivots)
    return _in_world(jnp.sum(shares, axis=0), turns, pose)


def skin_normals(posed: PosedRig, pose: HandPose, skin: Skin) -> Float[Array, "v 3"]:
    """Computes unit normals of the posed points in the world, turned by the blended rotations."""
    rotations = matmul(posed.T_model_joint, skin.T_joint_model)[:, :3, :3]
    blended = einsum("vj,jik,vk->vi", skin.lbs_weights, rotations, skin.normals)
    turned = einsum("ik,vk->vi", pose.T_world_model[:3, :3], blended)
    length = jnp.linalg.norm(turned, axis=-1, keepdims=True)
    return turned / jnp.maximum(length, jnp.finfo(turned.dtype).tiny)


def move_pose(rig: Rig, pose: HandPose, step: Float[Array, " p"]) -> HandPose:
    """Moves a pose by a step of the parameters, within the limits.

    Rotation and scale act about the world's origin, which should be near the hand.
    """
    angles, turn, shift, log_scale = jnp.split(step, np.cumsum([rig.num_angles, 3, 3]))
    growth = jnp.exp(log_scale[0])
    rotation = axis_angle_to_matrix(turn)
    moved = einsum("ij,j->i", rotation, growth * pose.T_world_model[:3, 3]) + shift
    T_world_model = make_transform(matmul(rotation, pose.T_world_model[:3, :3]), moved)
    theta = jnp.clip(pose.theta + angles, rig.low, rig.high)
    return HandPose(theta, T_world_model, pose.scale * growth)


def shift_pose(pose: HandPose, shift: Float[Array, "b 3"]) -> HandPose:
    """Moves poses in the world."""
    return pose._replace(T_world_model=pose.T_world_model.at[..., :3, 3].add(shift))


def _in_world(points: Float[Array, "n 3"], turns: Float[Array, "n d 3"], pose: HandPose) -> Points:
    """Transforms points and their derivatives by the angles to the world."""
    world = transform_points(pose.T_world_model, pose.scale * points)
    by_angles = pose.scale * einsum("ik,ndk->nid", pose.T_world_model[:3, :3], turns)
    by_turn = skew_symmetric(-world)
    by_shift = jnp.broadcast_to(jnp.eye(3, dtype=world.dtype), by_turn.shape)
    jacobian = jnp.concatenate([by_angles, by_turn, by_shift, world[..., None]], axis=-1)
    return Points(world, jacobian)


def _cross(a: Float[Array, "*#b 3"], b: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
    """Computes cross products by components, which XLA:CPU fuses; `jnp.cross` it does not."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return jnp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)
