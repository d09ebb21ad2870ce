"""Rotation matrices from Euler angles and from axis-angle vectors."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dhm.geometry.transforms import matmul

# Below this squared angle a series of four terms is exact to 3e-14, and its gradient is finite.
_SMALL = 1e-2


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


def axis_angle_to_matrix(axis_angle: Float[Array, "*b 3"]) -> Float[Array, "*b 3 3"]:
    """Rotation matrices of vectors along the axis and as long as the angle in radians (Rodrigues).

    R = I + sin(t)/t K + (1 - cos(t))/t^2 K^2, with K the vector's cross product. Gradients are
    finite everywhere, at no rotation too.
    """
    squared = (axis_angle * axis_angle).sum(axis=-1)
    small = squared < _SMALL
    angle = jnp.sqrt(jnp.where(small, 1.0, squared))  # no root of 0 in the gradient either
    half = jnp.sin(angle / 2) / angle
    by_sine = jnp.where(small, _series(squared, (1, 6, 120, 5040)), jnp.sin(angle) / angle)
    by_cosine = jnp.where(small, _series(squared, (2, 24, 720, 40320)), 2 * half * half)
    x, y, z = (axis_angle[..., axis] for axis in range(3))
    zero = jnp.zeros_like(x)
    cross = jnp.stack((zero, -z, y, z, zero, -x, -y, x, zero), axis=-1)
    cross = cross.reshape(*x.shape, 3, 3)
    # K^2 = v v^T - t^2 I, without the rounding of a product of matrices.
    outer = axis_angle[..., :, None] * axis_angle[..., None, :]
    unit = jnp.eye(3, dtype=axis_angle.dtype)
    square = outer - squared[..., None, None] * unit
    return unit + by_sine[..., None, None] * cross + by_cosine[..., None, None] * square


def _series(squared: Float[Array, "*b"], divisors: tuple[int, ...]) -> Float[Array, "*b"]:
    """1/d0 - s/d1 + s^2/d2 - ... by Horner's rule."""
    total = jnp.zeros_like(squared)
    for divisor in reversed(divisors):
        total = 1 / divisor - squared * total
    return total
