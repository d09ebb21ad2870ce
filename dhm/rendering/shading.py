"""Shaded pictures of a mesh under two fixed lights, for people to look at."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dhm.geometry.mesh import vertex_normals
from dhm.rendering.rasterizer import rasterize

_LIGHTS = ((0.5, -0.6, 0.65), (-0.75, 0.55, 0.2))  # world
_LIGHT_COLOURS = ((0.80, 0.77, 0.71), (0.52, 0.55, 0.60))
_AMBIENT = 0.28

SKIN = (0.80, 0.62, 0.52)
"""Linear RGB of a hand without a texture."""

# The lights' world is seen along +y with +z up; a camera looks along +z with -y up.
_LIGHT_FRAME = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])

_rasterize = jax.jit(rasterize, static_argnames="image_size")


def shade(
    pix_to_face: Int[np.ndarray, "h w"],
    bary_coords: Float[np.ndarray, "h w 3"],
    faces: Int[np.ndarray, "f 3"],
    normals: Float[np.ndarray, "v 3"],
    colours: Float[np.ndarray, "v 3"],
    towards_camera: Float[np.ndarray, " 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Shades the visible faces smoothly, before a dark background. NumPy.

    Args:
        pix_to_face: Index of the visible face, -1 = background.
        bary_coords: Barycentric coordinates on it.
        faces: The mesh's triangles.
        normals: Unit normals of the vertices, world.
        colours: Albedo of the vertices, linear RGB in [0, 1].
        towards_camera: Unit vector, world.
    """
    height, width = pix_to_face.shape
    seen = pix_to_face >= 0
    corners, shares = faces[pix_to_face[seen]], bary_coords[seen][:, :, None]
    normal = (normals[corners] * shares).sum(axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    light = np.full_like(normal, _AMBIENT)
    gloss = np.zeros((len(normal), 1))
    for direction, colour in zip(_LIGHTS, _LIGHT_COLOURS, strict=True):
        towards = np.array(direction) / np.linalg.norm(direction)
        light += np.clip(normal @ towards, 0.0, None)[:, None] * colour
        middle = (towards + towards_camera) / np.linalg.norm(towards + towards_camera)
        gloss += 0.07 * np.clip(normal @ middle, 0.0, None)[:, None] ** 24
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = np.linspace(0.025, 0.06, height)[:, None, None] * np.array([0.9, 1.0, 1.15])
    picture[seen] = (colours[corners] * shares).sum(axis=1) * light + gloss
    return (np.clip(picture, 0.0, 1.0) ** (1 / 1.4) * 255).astype(np.uint8)


def portrait(
    v_camera: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    colours: Float[np.ndarray, "v 3"] | tuple[float, float, float],
    K: Float[np.ndarray, "3 3"],
    size: int,
) -> tuple[UInt8[np.ndarray, "s s 3"], Bool[np.ndarray, "s s"]]:
    """Draws a shaded mesh before a dark background.

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
