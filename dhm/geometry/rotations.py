"""Rotation matrices from Euler angles."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dhm.geometry.transforms import matmul


def _axis_rotation(angle: Float[Array, "*b"], axis: int) -> Float[Array, "*b 3 3"]:
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    zero, one = jnp.zeros_like(angle), jnp.ones_like(angle)
    rows = {
        0: (one, zero, zero, zero, cos, -sin, zero, sin, cos),
        1: (cos, zero, sin, zero, one, zero, -sin, zero, cos),
        2: (cos, -sin, zero, sin, cos, zero, zero, zero, one),
    }[axis]
    return jnp.stack(rows, axis=-1).reshape(*angle.shape, 3, 3)


def euler_angles_to_matrix(euler: Float[Array, "*b 3"]) -> Float[Array, "*b 3 3"]:
    """Rotation matrices R = Rz Ry Rx of Euler triples (x, y, z) in radians."""
    x, y, z = (_axis_rotation(euler[..., axis], axis) for axis in range(3))
    return matmul(matmul(z, y), x)
