"""Which face each pixel of one view sees: the z-buffer's two passes.

Most faces of a hand cover a few pixels, so every face is tried on a small dense window; whatever
does not fit it goes through a work list.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt64

from dhm.rendering import z_buffer
from dhm.rendering.screen import EPS, ScreenFaces, faces_on_screen, maximum, minimum
from dhm.rendering.settings import RasterSettings
from dhm.rendering.work_list import draw_work_list


def visible_faces(
    v_camera: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    K: Float[Array, "3 3"],
    settings: RasterSettings,
) -> Int[Array, "h w"]:
    """Face seen at each pixel centre of one view, -1 where there is none.

    Args:
        v_camera: Vertices in the camera's frame, mm.
        faces: Vertex indices, at least one face.
        K: Intrinsics, upper triangular with last row (0, 0, 1).
        settings: Image size, near plane, pixel centre, culling, window.
    """
    height, width = settings.image_size
    with jax.enable_x64(True):
        screen = faces_on_screen(v_camera, faces, K, settings)
        fits = screen.in_front
        fits &= (screen.columns <= settings.window) & (screen.rows <= settings.window)
        keys = z_buffer.empty(height * width)
        keys = _draw_windows(keys, screen, fits, settings)
        keys = draw_work_list(keys, screen, ~fits, settings)
        return z_buffer.winners(keys).reshape(height, width)


def _draw_windows(
    keys: UInt64[Array, " p"],
    screen: ScreenFaces,
    fits: Bool[Array, " f"],
    settings: RasterSettings,
) -> UInt64[Array, " p"]:
    """Enters the hits of every face that fits, one pixel of all windows at a time.

    The loop is what makes it fast: it keeps the faces' coefficients in memory, where a single
    expression over [window window f] has XLA derive them again for every pixel.
    """
    first, right, down, limits = _window_planes(screen)
    face = jnp.arange(fits.shape[0], dtype=jnp.int32)
    columns, rows = jnp.where(fits, screen.columns, 0), screen.rows
    size, width = settings.window, settings.image_size[1]
    pixel = screen.row * width + screen.column
    nearest, farthest, slack = limits

    def draw_one(step, keys):
        column, row = step % size, step // size
        b1, b2, nearness = (
            value + column.astype(jnp.float32) * dx + row.astype(jnp.float32) * dy
            for value, dx, dy in zip(first, right, down, strict=True)
        )
        hit = jnp.minimum(jnp.minimum(b1, b2), 1 - b1 - b2) >= -slack
        hit &= (column < columns) & (row < rows)
        nearness = jnp.clip(nearness, farthest, nearest)
        return z_buffer.write(keys, pixel + row * width + column, hit, nearness, face)

    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(size * size), draw_one, keys)


def _window_planes(screen):
    """Two barycentric coordinates and 1/z, affine in the pixel, and what bounds them.

    Returns their values at the first pixel of the box, their steps to the right and down, and
    (largest 1/z, smallest 1/z, slack). Meaningless for faces that are not wholly in front.
    """
    nearness = [1 / z for z in screen.z]
    x = [u * w for u, w in zip(screen.u, nearness, strict=True)]
    y = [v * w for v, w in zip(screen.v, nearness, strict=True)]
    x1, x2, y1, y2 = x[1] - x[0], x[2] - x[0], y[1] - y[0], y[2] - y[0]
    w1, w2 = nearness[1] - nearness[0], nearness[2] - nearness[0]
    inverse = 1 / (x1 * y2 - y1 * x2)
    # Anchored at the first corner, nothing large cancels.
    dx, dy = screen.column - x[0], screen.row - y[0]
    b1, b1_right, b1_down = (dx * y2 - dy * x2) * inverse, y2 * inverse, -x2 * inverse
    b2, b2_right, b2_down = (dy * x1 - dx * y1) * inverse, -y1 * inverse, x1 * inverse
    first = b1, b2, nearness[0] + b1 * w1 + b2 * w2
    right = b1_right, b2_right, b1_right * w1 + b2_right * w2
    down = b1_down, b2_down, b1_down * w1 + b2_down * w2
    # Neighbours anchor their common edge at different corners: without the slack a pixel centre
    # on that edge could be missed by both.
    slack = 8 * EPS * (1 + (jnp.abs(x1 * y2) + jnp.abs(y1 * x2)) * jnp.abs(inverse))
    return first, right, down, (maximum(nearness), minimum(nearness), slack)
