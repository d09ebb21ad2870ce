"""Random changes of a picture that move nothing: colours, blur, compression, what is in front."""

from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dhm.data.backgrounds import Backgrounds

JPEG_QUALITY = (15, 75)

_LEVELS = np.arange(256.0)[:, None]
_SMALLEST_SIGMA = 0.3  # of a blur that can be seen, pixels
_GREY = np.full((3, 3), 1 / 3)
# Rotations about grey turn the hue: the axis's cross product matrix.
_ABOUT_GREY = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)


class ColourLimits(Protocol):
    """The fields of `augmentation.Augmentation` that change colours."""

    brightness: float
    contrast: float
    gamma: float
    channel_gain: float
    saturation: float
    hue_deg: float


def recoloured(
    image: UInt8[np.ndarray, "h w 3"],
    light: float,
    limits: ColourLimits,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "h w 3"]:
    """Changes brightness, contrast, gamma, each channel, saturation and hue.

    Args:
        image: RGB.
        light: Change of brightness, in shares of its limit.
        limits: How far the rest may change.
        rng: Draws how far it does.
    """
    contrast, gamma, saturation, hue, *gains = rng.uniform(-1.0, 1.0, 7)
    if limits.brightness or limits.contrast or limits.gamma or limits.channel_gain:
        grey = np.mean(cv2.mean(image)[:3]) if limits.contrast else 0.0
        levels = 255 * (_LEVELS / 255) ** ((1.0 + limits.gamma) ** gamma)
        levels = grey + (levels - grey) * (1.0 + contrast * limits.contrast)
        levels = levels * (1.0 + light * limits.brightness)
        levels = levels * (1.0 + np.array(gains) * limits.channel_gain)
        image = cv2.LUT(image, np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None])
    if limits.saturation or limits.hue_deg:
        angle = np.radians(hue * limits.hue_deg)
        image = cv2.transform(image, colour_matrix(angle, 1.0 + saturation * limits.saturation))
    return image


def colour_matrix(hue: float, saturation: float) -> Float[np.ndarray, "3 3"]:
    """Turns colours about grey and moves them away from it; grey stays.

    Args:
        hue: Angle, radians: a third of a turn makes red green.
        saturation: Factor of the distance to grey.
    """
    around = np.eye(3) - _GREY
    return _GREY + saturation * (np.cos(hue) * around + np.sin(hue) * _ABOUT_GREY)


def blurred(
    image: UInt8[np.ndarray, "h w 3"], blur_px: float, motion_px: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Blurs by a Gaussian and along a straight motion, each by up to its limit."""
    if blur_px and (sigma := rng.uniform(0, blur_px)) > _SMALLEST_SIGMA:
        image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    if motion_px and (length := rng.uniform(0, motion_px)) > 1:
        kernel = streak(length, rng.uniform(0, np.pi))
        image = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return image


def streak(length: float, angle: float) -> Float[np.ndarray, "n n"]:
    """The kernel of a motion blur: a line about the middle, of sum 1.

    Args:
        length: Pixels.
        angle: Radians from the x axis.
    """
    half = int(np.ceil(length / 2))
    steps = np.linspace(-length / 2, length / 2, 8 * half + 1)
    columns, rows = half + steps * np.cos(angle), half + steps * np.sin(angle)
    c, r = np.floor(columns).astype(int), np.floor(rows).astype(int)
    kernel = np.zeros((2 * half + 2, 2 * half + 2))  # room for the right neighbours
    for dc, dr in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = (1 - np.abs(columns - c - dc)) * (1 - np.abs(rows - r - dr))
        np.add.at(kernel, (r + dr, c + dc), weight)
    kernel = kernel[:-1, :-1]
    return kernel / kernel.sum()


def packed_again(
    image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Packs and unpacks a picture as a JPEG of a poor quality."""
    quality = int(rng.integers(*JPEG_QUALITY, endpoint=True))
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(packed, cv2.IMREAD_COLOR)


def occluded(
    image: UInt8[np.ndarray, "h w 3"],
    largest: float,
    rng: np.random.Generator,
    backgrounds: Backgrounds,
) -> UInt8[np.ndarray, "h w 3"]:
    """Puts a turned rectangle or an ellipse of something else over a place of the picture.

    Args:
        image: RGB.
        largest: Its largest side, as a share of the picture's.
        rng: Draws shape, place and content.
        backgrounds: Give the content.
    """
    height, width = image.shape[:2]
    centre = rng.uniform(0, 1, 2) * (width, height)
    sides = rng.uniform(0, largest, 2) * (width, height)
    box = (tuple(centre), tuple(sides), rng.uniform(0, 180))
    patch = np.zeros((height, width), np.uint8)
    if rng.random() < 0.5:
        cv2.fillConvexPoly(patch, np.rint(cv2.boxPoints(box)).astype(np.int32), 255)
    else:
        cv2.ellipse(patch, box, 255, -1)
    covered = image.copy()
    cv2.copyTo(np.ascontiguousarray(backgrounds.draw(rng)), patch, covered)
    return covered
