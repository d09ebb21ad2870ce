"""Pictures of a rasterized mesh under two fixed lights. NumPy, for people to look at."""

import numpy as np
from jaxtyping import Float, Int, UInt8

_LIGHTS = ((0.5, -0.6, 0.65), (-0.75, 0.55, 0.2))  # world
_LIGHT_COLOURS = ((0.80, 0.77, 0.71), (0.52, 0.55, 0.60))
_AMBIENT = 0.28


def vertex_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Unit normals, each the area-weighted mean of the faces around the vertex."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], np.cross(b - a, c - a))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def shade(
    pix_to_face: Int[np.ndarray, "h w"],
    bary_coords: Float[np.ndarray, "h w 3"],
    faces: Int[np.ndarray, "f 3"],
    normals: Float[np.ndarray, "v 3"],
    colours: Float[np.ndarray, "v 3"],
    towards_camera: Float[np.ndarray, " 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """An RGB picture of the visible faces, smoothly shaded, before a dark background.

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
