"""Crops of hands: the square around a hand, and how pictures and depth maps are resampled to it.

Training records and photographs are cropped alike. All maps between pixels are axis-aligned affines
with pixel centres at integers.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

BOX_SCALE = 1.5
"""Side of the crop over that of the joints' bounding box, as in the released preprocessing."""

MIN_JOINTS = 3
MIN_BOX_PX = 16.0
"""Smallest side of a crop, in pixels of the size that K belongs to."""

MAX_DEPTH_STEP_MM = 5.0
"""Largest depth range of four neighbours of one surface.

A pixel covers about 1 mm of a hand in the released captures, so a surface seen at 75 degrees
still changes by less than this; a finger in front of the palm by more.
"""


def clipped_box(pixels: np.ndarray, K_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners (x, y) of the crop around some joints.

    The bounding box of the joints, each side times BOX_SCALE around its centre, clipped to the
    picture.

    Args:
        pixels: Pixels of the joints.
        K_size: (height, width) of the picture.
    """
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    centre, half = (low + high) / 2, BOX_SCALE * (high - low) / 2
    edge = np.array([K_size[1], K_size[0]]) - 0.5
    return np.maximum(centre - half, -0.5), np.minimum(centre + half, edge)


def crop_matrix(
    low: Float[np.ndarray, " 2"], high: Float[np.ndarray, " 2"], size: int
) -> Float[np.ndarray, "3 3"]:
    """Returns the map of the rectangle between two corners (x, y) to all of a square picture.

    The first pixel's centre is 0 and its outer edge -0.5: u' = (u - low) size / (high - low) - 0.5.
    """
    sx, sy = size / (np.asarray(high) - low)
    return np.array([[sx, 0, -sx * low[0] - 0.5], [0, sy, -sy * low[1] - 0.5], [0, 0, 1]])


def scale_matrix(from_size: tuple[int, int], to_size: tuple[int, int]) -> Float[np.ndarray, "3 3"]:
    """Returns the map of a picture's pixels to those of the same picture at another size.

    Sizes are (height, width). K scales with the picture, u' = s u: the centre of the first pixel
    stays where it is, as in the released captures' pictures and depth maps of other sizes. The
    other convention, which keeps the corners, would shift them by half a pixel and more.
    """
    sy, sx = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return np.diag([sx, sy, 1.0])


def warp_image(
    image: UInt8[np.ndarray, "h w *c"], M_source_target: Float[np.ndarray, "3 3"], size: int
) -> UInt8[np.ndarray, "s s *c"]:
    """Resamples a picture: bilinear, after a Gaussian low-pass along the axes that shrink.

    Args:
        image: The picture.
        M_source_target: Maps target pixels to the picture's, axis-aligned, positive scale.
        size: Side of the target.
    """
    # Source pixels a target pixel. The blur's variance is that of going from a pixel of width 1
    # to one of width f; where the picture grows the sigma is nearly 0 and nothing is blurred.
    shrink = np.maximum([M_source_target[0, 0], M_source_target[1, 1]], 1.0)
    sigma_x, sigma_y = np.maximum(0.5 * np.sqrt(shrink**2 - 1.0), 1e-3)
    M = M_source_target.copy()
    if shrink.max() > 1:
        image, M = _cut_out(image, M, size, margin=int(np.ceil(4 * max(sigma_x, sigma_y))) + 2)
        image = cv2.GaussianBlur(
            image, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_REPLICATE
        )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, M[:2], (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def warp_mask(
    mask: Bool[np.ndarray, "h w"], M_source_target: Float[np.ndarray, "3 3"], size: int
) -> Bool[np.ndarray, "s s"]:
    """Resamples a mask; pixels that are covered by half or more are in.

    Args:
        mask: The mask.
        M_source_target: As in `warp_image`.
        size: Side of the target.
    """
    return warp_image(mask.astype(np.uint8) * 255, M_source_target, size) >= 128


def warp_depth(
    depth: Float[np.ndarray, "h w"], M_source_target: Float[np.ndarray, "3 3"], size: int
) -> Float[np.ndarray, "s s"]:
    """Resamples a depth map without mixing foreground and background, or two surfaces.

    Where the four neighbours are foreground and within MAX_DEPTH_STEP_MM of each other, their
    inverse depths are interpolated bilinearly: the inverse depth of a plane is affine in pixel
    coordinates, its depth is not, so this is exact on planes. Elsewhere the nearest pixel counts.

    Args:
        depth: Depth along the camera's z in mm, 0 = background.
        M_source_target: Maps target pixels to the map's, axis-aligned, positive scale.
        size: Side of the target.
    """
    x0, x1, fx, x_nearest = _taps(
        M_source_target[0, 0], M_source_target[0, 2], size, depth.shape[1]
    )
    y0, y1, fy, y_nearest = _taps(
        M_source_target[1, 1], M_source_target[1, 2], size, depth.shape[0]
    )
    depth = depth.astype(np.float64)
    result = depth[np.ix_(y_nearest, x_nearest)]
    above, below = depth[y0], depth[y1]
    corners = np.stack([above[:, x0], above[:, x1], below[:, x0], below[:, x1]])
    nearest, farthest = corners.min(axis=0), corners.max(axis=0)
    rows, columns = np.nonzero((nearest > 0) & (farthest - nearest <= MAX_DEPTH_STEP_MM))
    inverse = 1.0 / corners[:, rows, columns]
    fx, fy = fx[columns], fy[rows]
    top = inverse[0] + fx * (inverse[1] - inverse[0])
    bottom = inverse[2] + fx * (inverse[3] - inverse[2])
    result[rows, columns] = 1.0 / (top + fy * (bottom - top))
    return result


def _cut_out(
    image: np.ndarray, M: np.ndarray, size: int, margin: int
) -> tuple[np.ndarray, np.ndarray]:
    """Crops a picture to what a warp needs, and returns the warp from there."""
    low = np.floor(M[:2, 2]).astype(int) - margin
    high = np.ceil(M[:2, :2] @ [size - 1, size - 1] + M[:2, 2]).astype(int) + margin + 1
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, image.shape[1::-1])
    shifted = M.copy()
    shifted[:2, 2] -= x0, y0
    return image[y0:y1, x0:x1], shifted


def _taps(scale: float, offset: float, size: int, limit: int) -> tuple[np.ndarray, ...]:
    """Returns both neighbours along an axis, the weight of the second, and the nearest pixel."""
    x = scale * np.arange(size) + offset
    first = np.floor(x)
    inside = [np.clip(i, 0, limit - 1).astype(int) for i in (first, first + 1, np.floor(x + 0.5))]
    return inside[0], inside[1], x - first, inside[2]
