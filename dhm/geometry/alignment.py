"""Weighted rigid alignment (Kabsch) whose gradient stays finite on degenerate points."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dhm.arguments import require_shapes
from dhm.geometry.transforms import einsum, make_transform, matmul, skew_symmetric

# Damping of the gradient, relative to the largest singular value. Well-spread points such as a
# hand's finger roots have a ratio above 0.1 and lose less than 1e-6 of their gradient to it.
_RELATIVE_DAMPING = 1e-4


def _signed_svd(matrix: Float[Array, "*b 3 3"]):
    """SVD with the sign of det(U V^T) moved into the last singular value and vector."""
    U, singular, Vt = jnp.linalg.svd(matrix)
    sign = jnp.sign(jnp.linalg.det(matmul(U, Vt)))
    flip = jnp.stack([jnp.ones_like(sign), jnp.ones_like(sign), sign], axis=-1)
    return U * flip[..., None, :], singular * flip, Vt


@jax.custom_jvp
def nearest_rotation(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 3 3"]:
    """Returns the rotation R (det +1, never a reflection) that maximises trace(R^T matrix)."""
    U, _, Vt = _signed_svd(matrix)
    return matmul(U, Vt)


@nearest_rotation.defjvp
def _nearest_rotation_jvp(primals, tangents):
    """Implicit derivative of M = R P: with dR = R [w]_x, (tr(P) I - P) w = vee(R^T dM - dM^T R).

    tr(P) I - P shares its eigenvectors with P and is singular for collinear or coincident points,
    where the rotation is not unique; 1/x becomes x / (x^2 + damping^2) there.
    """
    (matrix,), (d_matrix,) = primals, tangents
    U, singular, Vt = _signed_svd(matrix)
    rotation = matmul(U, Vt)
    relative = matmul(jnp.swapaxes(rotation, -1, -2), d_matrix)
    skew = relative - jnp.swapaxes(relative, -1, -2)
    axial = jnp.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], axis=-1)
    eigenvalues = jnp.sum(singular, axis=-1, keepdims=True) - singular
    damping = _RELATIVE_DAMPING * singular[..., :1]
    tiny = jnp.finfo(matrix.dtype).tiny
    inverse = eigenvalues / (eigenvalues**2 + damping**2 + tiny)
    omega = einsum("...ji,...j->...i", Vt, inverse * einsum("...ij,...j->...i", Vt, axial))
    return rotation, matmul(rotation, skew_symmetric(omega))


def rigid_alignment(
    source: Float[Array, "*b n 3"],
    target: Float[Array, "*b n 3"],
    weights: Float[Array, "*b n"] | Bool[Array, "*b n"],
) -> Float[Array, "*b 4 4"]:
    """Computes the rigid transform that brings `source` closest to `target` (paper section 5.2).

    Args:
        source: Points in mm.
        target: The same points elsewhere, mm.
        weights: Non-negative; 0 or False leaves a point out. With fewer than three points of
            positive weight, or collinear ones, the rotation is one of the many best.

    Returns:
        T_target_source that minimises the weighted sum of squared distances. Differentiable in
        both point sets; the gradient is finite even where the rotation is not unique.

    Raises:
        BadInputError: The shapes do not fit each other.
    """
    require_shapes(
        source=(source, "... n 3"), target=(target, "... n 3"), weights=(weights, "... n")
    )
    if not jnp.issubdtype(weights.dtype, jnp.floating):
        weights = jnp.asarray(weights, jnp.float32)
    total = jnp.maximum(jnp.sum(weights, axis=-1, keepdims=True), jnp.finfo(weights.dtype).tiny)
    normalised = (weights / total)[..., None]
    source_mean = jnp.sum(normalised * source, axis=-2)
    target_mean = jnp.sum(normalised * target, axis=-2)
    covariance = einsum(
        "...ni,...nj->...ij",
        normalised * (target - target_mean[..., None, :]),
        source - source_mean[..., None, :],
    )
    rotation = nearest_rotation(covariance)
    translation = target_mean - einsum("...ij,...j->...i", rotation, source_mean)
    return make_transform(rotation, translation)
