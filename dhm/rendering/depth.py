"""Depth and barycentric coordinates at the pixels of one view, given the face that each sees.

Everything is taken relative to the pixel's own ray: the corners are sheared so that the ray
becomes the z axis, and the barycentric coordinates are ratios of cross products of what is left.
Nothing is divided by a corner's z, so faces through the near plane need no case of their own.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dhm.rendering.settings import RasterSettings

Rays = tuple[Float[Array, "h w"], Float[Array, "h w"]]


def pixel_rays(K: Float[Array, "3 3"], settings: RasterSettings) -> Rays:
    """Directions (x, y) of the rays through the pixel centres, at z = 1."""
    height, width = settings.image_size
    column = jnp.arange(width, dtype=jnp.float32)[None, :] + settings.pixel_center
    row = jnp.arange(height, dtype=jnp.float32)[:, None] + settings.pixel_center
    y = (row - K[1, 2]) / K[1, 1]
    x = (column - K[0, 2] - K[0, 1] * y) / K[0, 0]
    return x, jnp.broadcast_to(y, x.shape)


def depth_of_faces(
    v_camera: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    K: Float[Array, "3 3"],
    pix_to_face: Int[Array, "h w"],
    settings: RasterSettings,
) -> Float[Array, "h w"]:
    """Depth along the camera's z in mm, 0 = background."""
    x, y, z = _corners_on_rays(v_camera, faces, K, pix_to_face, settings)
    _, b1, b2 = _weights(x, y)
    # Anchored at a corner: the rounding of the weights scales with the face, not with the depth.
    depth = z[0] + b1 * (z[1] - z[0]) + b2 * (z[2] - z[0])
    return jnp.where(pix_to_face >= 0, depth, 0.0)


def barycentric_coordinates(
    v_camera: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    K: Float[Array, "3 3"],
    pix_to_face: Int[Array, "h w"],
    settings: RasterSettings,
) -> Float[Array, "h w 3"]:
    """Perspective-correct barycentric coordinates, 0 = background."""
    x, y, _ = _corners_on_rays(v_camera, faces, K, pix_to_face, settings)
    return jnp.where(pix_to_face[..., None] >= 0, jnp.stack(_weights(x, y), axis=-1), 0.0)


def _corners_on_rays(v_camera, faces, K, pix_to_face, settings):
    """x, y, z of the three corners of each pixel's face, with x = y = 0 on the pixel's ray."""
    # One gather a number: XLA:CPU takes three times as long for gathers of rows.
    face = jnp.maximum(pix_to_face, 0)
    corners = [faces[:, k].at[face].get(mode="promise_in_bounds") for k in range(3)]
    # Zeros for the background keep face 0, which may be NaN, out of autodiff's products.
    x, y, z = (
        [
            jnp.where(pix_to_face >= 0, values.at[corner].get(mode="promise_in_bounds"), 0.0)
            for corner in corners
        ]
        for values in v_camera.T
    )
    ray_x, ray_y = pixel_rays(K, settings)
    x = [a - ray_x * depth for a, depth in zip(x, z, strict=True)]
    y = [a - ray_y * depth for a, depth in zip(y, z, strict=True)]
    return x, y, z


def _weights(x, y):
    areas = [x[i] * y[j] - y[i] * x[j] for i, j in ((1, 2), (2, 0), (0, 1))]
    # Rounding may leave the triangle, by much where it is nearly seen on edge. Clipped for the
    # value only: on an edge the clip's own derivative would be half of the right one.
    weights = [
        share + jax.lax.stop_gradient(jnp.clip(share, 0.0, 1.0) - share) for share in _shares(areas)
    ]
    return _shares(weights)


def _shares(values):
    total = values[0] + values[1] + values[2]
    scale = 1 / jnp.where(total == 0, 1.0, total)
    return [value * scale for value in values]
