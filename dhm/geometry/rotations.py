"""Rotation matrices from Euler angles and from axis-angle vectors."""

import jax
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
    rest = jax.lax.stop_gradient(jnp.where(small, 0.0, _rest_of_length(axis_angle, angle)))
    # To first order in the rest, which is below 1e-6.
    sin, cos = jnp.sin(angle) + rest * jnp.cos(angle), jnp.cos(angle) - rest * jnp.sin(angle)
    # The series are sin(t)/t and (1 - cos(t))/t^2 with K of the vector itself; for larger vectors
    # K is the unit axis's, with sin(t) and 1 - cos(t).
    by_sine = jnp.where(small, _series(squared, (1, 6, 120, 5040)), sin)
    by_cosine = jnp.where(small, _series(squared, (2, 24, 720, 40320)), 1 - cos)
    vector = axis_angle * jnp.where(small, 1.0, (1 - rest / angle) / angle)[..., None]
    x, y, z = (vector[..., axis] for axis in range(3))
    zero = jnp.zeros_like(x)
    cross = jnp.stack((zero, -z, y, z, zero, -x, -y, x, zero), axis=-1)
    cross = cross.reshape(*x.shape, 3, 3)
    # K^2 = v v^T - |v|^2 I, without the rounding of a product of matrices.
    outer = vector[..., :, None] * vector[..., None, :]
    unit = jnp.eye(3, dtype=axis_angle.dtype)
    square = outer - jnp.where(small, squared, 1.0)[..., None, None] * unit
    return unit + by_sine[..., None, None] * cross + by_cosine[..., None, None] * square


def _rest_of_length(
    vectors: Float[Array, "*b 3"], length: Float[Array, "*b"]
) -> Float[Array, "*b"]:
    """What has to be added to the rounded length of vectors.

    Half a unit in the last place of 4 rad, and as much of the squares, would move a fingertip by
    1e-4 mm. Exact products and sums of float32 numbers are pairs of them (Dekker 1971, Knuth).
    """
    squares, errors = _square(vectors)
    total, error = _add(squares[..., 0], squares[..., 1])
    total, other = _add(total, squares[..., 2])
    found, its_error = _square(length)
    missing = (total - found) + (errors.sum(axis=-1) + error + other - its_error)
    return missing / (2 * length)


def _square(x: Float[Array, "*b"]) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """The square rounded, and its rounding error."""
    high = 4097 * x  # 2^12 + 1: the halves of a float32 mantissa
    high = high - (high - x)
    low, product = x - high, x * x
    return product, (high * high - product) + 2 * high * low + low * low


def _add(
    a: Float[Array, "*b"], b: Float[Array, "*b"]
) -> tuple[Float[Array, "*b"], Float[Array, "*b"]]:
    """The sum rounded, and its rounding error."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _series(squared: Float[Array, "*b"], divisors: tuple[int, ...]) -> Float[Array, "*b"]:
    """1/d0 - s/d1 + s^2/d2 - ... by Horner's rule."""
    total = jnp.zeros_like(squared)
    for divisor in reversed(divisors):
        total = 1 / divisor - squared * total
    return total
