"""Draws what does not fit the dense window: large faces and faces through the near plane.

Their boxes are cut into tiles; a loop takes a fixed number of tiles at a time from the list of
all of them until none is left, so that nothing is lost however long the list is.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, UInt64

from dhm.rendering import z_buffer
from dhm.rendering.screen import EPS, ScreenFaces, maximum, minimum
from dhm.rendering.settings import RasterSettings

# Side of a tile in pixels, and how many tiles one turn of the loop draws.
_TILE = 8
_TILES_PER_TURN = 256


def draw_work_list(
    keys: UInt64[Array, " p"],
    screen: ScreenFaces,
    listed: Bool[Array, " f"],
    settings: RasterSettings,
) -> UInt64[Array, " p"]:
    """Enters the hits of all listed faces of one view into its z-buffer."""
    tile_columns = jnp.where(listed, -(-screen.columns // _TILE), 0)
    tile_rows = jnp.where(listed, -(-screen.rows // _TILE), 0)
    # 64 bits: a soup of screen-filling faces has more tiles than 32 can count.
    ends = jnp.cumsum(tile_columns.astype(jnp.int64) * tile_rows)

    def draw_some(state):
        start, keys = state
        # [1 1 n], to be spread over the tile's rows and columns.
        item = start + jnp.arange(_TILES_PER_TURN, dtype=jnp.int64)[None, None, :]
        face = jnp.searchsorted(ends, item, side="right").astype(jnp.int32)
        exists = item < ends[-1]
        face = jnp.where(exists, face, 0)
        across = jnp.maximum(tile_columns[face], 1)
        place = (item - ends[face]).astype(jnp.int32) + tile_columns[face] * tile_rows[face]
        column = screen.column[face] + _TILE * (place % across)
        row = screen.row[face] + _TILE * (place // across)
        picked = jax.tree.map(lambda values: values[face], screen)
        pixel, hit, nearness = _tile_hits(picked, column, row, settings)
        return start + _TILES_PER_TURN, z_buffer.write(keys, pixel, hit & exists, nearness, face)

    start = jnp.zeros((), jnp.int64)
    return jax.lax.while_loop(lambda state: state[0] < ends[-1], draw_some, (start, keys))[1]


def _tile_hits(screen, first_column, first_row, settings):
    """Flat pixel index, hit and 1/z on one tile a face [tile tile n].

    The edge functions are homogeneous: nothing is divided by a corner's z, which may be 0 or
    negative; only the depth of the pixel itself has to lie beyond the near plane.
    """
    # Seen from the tile's corner, so that the products cancel as little as they can.
    x = [u - first_column * z for u, z in zip(screen.u, screen.z, strict=True)]
    y = [v - first_row * z for v, z in zip(screen.v, screen.z, strict=True)]
    z = screen.z
    column = jnp.arange(_TILE, dtype=jnp.int32)[None, :, None]
    row = jnp.arange(_TILE, dtype=jnp.int32)[:, None, None]
    edges = [_edge(x, y, z, i, j) for i, j in ((1, 2), (2, 0), (0, 1))]
    volume = sum(depth * edge[0][2] for depth, edge in zip(z, edges, strict=True))
    sign = jnp.sign(volume)
    corner = first_column, first_row
    values, hit = [], _has_volume(x, y, screen, edges, volume, corner, settings)
    for (a, b, c), (a_size, b_size, c_size) in edges:
        value = sign * (c + column * a + row * b)
        # Neighbours see their common edge from different tiles: see the dense window's slack.
        hit = hit & (value >= -4 * EPS * (c_size + _TILE * (a_size + b_size)))
        values.append(value)
    total = sum(values)
    hit &= total > 0
    scale = 1 / jnp.where(total > 0, total, 1.0)
    depth = z[0] + values[1] * scale * (z[1] - z[0]) + values[2] * scale * (z[2] - z[0])
    depth = jnp.clip(depth, minimum(z), maximum(z))
    column, row = first_column + column, first_row + row
    hit &= (column < screen.column + screen.columns) & (row < screen.row + screen.rows)
    hit &= depth > settings.near
    return row * settings.image_size[1] + column, hit, 1 / jnp.where(hit, depth, 1.0)


def _edge(x, y, z, i, j):
    """Coefficients (column, row, constant) of the edge from corner i to j, and their terms' sizes.

    They are the cross product of the two corners: positive, times the sign of the volume, on the
    side of the third corner.
    """
    products = (
        (y[i] * z[j], z[i] * y[j]),
        (z[i] * x[j], x[i] * z[j]),
        (x[i] * y[j], y[i] * x[j]),
    )
    return [a - b for a, b in products], [jnp.abs(a) + jnp.abs(b) for a, b in products]


def _has_volume(x, y, screen, edges, volume, corner, settings):
    """Whether the pyramid from the eye to the face is more than the rounding of its terms.

    The terms' own rounding, and that of the corners before they were seen from the tile.
    """
    size = sum(jnp.abs(z) * edge[1][2] for z, edge in zip(screen.z, edges, strict=True))
    far = maximum([jnp.abs(z) for z in screen.z])
    largest = maximum([jnp.abs(u) + jnp.abs(v) for u, v in zip(screen.u, screen.v, strict=True)])
    largest += (corner[0] + corner[1]) * far
    extent = maximum([jnp.abs(a) + jnp.abs(b) for a, b in zip(x, y, strict=True)])
    facing = -volume if settings.cull_backfaces else jnp.abs(volume)
    return facing > 4 * EPS * (size + largest * extent * far)
