"""Joint angles from 3D joints: the pose and root transform that put the model's joints there."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dhm.geometry.alignment import rigid_alignment
from dhm.geometry.hand_rig import dof_indices, joint_limits, pose_to_euler
from dhm.geometry.kinematics import forward_kinematics
from dhm.geometry.rotations import euler_angles_to_matrix
from dhm.geometry.transforms import matmul, transform_points

# Weight of the prior, mm per radian: it decides only what the joints leave open, such
# as the twist of a straight finger.
_PRIOR = 0.5
_NUM_STEPS = 30
# Where in the range of every angle to start. From zero, where the thumb is straight, one pose in
# five ends with the thumb bent the wrong way; from these two, none of 400 did.
_STARTS = (0.5, 0.65)


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


class _Iterate(NamedTuple):
    theta: Float[Array, " d"]
    cost: Float[Array, ""]
    damping: Float[Array, ""]


class PoseSpace(NamedTuple):
    """The poses among which to look.

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
    """`fit_joints` over the 28 angles of a rig, within the anatomical limits and from two starts.

    Args:
        T_parent_joint: Rest transforms of the rig, mm; a trained model's `skeleton()`.
        parents: Parent of each joint. Static.
        joint_names: Names of the joints. Static.
        target: Joints to reach, mm.
        valid: Which of them count. With fewer than three the pose is the prior's.

    Returns:
        The best pose of each sample.
    """
    dofs = dof_indices(joint_names)
    low, high = (jnp.asarray(limit, jnp.float32) for limit in joint_limits(joint_names))
    starts = jnp.stack([low + fraction * (high - low) for fraction in _STARTS])

    def pose_joints(theta: Float[Array, " d"]) -> Float[Array, "j 3"]:
        euler = pose_to_euler(theta, dofs, len(parents))
        frames = forward_kinematics(T_parent_joint, euler_angles_to_matrix(euler), parents)
        return frames[:, :3, 3]

    space = PoseSpace(low, high, jnp.zeros_like(low), starts)
    return fit_joints(pose_joints, space, target, valid)


def fit_joints(
    pose_joints: Callable[[Float[Array, " d"]], Float[Array, "j 3"]],
    space: PoseSpace,
    target: Float[Array, "b j 3"],
    valid: Bool[Array, "b j"],
) -> FittedPose:
    """Levenberg-Marquardt over a model's pose parameters, from several starts.

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
        points: Float[Array, "j 3"], counts: Bool[Array, " j"], start: Float[Array, " d"]
    ) -> tuple[FittedPose, Float[Array, ""]]:
        weights = counts.astype(jnp.float32)
        # About the points' own centre: far from the origin float32 has fewer digits to spare.
        centre = jnp.sum(points * weights[:, None], axis=0) / jnp.maximum(jnp.sum(weights), 1)
        points = jnp.where(counts[:, None], points - centre, 0)

        def align(theta):
            joints = pose_joints(theta)
            T = rigid_alignment(joints, points, weights)
            return T, transform_points(T, joints)

        def residuals(theta):
            errors = (align(theta)[1] - points) * weights[:, None]
            return jnp.concatenate([errors.reshape(-1), _PRIOR * (theta - space.rest)])

        theta, cost, _ = _minimise(residuals, start, space.low, space.high)
        T, joints = align(theta)
        distance = jnp.linalg.norm(joints - points, axis=-1)
        mean = jnp.sum(distance * weights) / jnp.maximum(jnp.sum(weights), 1)
        return FittedPose(theta, T.at[:3, 3].add(centre), mean), cost

    # The starts are samples of one batch: a vmap inside a vmap here breaks XLA's CPU compiler.
    size, num_starts = len(target), len(space.starts)
    ends, cost = jax.vmap(fit)(
        jnp.repeat(target, num_starts, axis=0),
        jnp.repeat(valid, num_starts, axis=0),
        jnp.tile(space.starts, (size, 1)),
    )
    best = jnp.arange(size) * num_starts + jnp.argmin(cost.reshape(size, num_starts), axis=1)
    return jax.tree.map(lambda x: x[best], ends)


def _minimise(residuals, theta, low, high) -> _Iterate:
    """Levenberg-Marquardt on a box; a fixed number of steps, so that a batch stays together."""

    def cost(x):
        return jnp.sum(residuals(x) ** 2)

    def step(_, state: _Iterate) -> _Iterate:
        J, r = jax.jacfwd(residuals)(state.theta), residuals(state.theta)
        gradient, hessian = matmul(J.T, r), matmul(J.T, J)
        # Angles that rest on a limit and would leave it are held there for this step.
        held = ((state.theta <= low) & (gradient > 0)) | ((state.theta >= high) & (gradient < 0))
        free = (~held).astype(theta.dtype)
        hessian = hessian * jnp.outer(free, free)
        damped = hessian + jnp.diag(state.damping * jnp.diag(hessian) + (1 - free))
        moved = jnp.clip(state.theta - jnp.linalg.solve(damped, gradient * free), low, high)
        moved_cost = cost(moved)
        better = moved_cost < state.cost
        return _Iterate(
            jnp.where(better, moved, state.theta),
            jnp.where(better, moved_cost, state.cost),
            jnp.clip(state.damping * jnp.where(better, 0.3, 4.0), 1e-6, 1e6),
        )

    start = _Iterate(theta, cost(theta), jnp.float32(1e-2))
    return jax.lax.fori_loop(0, _NUM_STEPS, step, start)
