"""Random changes of input pictures that change nothing of the pose they show.

A turn, a shift or another size of the picture is another camera; the pose vector is relative to
the hand, and the losses align the hand to the target before they compare, so no target changes.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8


class Augmentation(NamedTuple):
    """How far an input picture may change; all zeros leave it as it is.

    Attributes:
        rotation_deg: Largest turn to either side.
        scale: Largest relative change of size.
        shift: Largest shift along each axis, as a share of the side.
        brightness: Largest relative change of brightness.
    """

    rotation_deg: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0


def augment(
    image: UInt8[np.ndarray, "h w 3"], limits: Augmentation, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a changed picture; what comes in from outside repeats the border's pixels.

    Args:
        image: RGB.
        limits: How far it may change.
        rng: Draws how far it does.
    """
    if not any(limits):
        return image
    height, width = image.shape[:2]
    angle, size, dx, dy, light = rng.uniform(-1.0, 1.0, 5)
    centre = ((width - 1) / 2, (height - 1) / 2)
    M = cv2.getRotationMatrix2D(centre, angle * limits.rotation_deg, 1.0 + size * limits.scale)
    M[:, 2] += limits.shift * np.array([dx * width, dy * height])
    moved = cv2.warpAffine(image, M, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.clip(np.rint(moved * (1.0 + light * limits.brightness)), 0, 255).astype(np.uint8)
