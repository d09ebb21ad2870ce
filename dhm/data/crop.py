"""The square that is cut out around a hand, and the affine that maps it to the network's input.

The preparation of training data and the prediction on photographs cut in the same way.
"""

import numpy as np
from jaxtyping import Float

BOX_SCALE = 1.5
"""Side of the crop over that of the joints' bounding box, as in the released preprocessing."""

MIN_JOINTS = 3
MIN_BOX_PX = 16.0
"""Smallest side of a crop, in pixels of the size that K belongs to."""


def crop_matrix(
    low: Float[np.ndarray, " 2"], high: Float[np.ndarray, " 2"], size: int
) -> Float[np.ndarray, "3 3"]:
    """Maps the rectangle between two corners (x, y) to the whole area of a square picture.

    The first pixel's centre is 0 and its outer edge -0.5: u' = (u - low) size / (high - low) - 0.5.
    """
    sx, sy = size / (np.asarray(high) - low)
    return np.array([[sx, 0, -sx * low[0] - 0.5], [0, sy, -sy * low[1] - 0.5], [0, 0, 1]])


def clipped_box(pixels: np.ndarray, K_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Corners (x, y) of the part of a picture of K_size that is cut out around some joints."""
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    centre, half = (low + high) / 2, BOX_SCALE * (high - low) / 2
    edge = np.array([K_size[1], K_size[0]]) - 0.5
    return np.maximum(centre - half, -0.5), np.minimum(centre + half, edge)
