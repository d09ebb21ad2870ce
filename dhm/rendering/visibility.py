"""The visible face at each pixel of one view.

Faces before the camera whose boxes fit a window are drawn by `dhm.rendering.pixel_loop`. Large
faces and faces through the near plane go through a work list: their boxes are cut into tiles, and
a loop takes a fixed number of tiles at a time until none is left, however long the list is.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt64

from dhm.rendering.pixel_loop import Windows, draw_pixel_by_pixel, draw_windows
from dhm.rendering.screen import (
    EPS,
    RasterSettings,
    ScreenFaces,
    empty_keys,
    faces_on_screen,
    maximum,
    minimum,
    visible_face,
    write_keys,
)

# Side of a tile in pixels, and how many tiles one turn of the loop draws.
_TILE = 8
_TILES_PER_TURN = 256


def visible_faces(
    v_camera: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    K: Float[Array, "3 3"],
    settings: RasterSettings,
) -> Int[Array, "h w"]:
    """Finds the face seen at each pixel centre of one view, -1 where there is none.

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
        keys, windows = empty_keys(height * width), _windows(screen, fits, width)

        def draw_rest(keys):
            return _draw_work_list(keys, screen, ~fits, settings)

        if settings.pixel_by_pixel:
            keys = draw_pixel_by_pixel(keys, windows, width)
            none_left = jnp.all(fits | (screen.columns == 0))
            keys = jax.lax.cond(none_left, lambda keys: keys, draw_rest, keys)
        else:
            keys = draw_rest(draw_windows(keys, windows, settings.window, width))
        return visible_face(keys).reshape(height, width)


def _windows(screen: ScreenFaces, fits: Bool[Array, " f"], width: int) -> Windows:
    """Returns the windows of all faces; those that do not fit have no pixels."""
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
    return Windows(
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


def _draw_work_list(
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
        return start + _TILES_PER_TURN, write_keys(keys, pixel, hit & exists, nearness, face)

    start = jnp.zeros((), jnp.int64)
    return jax.lax.while_loop(lambda state: state[0] < ends[-1], draw_some, (start, keys))[1]


def _tile_hits(screen, first_column, first_row, settings):
    """Returns flat pixel index, hit and 1/z on one tile a face [tile tile n].

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
    """Returns coefficients (column, row, constant) of the edge from corner i to j, and their sizes.

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
