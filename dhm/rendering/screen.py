"""The faces of one view on the screen, and the view's z-buffer.

The z-buffer has one 64-bit key a pixel: the nearest face, and among equals the one with the lowest
index. A key holds the bits of 1/z (which order like the number itself, being positive) above the
complement of the face's index, so that a scatter of maxima settles both. These are the only 64-bit
numbers of the project: every caller runs under `jax.enable_x64(True)`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt64

# Half the distance from 1 to the next float32: the relative error of one rounding.
EPS = 2.0**-24
_FACE_BITS = 32

# A number of each face at its three corners.
Corners = Sequence[Float[Array, " f"]]


@dataclass(frozen=True)
class RasterSettings:
    """Static settings of the rasterizer.

    Attributes:
        image_size: Height and width in pixels.
        near: Smallest depth that is drawn, mm.
        pixel_center: Coordinate of the centre of pixel 0 in K's convention (0 or 0.5).
        cull_backfaces: Whether faces that are clockwise seen from the camera are left out.
        window: Side in pixels of the dense window that every face is tried on.
        views_at_once: Whether all views are drawn in one call (GPU) or one after the other (CPU).
        pixel_by_pixel: Whether the windows' pixels are tried one after the other (CPU), or those of
            all windows together.
    """

    image_size: tuple[int, int]
    near: float
    pixel_center: float
    cull_backfaces: bool
    window: int
    views_at_once: bool
    pixel_by_pixel: bool


class ScreenFaces(NamedTuple):
    """Projected faces: separate vectors, which a CPU draws much faster than their stack.

    Attributes:
        u: Column times depth at the three corners (homogeneous pixel coordinates), pixel mm.
        v: Row times depth.
        z: Depth, mm; may be 0 or negative.
        column: First column of the box of pixel centres that the face may cover.
        row: First row.
        columns: Columns of the box, 0 where nothing is to be drawn.
        rows: Rows of the box.
        in_front: Whether the whole face lies beyond the near plane.
    """

    u: Corners
    v: Corners
    z: Corners
    column: Int[Array, " f"]
    row: Int[Array, " f"]
    columns: Int[Array, " f"]
    rows: Int[Array, " f"]
    in_front: Bool[Array, " f"]


def faces_on_screen(
    v_camera: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    K: Float[Array, "3 3"],
    settings: RasterSettings,
) -> ScreenFaces:
    """Projects the faces of one view and finds the box of each.

    A face through the near plane gets the whole image as its box; one that lies behind it, that
    has a corner which is not finite, or whose area is rounding gets none.
    """
    u, v, z = _corners(v_camera, faces, K, settings.pixel_center)
    in_front = minimum(z) > settings.near
    inverse = [1 / depth for depth in z]
    x = [a * b for a, b in zip(u, inverse, strict=True)]
    y = [a * b for a, b in zip(v, inverse, strict=True)]
    # The sum is finite where every term is: one test for the nine numbers.
    drawn = jnp.isfinite(sum(u) + sum(v) + sum(z)) & (maximum(z) > settings.near)
    drawn &= ~in_front | _has_area(x, y, settings.cull_backfaces)
    height, width = settings.image_size
    column, columns = _span(x, in_front, width)
    row, rows = _span(y, in_front, height)
    drawn &= (columns > 0) & (rows > 0)
    return ScreenFaces(
        u, v, z, column, row, jnp.where(drawn, columns, 0), jnp.where(drawn, rows, 0), in_front
    )


def minimum(corners: Sequence[Float[Array, "*n"]]) -> Float[Array, "*n"]:
    """Returns the smallest of the three corners' values."""
    return jnp.minimum(jnp.minimum(corners[0], corners[1]), corners[2])


def maximum(corners: Sequence[Float[Array, "*n"]]) -> Float[Array, "*n"]:
    """Returns the largest of the three corners' values."""
    return jnp.maximum(jnp.maximum(corners[0], corners[1]), corners[2])


def _corners(v_camera, faces, K, pixel_center):
    """Returns homogeneous pixel coordinates of the corners, in which pixel centres are integers."""
    x, y, z = v_camera.T
    u = K[0, 0] * x + K[0, 1] * y + (K[0, 2] - pixel_center) * z
    v = K[1, 1] * y + (K[1, 2] - pixel_center) * z
    return tuple(
        tuple(values.at[faces[:, k]].get(mode="promise_in_bounds") for k in range(3))
        for values in (u, v, z)
    )


def _span(x, in_front, size):
    """Returns the first and the number of the pixel centres between the corners, along one axis."""
    # Clipped as floats: what does not fit an integer must not be converted.
    first = jnp.where(in_front, jnp.clip(jnp.ceil(minimum(x)), 0, size), 0)
    last = jnp.where(in_front, jnp.clip(jnp.floor(maximum(x)), -1, size - 1), size - 1)
    first, last = (jnp.nan_to_num(side).astype(jnp.int32) for side in (first, last))
    return first, jnp.maximum(last - first + 1, 0)


def _has_area(x: Corners, y: Corners, cull_backfaces: bool) -> Bool[Array, " f"]:
    """Whether twice the area, in pixels, is more than the rounding of its own terms.

    With culling only faces that are counter-clockwise seen from the camera have one; their
    area is negative, since the image's y points down.
    """
    x1, x2, y1, y2 = x[1] - x[0], x[2] - x[0], y[1] - y[0], y[2] - y[0]
    a, d = x1 * y2, y1 * x2
    extent = jnp.maximum(maximum(x) - minimum(x), maximum(y) - minimum(y))
    largest = jnp.maximum(
        jnp.maximum(maximum(x), -minimum(x)), jnp.maximum(maximum(y), -minimum(y))
    )
    rounding = 4 * EPS * (jnp.abs(a) + jnp.abs(d) + largest * extent)
    area = d - a if cull_backfaces else jnp.abs(a - d)
    return area > rounding


def empty_keys(num_pixels: int) -> UInt64[Array, " p"]:
    """Returns the keys of a view in which nothing has been drawn."""
    return jnp.zeros((num_pixels,), jnp.uint64)


def depth_key(nearness: Float[Array, "*n"], face: Int[Array, "*#n"]) -> UInt64[Array, "*n"]:
    """Returns the key of a face at 1/z > 0: the larger, the nearer."""
    bits = jax.lax.bitcast_convert_type(nearness, jnp.uint32).astype(jnp.uint64)
    return (bits << _FACE_BITS) | (~face.astype(jnp.uint32)).astype(jnp.uint64)


def write_keys(
    keys: UInt64[Array, " p"],
    pixel: Int[Array, "*n"],
    hit: Bool[Array, "*n"],
    nearness: Float[Array, "*n"],
    face: Int[Array, "*#n"],
) -> UInt64[Array, " p"]:
    """Enters candidates: flat pixel index, whether it is one, 1/z > 0, and the face."""
    place = jnp.where(hit, pixel, keys.shape[0])
    return keys.at[place].max(depth_key(nearness, face), mode="drop")


def visible_face(keys: UInt64[Array, " p"]) -> Int[Array, " p"]:
    """Returns the face of each pixel, -1 where nothing was drawn."""
    face = (~keys).astype(jnp.uint32).astype(jnp.int32)
    return jnp.where(keys == 0, jnp.int32(-1), face)
