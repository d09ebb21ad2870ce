"""What cameras see of a mesh, by the project's own rasterizer, for meshes of any size."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from dhm.formats.release_annotations import KrtCamera
from dhm.rendering import rasterize

# Meshes are filled up to multiples of these, so that a capture compiles the rasterizer once or
# twice and not once a frame.
_VERTICES, _FACES = 12288, 24576
_OPTIONS = ("image_size", "window")
_draw = jax.jit(rasterize, static_argnames=_OPTIONS)
_draw_depth = jax.jit(
    lambda *mesh, **options: rasterize(*mesh, **options).zbuf, static_argnames=_OPTIONS
)


class Views(NamedTuple):
    """What each pixel of each view sees; see `dhm.rendering.Fragments`."""

    pix_to_face: Int[np.ndarray, "n h w"]
    bary_coords: Float[np.ndarray, "n h w 3"]
    depth: Float[np.ndarray, "n h w"]


def draw_views(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    cameras: Sequence[KrtCamera],
    image_size: tuple[int, int],
) -> Views:
    """Draws a mesh as seen by each camera.

    Args:
        vertices: World mm.
        faces: Of the mesh.
        cameras: Their K belongs to pictures of `image_size`.
        image_size: Height and width in pixels.
    """
    mesh = _filled_up(vertices, faces, cameras)
    return Views(*map(np.asarray, _draw(*mesh, image_size=image_size, window=4)))


def draw_depth(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    cameras: Sequence[KrtCamera],
    image_size: tuple[int, int],
    window: int = 4,
) -> Float[np.ndarray, "n h w"]:
    """Returns the depth alone of `draw_views`, mm, 0 = background.

    `window` is the rasterizer's: about twice the pixels that a face's sides cover is fastest.
    """
    mesh = _filled_up(vertices, faces, cameras)
    return np.asarray(_draw_depth(*mesh, image_size=image_size, window=window))


def _filled_up(vertices, faces, cameras) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rasterizer's arguments, filled up with vertices and faces that show nowhere."""
    T = np.stack([camera.T_camera_world for camera in cameras])
    K = np.stack([camera.K for camera in cameras]).astype(np.float32)
    v_camera = vertices @ T[:, :3, :3].swapaxes(1, 2) + T[:, None, :3, 3]
    v_camera = np.pad(v_camera, ((0, 0), (0, -len(vertices) % _VERTICES), (0, 0)), mode="edge")
    filled = np.pad(faces, ((0, -len(faces) % _FACES), (0, 0)))
    return v_camera.astype(np.float32), filled.astype(np.int32), K
