"""A shaded mesh as a camera sees it, lit from its front. For people to look at."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dhm.rendering.rasterizer import rasterize
from dhm.rendering.shading import shade, vertex_normals

SKIN = (0.80, 0.62, 0.52)
"""Linear RGB of a hand without a texture."""

# The lights' world is seen along +y with +z up; a camera looks along +z with -y up.
_LIGHT_FRAME = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])

_rasterize = jax.jit(rasterize, static_argnames="image_size")


def portrait(
    v_camera: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    colours: Float[np.ndarray, "v 3"] | tuple[float, float, float],
    K: Float[np.ndarray, "3 3"],
    size: int,
) -> tuple[UInt8[np.ndarray, "s s 3"], Bool[np.ndarray, "s s"]]:
    """Draws a mesh before a dark background.

    The lights move with the camera, so that every view is lit from its front.

    Args:
        v_camera: Vertices in the camera's frame, mm.
        faces: Of the mesh.
        colours: Linear RGB of the vertices, or one for all.
        K: Intrinsics of the picture.
        size: Its side, pixels; each needs a program of its own.

    Returns:
        The RGB picture, and where the mesh is.
    """
    arguments = np.float32(v_camera)[None], np.int32(faces), np.float32(K)[None]
    fragments = _rasterize(*map(jnp.asarray, arguments), image_size=(size, size))
    pix_to_face, bary_coords = (np.asarray(x[0]) for x in fragments[:2])
    normals = vertex_normals(v_camera @ _LIGHT_FRAME, faces)
    albedo = np.broadcast_to(colours, v_camera.shape)
    picture = shade(pix_to_face, bary_coords, faces, normals, albedo, -_LIGHT_FRAME[2])
    return picture, pix_to_face >= 0
