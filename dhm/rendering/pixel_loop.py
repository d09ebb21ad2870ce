"""Draws the faces' windows of pixels into the z-buffer: plainly, and as a CPU does it fastest.

Most faces of a hand cover a few pixels. `draw_windows` tries one pixel of all faces at a time, as
suits an accelerator; most of these pixels are tried in vain. `draw_pixel_by_pixel` tries those of
each face's own box alone, one after the other, in one loop over single numbers with two streams of
faces. On a CPU it takes two thirds of the time, because of three properties of XLA:CPU:

* A loop over single numbers whose end depends on them is compiled into one piece of machine code by
  the pass "small-while-loop-hoisting". Without that pass every line of the loop is a kernel of its
  own, which takes forty times as long: `is_machine_code` looks, and the rasterizer then draws the
  plain way. On an accelerator every line would be a kernel, too.
* The even and the odd faces are two streams in one loop: while one waits for its numbers, the core
  works for the other.
* A scatter within the loop would keep XLA from the machine code, so that keys are written by
  `dynamic_update_index_in_dim`.

Both enter the same hits, up to the rounding of products that the compiler contracts differently.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt64

from dhm.rendering.screen import Corners, depth_key, write_keys


class Windows(NamedTuple):
    """The pixels that each face may cover, and the coefficients of what is affine over them.

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


def draw_windows(
    keys: UInt64[Array, " p"], windows: Windows, size: int, width: int
) -> UInt64[Array, " p"]:
    """Enters the hits of all windows into a z-buffer, one pixel of every window at a time.

    Args:
        keys: The z-buffer.
        windows: One a face.
        size: Largest number of columns or rows of a window.
        width: Of the image.
    """
    face = jnp.arange(len(windows.pixel), dtype=jnp.int32)

    # A loop keeps the faces' coefficients in memory; in a single expression over [size size f] XLA
    # would derive them again for every pixel.
    def draw_one(step, keys):
        column, row = step % size, step // size
        hit, nearness = _try_pixel(windows, column, row)
        return write_keys(keys, windows.pixel + row * width + column, hit, nearness, face)

    return jax.lax.fori_loop(jnp.int32(0), jnp.int32(size * size), draw_one, keys)


def draw_pixel_by_pixel(
    keys: UInt64[Array, " p"], windows: Windows, width: int
) -> UInt64[Array, " p"]:
    """Enters the hits of all windows into a z-buffer, one pixel of two windows at a time.

    Args:
        keys: The z-buffer.
        windows: One a face, of any size.
        width: Of the image.
    """
    num_faces = len(windows.pixel)

    def draw_next(keys, face, column, row):
        # Beyond the end, where the shorter stream waits for the other, it is the last face again,
        # under an index that the last face's own outdoes.
        window = jax.tree.map(lambda values: _item(values, face), windows)
        hit, nearness = _try_pixel(window, column, row)
        key = jnp.where(hit, depth_key(nearness, face), 0)
        # Where nothing is hit any pixel will do, it stays as it is: asking for the hit here, too,
        # would have it derived twice.
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


@functools.cache
def is_machine_code(disabled_passes: str = "") -> bool:
    """Whether XLA:CPU compiles the loop of `draw_pixel_by_pixel` into one piece of machine code.

    Compiles the loop for a view of 64 pixels, once a process, and looks for XLA's mark in it.

    Args:
        disabled_passes: Names of XLA passes to leave out, besides those in XLA_FLAGS.
    """

    def numbers(dtype):
        return jax.ShapeDtypeStruct((4,), dtype)

    with jax.enable_x64(True):
        places, values = [numbers(jnp.int32)] * 3, numbers(jnp.float32)
        windows = Windows(*places, *[(values,) * 3] * 3, *[values] * 3)
        keys = jax.ShapeDtypeStruct((64,), jnp.uint64)
        lowered = jax.jit(draw_pixel_by_pixel, static_argnums=2).lower(keys, windows, 8)
        options = {"xla_disable_hlo_passes": disabled_passes} if disabled_passes else None
        lines = lowered.compile(options).as_text().splitlines()
    return any("xla_cpu_small_call" in line and "u64[64]" in line for line in lines)


def _item(values, index):
    return jax.lax.dynamic_index_in_dim(values, index, keepdims=False)


def _try_pixel(
    windows: Windows, column: Int[Array, ""], row: Int[Array, ""]
) -> tuple[Bool[Array, "*f"], Float[Array, "*f"]]:
    """Whether the windows' pixels at a column and row are hit, and 1/z there."""
    b1, b2, nearness = (
        value + column.astype(jnp.float32) * dx + row.astype(jnp.float32) * dy
        for value, dx, dy in zip(windows.first, windows.right, windows.down, strict=True)
    )
    hit = jnp.minimum(jnp.minimum(b1, b2), 1 - b1 - b2) >= -windows.slack
    hit &= (column < windows.columns) & (row < windows.rows)
    return hit, jnp.clip(nearness, windows.farthest, windows.nearest)
