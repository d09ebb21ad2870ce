"""The made-up capture's studio: a ring of cameras, and pictures of a hand under two lights."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from dhm.formats.krt import KrtCamera

_CENTRE = np.array([120.0, -75.0, 940.0])
_DISTANCE = 950.0
_FOCAL = 1190.0
_LIGHTS = ((0.5, -0.6, 0.65), (-0.75, 0.55, 0.2))
_LIGHT_COLOURS = ((0.80, 0.77, 0.71), (0.52, 0.55, 0.60))
_AMBIENT = 0.28


def place_cameras(num_cameras: int, image_size: tuple[int, int]) -> dict[str, KrtCamera]:
    """Places cameras around the hand, upright and looking at it, named as the colour cameras."""
    height, width = image_size
    cameras = {}
    for index in range(num_cameras):
        azimuth = 2 * np.pi * (index + 0.3) / num_cameras
        elevation = 0.45 * np.sin(2.4 * index)
        away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation),
                         np.sin(elevation)])  # fmt: skip
        right = np.cross([0.0, 0.0, 1.0], away)
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(right, away), -away])
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R, -R @ (_CENTRE + _DISTANCE * away)
        focal = _FOCAL + 7.0 * index
        K = np.array([[focal, 0, width / 2 + 3.0 - index], [0, focal, height / 2 + 4.0], [0, 0, 1]])
        cameras[f"{400002 + 7 * index}"] = KrtCamera(K, np.zeros(5), T)
    return cameras


def studio_centre() -> Float[np.ndarray, " 3"]:
    """Returns where the hand is, in world mm."""
    return _CENTRE.copy()


def skin_colours(
    normals: Float[np.ndarray, "v 3"], palm_side: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "v 3"]:
    """Returns an albedo for each vertex: the palm's side is paler and pinker than the back."""
    share = np.clip(0.5 + 0.7 * normals @ palm_side, 0.0, 1.0)[:, None]
    back, palm = np.array([0.72, 0.50, 0.38]), np.array([0.88, 0.64, 0.55])
    grain = np.random.default_rng(0).normal(0.0, 0.012, (len(normals), 1))
    return back * (1 - share) + palm * share + grain


def vertex_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Returns unit normals, each the area-weighted mean of the faces around the vertex."""
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
    """Returns an RGB picture of the visible faces, smoothly shaded, before a dark background."""
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


def write_jpeg(path: Path, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    """Writes an RGB picture as a JPEG of high quality."""
    if not cv2.imwrite(str(path), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise OSError(f"cannot write {path}")
