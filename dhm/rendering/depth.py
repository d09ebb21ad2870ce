"""Depth and barycentric coordinates of one view, given the face that each pixel sees; gradients.

Everything is taken relative to the pixel's own ray: the corners are sheared so that the ray
becomes the z axis, and the barycentric coordinates are ratios of cross products of what is left.
Nothing is divided by a corner's z, so faces through the near plane need no case of their own.

The gradient of the depth holds the visible faces fixed. On the ray d it is z = n.a / n.d with
n = (b - a) x (c - a), so that

    dz / dV_i = z b_i n / n.a    with the barycentric coordinate    b_i = z (V_j x V_k).d / n.a.

b_i is linear in the ray: a face needs no more than the sum of cotangent * z^2 * d over its pixels,
and everything else happens once a face. Autodiff through the depth's gathers gives the same
numbers, less exactly and several times slower.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dhm.rendering.screen import RasterSettings

Rays = tuple[Float[Array, "h w"], Float[Array, "h w"]]


def pixel_rays(K: Float[Array, "3 3"], settings: RasterSettings) -> Rays:
    """Returns the directions (x, y) of the rays through the pixel centres, at z = 1."""
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
    """Computes the depth along the camera's z in mm, 0 = background."""
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
    """Computes perspective-correct barycentric coordinates, 0 = background."""
    x, y, _ = _corners_on_rays(v_camera, faces, K, pix_to_face, settings)
    return jnp.where(pix_to_face[..., None] >= 0, jnp.stack(_weights(x, y), axis=-1), 0.0)


def _corners_on_rays(v_camera, faces, K, pix_to_face, settings):
    """Returns x, y, z of the corners of each pixel's face, with x = y = 0 on the pixel's ray."""
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


def depth_gradient(
    v_camera: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    K: Float[Array, "3 3"],
    pix_to_face: Int[Array, "h w"],
    zbuf: Float[Array, "h w"],
    cotangent: Float[Array, "h w"],
    settings: RasterSettings,
) -> Float[Array, "v 3"]:
    """Computes the gradient of sum(cotangent * zbuf) with respect to `v_camera`.

    Vertices of faces that no pixel sees get 0, and so does a face whose plane goes through the
    eye (where the depth has no derivative), instead of an infinite gradient.
    """
    corners = [
        [values.at[faces[:, k]].get(mode="promise_in_bounds") for values in v_camera.T]
        for k in range(3)
    ]
    origin = _own_rays(corners[0], settings.near)
    moments = _ray_moments(pix_to_face, zbuf, cotangent, origin, K, settings)
    sheared = [(x - origin[0] * z, y - origin[1] * z, z) for x, y, z in corners]
    edges = [_cross(sheared[i], sheared[j]) for i, j in ((1, 2), (2, 0), (0, 1))]
    volume = _dot(sheared[0], edges[0])
    seen = (moments[0] != 0) | (moments[1] != 0) | (moments[2] != 0)
    seen &= jnp.abs(volume) > jnp.finfo(jnp.float32).tiny
    inverse = 1 / jnp.where(seen, volume, 1.0)
    normal = _cross(_difference(corners[1], corners[0]), _difference(corners[2], corners[0]))
    normal = [jnp.where(seen, value * inverse, 0.0) for value in normal]
    # sum over the pixels of cotangent * z * b_k, at each corner k
    shares = [jnp.where(seen, _dot(edge, moments) * inverse, 0.0) for edge in edges]
    # One number at a time: XLA:CPU takes twice as long to scatter rows of three.
    gradient = [jnp.zeros_like(v_camera[:, 0]) for _ in range(3)]
    for k, share in enumerate(shares):
        gradient = [
            sums.at[faces[:, k]].add(share * value, mode="promise_in_bounds")
            for sums, value in zip(gradient, normal, strict=True)
        ]
    return jnp.stack(gradient, axis=-1)


def _own_rays(corner, near):
    """Returns a ray (x, y at z = 1) close to each face's pixels, so that differences round little.

    Any ray is right; that of the first corner exists where the corner is in front.
    """
    x, y, z = corner
    scale = jnp.where(z > near, 1 / jnp.where(z > near, z, 1.0), 0.0)
    return x * scale, y * scale


def _ray_moments(pix_to_face, zbuf, cotangent, origin, K, settings):
    """Sums, over each face's pixels, cotangent * z^2 * (ray - origin)."""
    num_faces = origin[0].shape[0]
    face = jnp.maximum(pix_to_face, 0)
    target = jnp.where(pix_to_face >= 0, pix_to_face, num_faces)
    weight = cotangent * zbuf * zbuf
    ray_x, ray_y = pixel_rays(K, settings)
    offset_x = ray_x - origin[0].at[face].get(mode="promise_in_bounds")
    offset_y = ray_y - origin[1].at[face].get(mode="promise_in_bounds")
    return [
        jnp.zeros((num_faces,), jnp.float32).at[target].add(values, mode="drop")
        for values in (weight * offset_x, weight * offset_y, weight)
    ]


def _difference(a, b):
    return [p - q for p, q in zip(a, b, strict=True)]


def _cross(a, b):
    return [a[i] * b[j] - a[j] * b[i] for i, j in ((1, 2), (2, 0), (0, 1))]


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
