"""Pictures of a lit hand: RGB as a camera would record it."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from data_prep.studio.stage.views import Views

_GAMMA = 2.2
_NOISE = 1.2  # grey levels of 255
_LINEAR = (np.arange(256, dtype=np.float32) / np.float32(255)) ** np.float32(_GAMMA)


def photograph(
    views: Views,
    view: int,
    faces: np.ndarray,
    colours: Float[np.ndarray, "v 3"],
    background: UInt8[np.ndarray, "h w 3"],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns one view's picture.

    Args:
        views: What the cameras see.
        view: Which of them.
        faces: The mesh's triangles.
        colours: Light from each vertex to this camera, linear RGB.
        background: As the camera records it, noise included.
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
    # The lens mixes hand and background over the pixels of the outline.
    mask = inside.astype(np.uint8)
    outline = cv2.dilate(mask, np.ones((3, 3))) > cv2.erode(mask, np.ones((3, 3)))
    hand[outline] = cv2.GaussianBlur(hand, (3, 3), 0.6)[outline]
    new = inside | outline
    picture[box][new] = _record(_grey(hand[new]), rng)
    return picture


def _grey(light: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Grey levels of linear RGB, before they are rounded."""
    return np.float32(255) * np.clip(light, 0.0, 1.0).astype(np.float32) ** np.float32(1 / _GAMMA)


def _record(
    grey: Float[np.ndarray, "... 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "... 3"]:
    """Grey levels as a sensor records them: noise, 8 bits."""
    noise = np.float32(_NOISE) * rng.standard_normal(grey.shape, np.float32)
    return np.clip(np.rint(grey + noise), 0, 255).astype(np.uint8)


def dark_background(
    image_size: tuple[int, int], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a picture of the studio's dark cloth."""
    height, width = image_size
    fall = np.linspace(0.012, 0.028, height)[:, None, None]
    grey = _grey(fall * np.array([0.9, 1.0, 1.15]))
    return _record(np.broadcast_to(grey, (height, width, 3)), rng)


def random_background(
    image_size: tuple[int, int], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a picture of a room that is out of focus: clouds of colour and some flat things."""
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
    return _record(_grey(np.clip(room, 0.0, 1.0) ** _GAMMA * rng.uniform(0.3, 1.0)), rng)
