"""Forward kinematics over a joint tree and linear blend skinning (paper section 5.2, eq. 1)."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.arguments import require_shapes
from dhm.geometry.transforms import einsum, make_transform, matmul


def tree_levels(parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Groups joints by their distance from the root; children may precede parents.

    Args:
        parents: Parent of each joint, -1 for the one root.

    Raises:
        ValueError: If there is not exactly one root, or a joint cannot be reached from it.
    """
    levels = [tuple(j for j, p in enumerate(parents) if p < 0)]
    if len(levels[0]) != 1:
        raise ValueError(f"a joint tree has one root, found {len(levels[0])}")
    while len(reached := sum(levels, ())) < len(parents):
        level = tuple(j for j, p in enumerate(parents) if p in levels[-1])
        if not level:
            lost = sorted(set(range(len(parents))) - set(reached))
            raise ValueError(f"joints {lost} cannot be reached from the root")
        levels.append(level)
    return tuple(levels)


def forward_kinematics(
    T_parent_joint: Float[Array, "*#b j 4 4"],
    rotations: Float[Array, "*#b j 3 3"],
    parents: tuple[int, ...],
) -> Float[Array, "*b j 4 4"]:
    """Computes the world transform of every joint, the T_j of eq. 1.

    Args:
        T_parent_joint: Rest transform of each joint in its parent's frame, mm.
        rotations: Rotation of each joint, applied on the right of its rest transform.
        parents: Parent of each joint, -1 for the root. Static.

    Returns:
        T_world_joint, where "world" is the frame of the root's rest transform.

    Raises:
        BadInputError: The shapes do not fit the parents or each other; Euler angles, for example,
            are no rotations yet.
        ValueError: The parents are no tree with one root.
    """
    require_shapes(
        parents=(np.asarray(parents), "j"),
        T_parent_joint=(T_parent_joint, "... j 4 4"),
        rotations=(rotations, "... j 3 3"),
    )
    rotated = matmul(T_parent_joint[..., :3, :3], rotations)
    offsets = jnp.broadcast_to(T_parent_joint[..., :3, 3], rotated.shape[:-1])
    posed = make_transform(rotated, offsets)
    levels = tree_levels(parents)
    # One batched product a level instead of one a joint: a hand is 22 joints but 6 levels deep.
    # The barrier keeps XLA:CPU (jax 0.10 to 0.12) from a simplification that fails with two batch
    # axes. Sums in place of the products would be rounded differently from batch to batch.
    done = [posed[..., np.array(levels[0]), :, :]]
    for above, level in itertools.pairwise(levels):
        slots = np.array([above.index(parents[j]) for j in level])
        factors = done[-1][..., slots, :, :], posed[..., np.array(level), :, :]
        done.append(matmul(*jax.lax.optimization_barrier(factors)))
    order = np.argsort(np.concatenate([np.array(level) for level in levels]))
    return jnp.concatenate(done, axis=-3)[..., order, :, :]


def linear_blend_skinning(
    vertices: Float[Array, "*#b v 3"],
    lbs_weights: Float[Array, "v j"],
    T_world_joint: Float[Array, "*#b j 4 4"],
    T_joint_model: Float[Array, "*#b j 4 4"],
) -> Float[Array, "*b v 3"]:
    """Deforms zero-pose vertices by the weighted mean of their joints' transforms (eq. 1).

    Args:
        vertices: Zero-pose vertices in the model's frame, mm.
        lbs_weights: Skinning weights W; rows sum to 1.
        T_world_joint: Posed joints, from `forward_kinematics`.
        T_joint_model: Inverse bind pose: the model's frame in each joint's rest frame.

    Returns:
        Deformed vertices in the frame of `T_world_joint`, mm.

    Raises:
        BadInputError: The shapes do not fit each other.
    """
    require_shapes(
        lbs_weights=(lbs_weights, "v j"),
        vertices=(vertices, "... v 3"),
        T_world_joint=(T_world_joint, "... j 4 4"),
        T_joint_model=(T_joint_model, "... j 4 4"),
    )
    motion = matmul(T_world_joint, T_joint_model)[..., :3, :]
    blended = einsum("vj,...jr->...vr", lbs_weights, motion.reshape(*motion.shape[:-2], 12))
    blended = blended.reshape(*blended.shape[:-1], 3, 4)
    return einsum("...vij,...vj->...vi", blended[..., :3], vertices) + blended[..., 3]
