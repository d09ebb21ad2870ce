"""Which face each pixel of one view sees: the z-buffer's two passes.

Most faces of a hand cover a few pixels: each is tried on a small window, on a CPU on its own box
whatever the size. What does not fit a window or passes through the near plane goes through a work
list.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt64

from dhm.rendering import z_buffer
from dhm.rendering.screen import EPS, Corners, ScreenFaces, faces_on_screen, maximum, minimum
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
    if settings.pixel_by_pixel:
        # The loop over pixels draws one view; vmap must not have it step through several together.
        return jax.custom_batching.sequential_vmap(partial(_visible, settings))(v_camera, faces, K)
    return _visible(settings, v_camera, faces, K)


def _visible(settings, v_camera, faces, K):
    height, width = settings.image_size
    with jax.enable_x64(True):
        screen = faces_on_screen(v_camera, faces, K, settings)
        fits = screen.in_front
        fits &= (screen.columns <= settings.window) & (screen.rows <= settings.window)
        keys, windows = z_buffer.empty(height * width), _windows(screen, fits, width)

        def draw_rest(keys):
            return draw_work_list(keys, screen, ~fits, settings)

        if settings.pixel_by_pixel:
            keys = _draw_pixel_by_pixel(keys, windows, width)
            none_left = jnp.all(fits | (screen.columns == 0))
            keys = jax.lax.cond(none_left, lambda keys: keys, draw_rest, keys)
        else:
            keys = draw_rest(_draw_together(keys, windows, settings.window, width))
        return z_buffer.winners(keys).reshape(height, width)


class _Windows(NamedTuple):
    """Of each face the pixels that it may cover, and what is affine over them.

    Attributes:
        pixel: Flat index of the window's first pixel.
        columns: Columns of the window, 0 where nothing is to be drawn.
        rows: Rows.
        first: Two barycentric coordinates and 1/z at the first pixel.
        right: Their steps from one column to the next.
        down: Their steps from one row to the next.
        nearest: Largest 1/z of the face.
        farthest: Smallest.
        slack: By how much a barycentric coordinate may be below 0.
    """

    pixel: Int[Array, "*f"]
    columns: Int[Array, "*f"]
    rows: Int[Array, "*f"]
    first: Corners
    right: Corners
    down: Corners
    nearest: Float[Array, "*f"]
    farthest: Float[Array, "*f"]
    slack: Float[Array, "*f"]


def _draw_together(
    keys: UInt64[Array, " p"], windows: _Windows, size: int, width: int
) -> UInt64[Array, " p"]:
    """Enters the hits of all windows, one pixel of each at a time.

    The loop is what makes it fast: it keeps the faces' coefficients in memory, where a single
    expression over [size size f] has XLA derive them again for every pixel.
    """
    face = jnp.arange(len(windows.pixel), dtype=jnp.int32)

    def draw_one(step, keys):
        column, row = step % size, step // size
        hit, nearness = _try_pixel(windows, column, row)
        return z_buffer.write(keys, windows.pixel + row * width + column, hit, nearness, face)

    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(size * size), draw_one, keys)


def _draw_pixel_by_pixel(
    keys: UInt64[Array, " p"], windows: _Windows, width: int
) -> UInt64[Array, " p"]:
    """Enters the hits of all windows, one pixel of one window after the other.

    It tries no pixel in vain, and XLA:CPU compiles a loop over single numbers whose end depends on
    them into one piece of machine code (its pass "small-while-loop-hoisting"). An accelerator
    would start a kernel for every line of it. The even and the odd faces are two streams in one
    loop: while one waits for its numbers, the core works for the other.
    """
    num_faces = len(windows.pixel)

    def draw_next(keys, face, column, row):
        # Beyond the end, where the shorter stream waits for the other, it is the last face again,
        # under a name that the last face's own outdoes.
        window = jax.tree.map(lambda values: _item(values, face), windows)
        hit, nearness = _try_pixel(window, column, row)
        key = jnp.where(hit, z_buffer.key(nearness, face), 0)
        # Where nothing is hit any pixel will do, it stays as it is: asking for the hit here, too,
        # would have it derived twice. And no scatter: it would keep XLA from the machine code.
        pixel = window.pixel + row * width + column
        key = jnp.maximum(key, _item(keys, pixel))
        keys = jax.lax.dynamic_update_index_in_dim(keys, key, pixel, 0)
        ends_row = column + 1 >= window.columns
        ends_face = ends_row & (row + 1 >= window.rows)
        face = jnp.where(ends_face, face + 2, face)
        row = jnp.where(ends_face, 0, row + ends_row)
        return keys, (face, jnp.where(ends_row, 0, column + 1), row)

    def draw_two(state):
        keys, even, odd = state
        keys, even = draw_next(keys, *even)
        keys, odd = draw_next(keys, *odd)
        return keys, even, odd

    def is_left(state):
        return (state[1][0] < num_faces) | (state[2][0] < num_faces)

    zero = jnp.zeros((), jnp.int32)
    start = keys, (zero, zero, zero), (zero + 1, zero, zero)
    return jax.lax.while_loop(is_left, draw_two, start)[0]


def _item(values, index):
    return jax.lax.dynamic_index_in_dim(values, index, keepdims=False)


def _try_pixel(windows, column, row):
    """Whether the windows' pixels at a column and row are hit, and 1/z there."""
    b1, b2, nearness = (
        value + column.astype(jnp.float32) * dx + row.astype(jnp.float32) * dy
        for value, dx, dy in zip(windows.first, windows.right, windows.down, strict=True)
    )
    hit = jnp.minimum(jnp.minimum(b1, b2), 1 - b1 - b2) >= -windows.slack
    hit &= (column < windows.columns) & (row < windows.rows)
    return hit, jnp.clip(nearness, windows.farthest, windows.nearest)


def _windows(screen: ScreenFaces, fits: Bool[Array, " f"], width: int) -> _Windows:
    """The windows of all faces; those that do not fit have no pixels."""
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
    return _Windows(
        pixel=screen.row * width + screen.column,
        columns=jnp.where(fits, screen.columns, 0),
        rows=jnp.where(fits, screen.rows, 0),
        first=(b1, b2, nearness[0] + b1 * w1 + b2 * w2),
        right=(b1_right, b2_right, b1_right * w1 + b2_right * w2),
        down=(b1_down, b2_down, b1_down * w1 + b2_down * w2),
        nearest=maximum(nearness),
        farthest=minimum(nearness),
        # Neighbours anchor their common edge at different corners: without the slack a pixel
        # centre on that edge could be missed by both.
        slack=8 * EPS * (1 + (jnp.abs(x1 * y2) + jnp.abs(y1 * x2)) * jnp.abs(inverse)),
    )
