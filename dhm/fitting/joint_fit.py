"""Joint angles from 3D joints: the pose and root transform that put the model's joints there."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dhm.arguments import require_shapes
from dhm.fitting.levenberg_marquardt import NormalEquations, minimise, normal_equations
from dhm.fitting.rig import HandPose, Rig, joint_points, make_rig, move_pose, pose_rig
from dhm.fitting.terms import angle_bounds, prior_term
from dhm.geometry.alignment import rigid_alignment
from dhm.geometry.transforms import transform_points

# Weight of the prior, mm per radian: it decides only what the joints leave open, such as the twist
# of a straight finger.
PRIOR = 0.5
_NUM_STEPS = 30
# Where in the range of every angle to start. From zero, where the thumb is straight, one pose in
# five ends with the thumb bent the wrong way; from these two, none of 400 did.
STARTS = (0.5, 0.65)


class FittedPose(NamedTuple):
    """Poses found by `fit_joints`.

    Attributes:
        theta: Joint angles, radians, within the limits.
        T_world_model: Root transform that goes with them, by all valid joints.
        residual: Mean distance of the valid joints, mm.
    """

    theta: Float[Array, "b d"]
    T_world_model: Float[Array, "b 4 4"]
    residual: Float[Array, " b"]


class PoseSpace(NamedTuple):
    """The limits, prior and starts of a fit to joints.

    Attributes:
        low: Smallest value of each parameter, radians.
        high: Largest value.
        rest: The prior's pose, which decides what the joints leave open.
        starts: Where to start from.
    """

    low: Float[Array, " d"]
    high: Float[Array, " d"]
    rest: Float[Array, " d"]
    starts: Float[Array, "n d"]


def fit_pose(
    T_parent_joint: Float[Array, "j 4 4"],
    parents: tuple[int, ...],
    joint_names: tuple[str, ...],
    target: Float[Array, "b j 3"],
    valid: Bool[Array, "b j"],
) -> FittedPose:
    """Fits the 28 angles of a rig to joints, within the anatomical limits and from two starts.

    The derivatives are analytic (`dhm.fitting.rig`), which is some ten times as fast as
    `fit_joints`, and the root transform is iterated along with the angles.

    Args:
        T_parent_joint: Rest transforms of the rig, mm; a trained model's `skeleton()`.
        parents: Parent of each joint. Static.
        joint_names: Names of the joints. Static.
        target: Joints to reach, mm.
        valid: Which of them count. With fewer than three the pose is the prior's.

    Returns:
        The best pose of each sample. A large residual tells joints in another unit or order.

    Raises:
        BadInputError: The shapes do not fit each other.
    """
    require_shapes(
        joint_names=(np.empty(len(joint_names)), "j"),
        parents=(np.asarray(parents), "j"),
        T_parent_joint=(T_parent_joint, "j 4 4"),
        target=(target, "b j 3"),
        valid=(valid, "b j"),
    )
    rig = make_rig(T_parent_joint, parents, joint_names)

    def fit(
        points: Float[Array, "j 3"], weights: Float[Array, " j"], theta: Float[Array, " d"]
    ) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        def linearise(pose: HandPose) -> NormalEquations:
            joints = joint_points(rig, pose_rig(rig, pose.theta), pose)
            errors = ((joints.position - points) * weights[:, None]).reshape(-1)
            jacobian = (joints.jacobian * weights[:, None, None]).reshape(len(errors), -1)
            return normal_equations(errors, jacobian) + prior_term(
                pose, jnp.zeros_like(theta), PRIOR
            )

        def fixed(pose: HandPose, gradient: Float[Array, " p"]) -> Bool[Array, " p"]:
            return angle_bounds(rig, pose, gradient).at[-1].set(True)  # the scale is not fitted

        T = rigid_alignment(pose_rig(rig, theta).joints, points, weights)
        start = HandPose(theta, T, jnp.float32(1))
        pose, cost = minimise(linearise, lambda *to: move_pose(rig, *to), fixed, start, _NUM_STEPS)
        return pose.theta, cost

    return _best_of_starts(
        fit, lambda theta: pose_rig(rig, theta).joints, default_starts(rig), target, valid
    )


def default_starts(rig: Rig) -> Float[Array, "n d"]:
    """Returns angles to start from without any knowledge of the pose."""
    return jnp.stack([rig.low + fraction * (rig.high - rig.low) for fraction in STARTS])


def fit_joints(
    pose_joints: Callable[[Float[Array, " d"]], Float[Array, "j 3"]],
    space: PoseSpace,
    target: Float[Array, "b j 3"],
    valid: Bool[Array, "b j"],
) -> FittedPose:
    """Fits any model's pose parameters to joints by Levenberg-Marquardt, from several starts.

    The root transform is not iterated: at every step it is the best rigid alignment of all valid
    joints, through which the derivatives go.

    Args:
        pose_joints: The model's joints in a pose, mm.
        space: Limits, prior and starts.
        target: Joints to reach, mm.
        valid: Which of them count. With fewer than three the pose is the prior's.

    Returns:
        The best pose of each sample.
    """

    def fit(
        points: Float[Array, "j 3"], weights: Float[Array, " j"], theta: Float[Array, " d"]
    ) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        def residuals(theta: Float[Array, " d"]) -> Float[Array, " n"]:
            joints = pose_joints(theta)
            aligned = transform_points(rigid_alignment(joints, points, weights), joints)
            errors = (aligned - points) * weights[:, None]
            return jnp.concatenate([errors.reshape(-1), PRIOR * (theta - space.rest)])

        def linearise(theta: Float[Array, " d"]) -> NormalEquations:
            return normal_equations(residuals(theta), jax.jacfwd(residuals)(theta))

        def move(theta: Float[Array, " d"], step: Float[Array, " d"]) -> Float[Array, " d"]:
            return jnp.clip(theta + step, space.low, space.high)

        def fixed(theta: Float[Array, " d"], gradient: Float[Array, " d"]) -> Bool[Array, " d"]:
            return ((theta <= space.low) & (gradient > 0)) | (
                (theta >= space.high) & (gradient < 0)
            )

        return minimise(linearise, move, fixed, theta, _NUM_STEPS)

    return _best_of_starts(fit, pose_joints, space.starts, target, valid)


def _best_of_starts(
    fit: Callable[..., tuple[Float[Array, " d"], Float[Array, ""]]],
    pose_joints: Callable[[Float[Array, " d"]], Float[Array, "j 3"]],
    starts: Float[Array, "n d"],
    target: Float[Array, "b j 3"],
    valid: Bool[Array, "b j"],
) -> FittedPose:
    """Runs `fit(points, weights, start)` on every sample from every start; keeps the best."""
    weights = valid.astype(jnp.float32)
    counts = jnp.maximum(jnp.sum(weights, axis=1), 1)
    # About the points' own centre: far from the origin float32 has fewer digits to spare.
    target = jnp.where(valid[..., None], target, 0)
    centre = jnp.sum(target, axis=1) / counts[:, None]
    points = jnp.where(valid[..., None], target - centre[:, None], 0)
    from_starts = jax.vmap(jax.vmap(fit, in_axes=(None, None, 0)), in_axes=(0, 0, None))
    ends, cost = from_starts(points, weights, starts)
    theta = ends[jnp.arange(len(target)), jnp.argmin(cost, axis=1)]
    joints = jax.vmap(pose_joints)(theta)
    T = rigid_alignment(joints, points, weights)
    distance = jnp.linalg.norm(transform_points(T, joints) - points, axis=-1)
    residual = jnp.sum(distance * weights, axis=1) / counts
    return FittedPose(theta, T.at[:, :3, 3].add(centre), residual)
