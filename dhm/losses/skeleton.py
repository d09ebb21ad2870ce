"""What holds the skeleton where the joints leave it open."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def skeleton_loss(change: Float[Array, "*b j 3"]) -> Float[Array, "*b j"]:
    """Squared length of each joint's change of offset from its parent, mm^2. Not in the paper.

    Joint positions do not tell a bone that is bent at rest from one that the pose bends, nor how a
    length is shared about a joint that nobody annotated. Without this term the rest pose drifts
    there as far as the optimiser's noise takes it, and the angles lose their meaning.
    """
    return jnp.sum(change**2, axis=-1)
