"""Pose loss (paper section 6)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def joint_loss(
    joints: Float[Array, "*b j 3"],
    target: Float[Array, "*b j 3"],
    valid: Bool[Array, "*b j"],
) -> Float[Array, "*b j"]:
    """L1 norm of each joint's error in mm, 0 where the target is not valid.

    The paper's L_pose before its mean over the joints.
    """
    error = jnp.where(valid[..., None], joints - target, 0)
    return jnp.sum(jnp.abs(error), axis=-1)
