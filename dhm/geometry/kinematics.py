"""Forward kinematics over a joint tree (paper section 5.2, the T_j of eq. 1)."""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.geometry.transforms import make_transform, matmul


def tree_levels(parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Joints grouped by their distance from the root; children may precede parents.

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
    """World transform of every joint.

    Args:
        T_parent_joint: Rest transform of each joint in its parent's frame, mm.
        rotations: Rotation of each joint, applied on the right of its rest transform.
        parents: Parent of each joint, -1 for the root. Static.

    Returns:
        T_world_joint, where "world" is the frame of the root's rest transform.
    """
    rotated = matmul(T_parent_joint[..., :3, :3], rotations)
    offsets = jnp.broadcast_to(T_parent_joint[..., :3, 3], rotated.shape[:-1])
    posed = make_transform(rotated, offsets)
    levels = tree_levels(parents)
    # One batched product a level instead of one a joint: a hand is 22 joints but 6 levels deep.
    done = [posed[..., np.array(levels[0]), :, :]]
    for above, level in itertools.pairwise(levels):
        slots = np.array([above.index(parents[j]) for j in level])
        done.append(matmul(done[-1][..., slots, :, :], posed[..., np.array(level), :, :]))
    order = np.argsort(np.concatenate([np.array(level) for level in levels]))
    return jnp.concatenate(done, axis=-3)[..., order, :, :]
