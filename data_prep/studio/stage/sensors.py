"""The studio's sensors: RGB pictures with noise, backgrounds, and noisy depth maps."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_prep.studio.stage.cameras import Views

_GAMMA = 2.2
_NOISE = 1.2  # grey levels of 255
# Linear intensity of each grey level.
_LINEAR = (np.arange(256, dtype=np.float32) / np.float32(255)) ** np.float32(_GAMMA)
_GRAZING = 0.35  # cosine between ray and normal, below which a depth sensor loses pixels


def photograph(
    views: Views,
    view: int,
    faces: np.ndarray,
    colours: Float[np.ndarray, "v 3"],
    background: UInt8[np.ndarray, "h w 3"],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the RGB picture of one view.

    Args:
        views: The rasterized views.
        view: Index of the view.
        faces: Triangles of the mesh.
        colours: Light from each vertex to this camera, linear RGB.
        background: The recorded background, noise included.
        rng: Draws the sensor's noise on the hand.
    """
    seen = views.pix_to_face[view] >= 0
    picture = background.copy()
    if not seen.any():
        return picture
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    box = tuple(slice(max(at[0] - 2, 0), at[-1] + 3) for at in (rows, columns))
    hand = _LINEAR[background[box]]
    inside = seen[box]
    corners = faces[views.pix_to_face[view][box][inside]]
    shares = views.bary_coords[view][box][inside]
    hand[inside] = np.einsum("nk,nkc->nc", shares, colours.astype(np.float32)[corners])
    # The lens blends hand and background along the outline.
    mask = inside.astype(np.uint8)
    outline = cv2.dilate(mask, np.ones((3, 3))) > cv2.erode(mask, np.ones((3, 3)))
    hand[outline] = cv2.GaussianBlur(hand, (3, 3), 0.6)[outline]
    new = inside | outline
    picture[box][new] = _quantized(_gamma_encoded(hand[new]), rng)
    return picture


def _gamma_encoded(light: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Returns the grey levels of linear RGB, not rounded."""
    return np.float32(255) * np.clip(light, 0.0, 1.0).astype(np.float32) ** np.float32(1 / _GAMMA)


def _quantized(
    grey: Float[np.ndarray, "... 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "... 3"]:
    """Returns grey levels with the sensor's noise, in 8 bits."""
    noise = np.float32(_NOISE) * rng.standard_normal(grey.shape, np.float32)
    return np.clip(np.rint(grey + noise), 0, 255).astype(np.uint8)


def dark_background(
    image_size: tuple[int, int], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a picture of the studio's dark cloth."""
    height, width = image_size
    fall = np.linspace(0.012, 0.028, height)[:, None, None]
    grey = _gamma_encoded(fall * np.array([0.9, 1.0, 1.15]))
    return _quantized(np.broadcast_to(grey, (height, width, 3)), rng)


def random_background(
    image_size: tuple[int, int], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a picture of a room out of focus: blurred patches of colour and rectangles."""
    height, width = image_size
    room = np.zeros((height, width, 3))
    for cells, share in ((3, 0.5), (8, 0.3), (24, 0.2)):
        grey, colour = rng.uniform(size=(cells, cells, 1)), rng.uniform(size=(cells, cells, 3))
        coarse = 0.7 * grey + 0.3 * colour
        room += share * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(0, 6)):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(20, width // 2), rng.integers(20, height // 2)
        patch = room[y : y + h, x : x + w]
        patch *= 0.35
        patch += 0.65 * rng.uniform(0.0, 1.0, 3)
    room = cv2.GaussianBlur(room, (0, 0), rng.uniform(0.6, 4.0))
    light = np.clip(room, 0.0, 1.0) ** _GAMMA * rng.uniform(0.3, 1.0)
    return _quantized(_gamma_encoded(light), rng)


def noisy_depth(
    depth: Float[np.ndarray, "h w"],
    K: Float[np.ndarray, "3 3"],
    sigma_mm: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "h w"]:
    """Returns a depth map with noise, and holes where the surface is seen at a grazing angle.

    Args:
        depth: Depth along z in mm, 0 = background.
        K: Intrinsics of the map.
        sigma_mm: Standard deviation of the noise.
        rng: Draws noise and holes.
    """
    seen = depth > 0
    lost = rng.uniform(size=depth.shape) < np.clip(1.0 - _facing(depth, K) / _GRAZING, 0.0, 1.0)
    noise = rng.normal(0.0, sigma_mm, depth.shape)
    return np.where(seen & ~lost, depth + noise, 0.0).astype(np.float32)


def _facing(depth: np.ndarray, K: np.ndarray) -> Float[np.ndarray, "h w"]:
    """Cosine between each pixel's ray and the normal there; 0 where a neighbour is background."""
    rows, columns = np.indices(depth.shape)
    rays = np.stack(
        [(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones(depth.shape)]
    )
    points = rays * depth
    across, down = (np.gradient(points, axis=axis) for axis in (2, 1))
    normal = np.cross(across, down, axis=0)
    cosine = np.abs((normal * rays).sum(axis=0))
    cosine /= np.maximum(np.linalg.norm(normal, axis=0) * np.linalg.norm(rays, axis=0), 1e-9)
    return np.where(_inside(depth > 0), cosine, 0.0)


def _inside(seen: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    inside = seen.copy()
    for axis in (0, 1):
        for shift in (1, -1):
            inside &= np.roll(seen, shift, axis)
    return inside
