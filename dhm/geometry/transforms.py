"""Rigid transforms as 4x4 matrices for column vectors.

Every product here and in the rest of the geometry runs at the highest precision: a GPU's default
(TF32) keeps ten bits of mantissa, which at one metre is a millimetre.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def make_transform(
    rotation: Float[Array, "*b 3 3"], translation: Float[Array, "*b 3"]
) -> Float[Array, "*b 4 4"]:
    """Puts a rotation and a translation (mm) into one homogeneous matrix."""
    top = jnp.concatenate([rotation, translation[..., None]], axis=-1)
    bottom = jnp.broadcast_to(jnp.array([0, 0, 0, 1], top.dtype), (*top.shape[:-2], 1, 4))
    return jnp.concatenate([top, bottom], axis=-2)


def invert_rigid(transform: Float[Array, "*b 4 4"]) -> Float[Array, "*b 4 4"]:
    """Inverse of a rigid transform: (R, t) becomes (R^T, -R^T t)."""
    rotation = jnp.swapaxes(transform[..., :3, :3], -1, -2)
    translation = -einsum("...ij,...j->...i", rotation, transform[..., :3, 3])
    return make_transform(rotation, translation)


def transform_points(
    transform: Float[Array, "*#b 4 4"], points: Float[Array, "*#b n 3"]
) -> Float[Array, "*b n 3"]:
    """Applies R x + t to every point; batch axes broadcast."""
    rotated = einsum("...ij,...nj->...ni", transform[..., :3, :3], points)
    return rotated + transform[..., None, :3, 3]
