"""What stands behind hands: pieces of a folder's pictures, or made up."""

import logging
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from dhm.errors import BadInputError
from dhm.formats.picture import read_picture

log = logging.getLogger(__name__)

MAX_PICTURES = 200
"""Of a folder that are kept in memory; taken evenly from their sorted names."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

_KEPT = 1.5  # short side of a kept picture over the side of a crop
_GRAIN_SIDE = 256  # pixels by which pieces of the same grain may be apart
_GRAIN_LEVELS = 40  # its standard deviation
_EDGE_SIGMA = 0.7  # of the soft edge between hand and background, pixels


class Backgrounds:
    """Draws square pictures.

    Args:
        size: Side of what is drawn, pixels.
        folder: Of pictures, read here once; "" makes some up.

    Raises:
        BadInputError: If the folder has no picture, or one that is damaged.
    """

    def __init__(self, size: int, folder: str | Path = ""):
        self._size = size
        self._pictures = _read_folder(Path(folder), round(_KEPT * size)) if folder else []

    def draw(self, rng: np.random.Generator) -> UInt8[np.ndarray, "s s 3"]:
        """Returns a piece of a picture at a random place, size and side, or one made up."""
        if not self._pictures:
            return made_up(self._size, rng)
        picture = self._pictures[rng.integers(len(self._pictures))]
        short = min(picture.shape[:2])
        side = int(rng.integers(round(short / _KEPT), short, endpoint=True))
        row = int(rng.integers(picture.shape[0] - side, endpoint=True))
        column = int(rng.integers(picture.shape[1] - side, endpoint=True))
        piece = picture[row : row + side, column : column + side]
        piece = cv2.resize(piece, (self._size, self._size), interpolation=cv2.INTER_AREA)
        return piece[:, ::-1] if rng.random() < 0.5 else piece


def made_up(size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "s s 3"]:
    """Clouds of two colours, a few shapes with sharp edges, and grain.

    Args:
        size: Side, pixels.
        rng: Draws all of it.
    """
    coarse = int(rng.integers(2, 9))
    weights = rng.integers(0, 256, (coarse, coarse), np.uint8)
    weights = cv2.resize(weights, (size, size), interpolation=cv2.INTER_CUBIC)
    one, other = rng.uniform(0, 255, (2, 3))
    colours = one + np.linspace(0, 1, 256)[:, None] * (other - one)
    picture = cv2.LUT(cv2.merge([weights] * 3), colours[None].astype(np.uint8))
    for _ in range(int(rng.integers(0, 6))):
        corners = np.rint(rng.uniform(-0.3, 1.3, 2) * size + rng.normal(0, 0.3 * size, (4, 2)))
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillConvexPoly(picture, hull, rng.uniform(0, 255, 3).tolist(), cv2.LINE_AA)
    row, column = rng.integers(0, _GRAIN_SIDE, 2)
    grain = _grain(size)[row : row + size, column : column + size]
    share = rng.uniform(0, 12 / _GRAIN_LEVELS)
    # Grey 128 of the grain is none; the sum is kept within 0 and 255.
    return cv2.addWeighted(picture, 1.0, grain, share, -128 * share)


@lru_cache(maxsize=2)
def _grain(size: int) -> UInt8[np.ndarray, "h w 3"]:
    """Grey noise to cut pieces of `size` out of: drawing as much anew takes a millisecond."""
    noise = np.random.default_rng(0).normal(128, _GRAIN_LEVELS, (size + _GRAIN_SIDE,) * 2)
    return cv2.merge([np.clip(np.rint(noise), 0, 255).astype(np.uint8)] * 3)


def replaced(
    image: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    background: UInt8[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Puts another background behind what a mask keeps, with an edge about a pixel wide."""
    keep = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _EDGE_SIGMA)
    return cv2.blendLinear(image, np.ascontiguousarray(background), keep, 1.0 - keep)


def _read_folder(folder: Path, short: int) -> list[UInt8[np.ndarray, "h w 3"]]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise BadInputError(folder, "no picture", f"pictures to be backgrounds ({SUFFIXES})")
    if len(paths) > MAX_PICTURES:
        log.info("of the %d backgrounds in %s every %.1fth is used", len(paths), folder,
                 len(paths) / MAX_PICTURES)  # fmt: skip
        chosen = np.linspace(0, len(paths) - 1, MAX_PICTURES).round().astype(int)
        paths = [paths[i] for i in chosen]
    return [_shrunk(read_picture(path), short) for path in paths]


def _shrunk(picture: UInt8[np.ndarray, "h w 3"], short: int) -> UInt8[np.ndarray, "h w 3"]:
    """With its short side at most this long."""
    factor = short / min(picture.shape[:2])
    if factor >= 1:
        return picture
    height, width = (max(short, round(factor * side)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
