"""Gradient of one view's depth map with respect to the vertices, the visible faces held fixed.

The depth on the ray d is z = n.a / n.d with n = (b - a) x (c - a), so that

    dz / dV_i = z b_i n / n.a    with the barycentric coordinate    b_i = z (V_j x V_k).d / n.a.

b_i is linear in the ray: a face needs no more than the sum of cotangent * z^2 * d over its pixels,
and everything else happens once a face. Autodiff through the depth's gathers gives the same
numbers, less exactly and several times slower.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dhm.rendering.depth import pixel_rays
from dhm.rendering.settings import RasterSettings


def depth_gradient(
    v_camera: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    K: Float[Array, "3 3"],
    pix_to_face: Int[Array, "h w"],
    zbuf: Float[Array, "h w"],
    cotangent: Float[Array, "h w"],
    settings: RasterSettings,
) -> Float[Array, "v 3"]:
    """Gradient of sum(cotangent * zbuf) with respect to `v_camera`.

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
    """A ray (x, y at z = 1) close to each face's pixels, so that their differences round little.

    Any ray is right; that of the first corner exists where the corner is in front.
    """
    x, y, z = corner
    scale = jnp.where(z > near, 1 / jnp.where(z > near, z, 1.0), 0.0)
    return x * scale, y * scale


def _ray_moments(pix_to_face, zbuf, cotangent, origin, K, settings):
    """Sums over each face's pixels of cotangent * z^2 * (ray - origin)."""
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
