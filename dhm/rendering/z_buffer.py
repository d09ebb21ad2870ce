"""One 64-bit key a pixel: the nearest face, and among equals the one with the lowest index.

A key holds the bits of 1/z (which order like the number itself, being positive) above the
complement of the face's index, so that a scatter of maxima settles both. These are the only
64-bit numbers of the project: every caller runs under `jax.enable_x64(True)`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt64

_FACE_BITS = 32


def empty(num_pixels: int) -> UInt64[Array, " p"]:
    """Keys of a view in which nothing has been drawn."""
    return jnp.zeros((num_pixels,), jnp.uint64)


def key(nearness: Float[Array, "*n"], face: Int[Array, "*#n"]) -> UInt64[Array, "*n"]:
    """Key of a face at 1/z > 0: the larger, the nearer."""
    bits = jax.lax.bitcast_convert_type(nearness, jnp.uint32).astype(jnp.uint64)
    return (bits << _FACE_BITS) | (~face.astype(jnp.uint32)).astype(jnp.uint64)


def write(
    keys: UInt64[Array, " p"],
    pixel: Int[Array, "*n"],
    hit: Bool[Array, "*n"],
    nearness: Float[Array, "*n"],
    face: Int[Array, "*#n"],
) -> UInt64[Array, " p"]:
    """Enters candidates: flat pixel index, whether it is one, 1/z > 0, and the face."""
    place = jnp.where(hit, pixel, keys.shape[0])
    return keys.at[place].max(key(nearness, face), mode="drop")


def winners(keys: UInt64[Array, " p"]) -> Int[Array, " p"]:
    """Face of each pixel, -1 where nothing was drawn."""
    face = (~keys).astype(jnp.uint32).astype(jnp.int32)
    return jnp.where(keys == 0, jnp.int32(-1), face)
