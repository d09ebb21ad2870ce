"""Rotations and rigid transforms as matrices for column vectors.

Every product here and in the rest of the geometry runs at the highest precision: a GPU's default
(TF32) keeps ten bits of mantissa, which at one metre is a millimetre.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.arguments import require_shapes

matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)

# Below this squared angle a series of four terms is exact to 3e-14, and its gradient is finite.
_SMALL = 1e-2


def skew_symmetric(
    vectors: Float[Array, "*b 3"] | Float[np.ndarray, "*b 3"],
) -> Float[Array, "*b 3 3"] | Float[np.ndarray, "*b 3 3"]:
    """Returns the cross product matrices [v]_x with [v]_x w = v x w; of NumPy vectors in NumPy."""
    xp = np if isinstance(vectors, np.ndarray) else jnp
    x, y, z = (vectors[..., axis] for axis in range(3))
    zero = xp.zeros_like(x)
    entries = xp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    return entries.reshape(*x.shape, 3, 3)


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
    """Returns rotation matrices R = Rz Ry Rx of Euler triples (x, y, z) in radians.

    A pose vector of 28 angles has no triples: `dhm.geometry.hand_rig.pose_to_euler` makes them.

    Raises:
        BadInputError: The last axis is none of three.
    """
    require_shapes(euler=(euler, "... 3"))
    x, y, z = (_axis_rotation(euler[..., axis], axis) for axis in range(3))
    return matmul(matmul(z, y), x)


def axis_angle_to_matrix(axis_angle: Float[Array, "*b 3"]) -> Float[Array, "*b 3 3"]:
    """Returns the rotation matrices of axis-angle vectors (Rodrigues' formula).

    R = I + sin(t)/t [v]_x + (1 - cos(t))/t^2 [v]_x^2 for a rotation about v by its length t in
    radians. The gradient is finite for a vector of length 0, too.
    """
    squared = (axis_angle * axis_angle).sum(axis=-1)
    small = squared < _SMALL
    angle = jnp.sqrt(jnp.where(small, 1.0, squared))  # no root of 0 in the gradient either
    by_sine = jnp.where(small, _series(squared, (1, 6, 120, 5040)), jnp.sin(angle))
    by_cosine = jnp.where(small, _series(squared, (2, 24, 720, 40320)), 1 - jnp.cos(angle))
    # The series take the vector itself, sine and cosine the unit vector of the axis.
    vector = axis_angle / jnp.where(small, 1.0, angle)[..., None]
    # [v]_x^2 = v v^T - |v|^2 I, without the rounding of a product of matrices.
    outer = vector[..., :, None] * vector[..., None, :]
    unit = jnp.eye(3, dtype=axis_angle.dtype)
    square = outer - jnp.where(small, squared, 1.0)[..., None, None] * unit
    cross = skew_symmetric(vector)
    return unit + by_sine[..., None, None] * cross + by_cosine[..., None, None] * square


def _series(squared: Float[Array, "*b"], divisors: tuple[int, ...]) -> Float[Array, "*b"]:
    """Returns 1/d0 - s/d1 + s^2/d2 - ... by Horner's rule."""
    total = jnp.zeros_like(squared)
    for divisor in reversed(divisors):
        total = 1 / divisor - squared * total
    return total


def make_transform(
    rotation: Float[Array, "*b 3 3"], translation: Float[Array, "*b 3"]
) -> Float[Array, "*b 4 4"]:
    """Puts a rotation and a translation (mm) into one homogeneous matrix."""
    top = jnp.concatenate([rotation, translation[..., None]], axis=-1)
    bottom = jnp.broadcast_to(jnp.array([0, 0, 0, 1], top.dtype), (*top.shape[:-2], 1, 4))
    return jnp.concatenate([top, bottom], axis=-2)


def invert_rigid(transform: Float[Array, "*b 4 4"]) -> Float[Array, "*b 4 4"]:
    """Inverts a rigid transform: (R, t) becomes (R^T, -R^T t)."""
    rotation = jnp.swapaxes(transform[..., :3, :3], -1, -2)
    translation = -einsum("...ij,...j->...i", rotation, transform[..., :3, 3])
    return make_transform(rotation, translation)


def transform_points(
    transform: Float[Array, "*#b 4 4"], points: Float[Array, "*#b n 3"]
) -> Float[Array, "*b n 3"]:
    """Applies R x + t to every point; batch axes broadcast."""
    rotated = einsum("...ij,...nj->...ni", transform[..., :3, :3], points)
    return rotated + transform[..., None, :3, 3]
