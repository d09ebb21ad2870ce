"""Depth map loss (paper section 6)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def smooth_l1(error: Float[Array, "*s"], beta: float = 1.0) -> Float[Array, "*s"]:
    """Quadratic within `beta` of zero, linear beyond: e^2 / (2 beta), then |e| - beta / 2."""
    magnitude = jnp.abs(error)
    return jnp.where(magnitude < beta, 0.5 * error**2 / beta, magnitude - 0.5 * beta)


def depth_loss(
    rendered: Float[Array, "*b h w"],
    target: Float[Array, "*b h w"],
    beta: float = 1.0,
) -> tuple[Float[Array, "*b h w"], Bool[Array, "*b h w"]]:
    """Smooth L1 between depth maps in mm where both see the hand.

    Args:
        rendered: Depth of the model's mesh, 0 = background.
        target: Depth of the capture, 0 = background.
        beta: Width of the quadratic part, mm.

    Returns:
        The loss of each pixel (0 outside the mask) and the paper's delta, the common foreground.
    """
    foreground = (rendered > 0) & (target > 0)
    return smooth_l1(jnp.where(foreground, rendered - target, 0), beta), foreground
