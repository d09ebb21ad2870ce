"""Penetration avoidance (paper section 6, eq. 2-4): spheres along the bones, and the palm."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.arguments import require_shapes
from dhm.geometry.spheres import PenetrationParts, safe_norm, sphere_overlaps


def rigid_penetration_loss(
    centers: Float[Array, "*b s k 3"], radii: Float[Array, "*b s k"], parts: PenetrationParts
) -> Float[Array, "*b p k k"]:
    """Computes the overlap (mm) of every two spheres of bones that share no joint.

    Eq. 2 before its sum over pairs and spheres.

    Args:
        centers: Posed sphere centres, mm.
        radii: Their radii, mm.
        parts: Static.

    Raises:
        BadInputError: The shapes do not fit the parts or each other.
    """
    _require_spheres(centers, radii, parts)
    return jnp.maximum(sphere_overlaps(centers, radii, parts), 0)


def non_rigid_penetration_loss(
    centers: Float[Array, "*b s k 3"],
    radii: Float[Array, "*b s k"],
    vertices: Float[Array, "*b v 3"],
    parts: PenetrationParts,
) -> Float[Array, "*b t k"]:
    """Computes |d - r| of the fingertip spheres from the first that enters the palm on.

    Eq. 4 before its sum over spheres; d is the distance to the closest palm vertex, r the radius.

    Args:
        centers: Posed sphere centres, mm.
        radii: Their radii, mm.
        vertices: Deformed mesh, in the same frame as the centres.
        parts: Static.

    Returns:
        For each fingertip and sphere, from its parent joint to the tip; 0 before the first sphere
        that is closer to a palm vertex than its radius, and everywhere if none is.

    Raises:
        BadInputError: The shapes do not fit the parts or each other.
    """
    _require_spheres(centers, radii, parts)
    require_shapes(vertices=(vertices, "... v 3"))
    tips = np.array(parts.tips)
    palm = vertices[..., np.array(parts.palm_vertices), :]
    centers, radii = centers[..., tips, :, :], radii[..., tips, :]
    flat = centers.reshape(*centers.shape[:-3], -1, 3)
    offsets = jax.lax.stop_gradient(flat[..., :, None, :] - palm[..., None, :, :])
    closest = jnp.argmin(jnp.sum(offsets**2, axis=-1), axis=-1)
    nearest = jnp.take_along_axis(palm, closest[..., None], axis=-2)
    distance = safe_norm(flat - nearest).reshape(radii.shape)
    entered = jax.lax.cummax((distance < radii).astype(jnp.int32), axis=radii.ndim - 1) > 0
    return jnp.where(entered, jnp.abs(distance - radii), 0)


def _require_spheres(centers: Array, radii: Array, parts: PenetrationParts) -> None:
    require_shapes(
        **{"parts.bones": (np.array(parts.bones), "s 2")},
        centers=(centers, "... s k 3"),
        radii=(radii, "... s k"),
    )
