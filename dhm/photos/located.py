"""Which part of a picture the network sees, and what else is known of the hand there."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from dhm.data.crop import MIN_BOX_PX, MIN_JOINTS, clipped_box
from dhm.errors import BadInputError
from dhm.export.hand_files import LEFT, RIGHT
from dhm.formats.photo import Photo
from dhm.photos.detector import HandDetector, largest
from dhm.photos.keypoints_file import HandClues

FIELD_OF_VIEW_DEG = 60.0
"""Of the longer side, where nothing tells the focal length; between a phone's and a webcam's."""

WHOLE = "whole"
WHAT_TO_PASS = (
    "where the hand is: --bbox x,y,w,h for all pictures (--bbox whole where they are cut out "
    "already), --keypoints file.json, or --detector hand_landmarker.task"
)


Box = tuple[float, float, float, float]
"""x, y, width, height."""


def parse_bbox(text: str) -> Box | str:
    """The command line's box: `x,y,w,h` or WHOLE.

    Raises:
        BadInputError: If it is neither.
    """
    if text == WHOLE:
        return WHOLE
    try:
        x, y, width, height = map(float, text.split(","))
    except ValueError:
        x = y = width = height = 0.0
    if not (width > 0 and height > 0 and max(map(abs, (x, y, width, height))) < 1e9):
        raise BadInputError("--bbox", repr(text), "x,y,w,h in pixels around the hand, or 'whole'")
    return x, y, width, height


class LocatedHand(NamedTuple):
    """A hand in a picture; pixels of the upright picture.

    Attributes:
        side: RIGHT or LEFT.
        low: Left and upper edge of the crop.
        high: Its right and lower edge.
        keypoints: In the template's order.
        confidence: 0 where there is no keypoint.
        K: Intrinsics where they are known.
    """

    side: str
    low: Float[np.ndarray, " 2"]
    high: Float[np.ndarray, " 2"]
    keypoints: Float[np.ndarray, "j 2"]
    confidence: Float[np.ndarray, " j"]
    K: Float[np.ndarray, "3 3"] | None


def detected_clues(image: UInt8[np.ndarray, "h w 3"], detector: HandDetector) -> HandClues | None:
    """What a detector says of the largest hand, None without a hand."""
    found = largest(detector(image))
    if found is None:
        return None
    return HandClues(found.keypoints, None, found.side, found.box)


def locate(
    where: str,
    size: tuple[int, int],
    clues: HandClues,
    joint_names: tuple[str, ...],
    bbox: Box | str | None,
    left: bool,
) -> LocatedHand:
    """Puts together what the command line and the clues say.

    The crop is cut as in training: the bounding box of the joints, each side times
    `dhm.data.crop.BOX_SCALE`, clipped to the picture.

    Args:
        where: The picture, for messages.
        size: (height, width).
        clues: Of the hand; may hold nothing.
        joint_names: The template's.
        bbox: The command line's, which wins: x, y, w, h tight around the hand, or WHOLE.
        left: The command line's; the hand is a left one.

    Raises:
        BadInputError: If nothing says where the hand is, or the box lies outside the picture or is
            too small.
    """
    keypoints, confidence = np.zeros((len(joint_names), 2)), np.zeros(len(joint_names))
    for name, (u, v, certainty) in clues.keypoints.items():
        index = joint_names.index(name)
        keypoints[index], confidence[index] = (u, v), certainty
    low, high = _edges(where, size, bbox or clues.bbox, keypoints[confidence > 0])
    side = LEFT if left else clues.side or RIGHT
    return LocatedHand(side, low, high, keypoints, confidence, clues.K)


def _edges(
    where: str,
    size: tuple[int, int],
    bbox: Box | str | None,
    keypoints: Float[np.ndarray, "n 2"],
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    height, width = size
    if bbox == WHOLE:
        return np.array([-0.5, -0.5]), np.array([width, height]) - 0.5
    if bbox is not None:
        corner, extent = np.array(bbox[:2]), np.array(bbox[2:])
        corners = np.stack([corner, corner + extent])
    elif len(keypoints) >= MIN_JOINTS:
        corners = keypoints
    else:
        raise BadInputError(where, f"no box and {len(keypoints)} keypoints", WHAT_TO_PASS)
    low, high = clipped_box(corners, size)
    if (high - low).min() < MIN_BOX_PX:
        found = f"a box of {max(high[0] - low[0], 0):.0f} x {max(high[1] - low[1], 0):.0f} pixels"
        expected = f"one of at least {MIN_BOX_PX:g} in the picture of {width} x {height}"
        raise BadInputError(where, found, expected)
    return low, high


def intrinsics(
    photo: Photo, known: Float[np.ndarray, "3 3"] | None, focal_px: float | None
) -> tuple[Float[np.ndarray, "3 3"], str]:
    """The picture's K and where it comes from.

    Args:
        photo: The picture.
        known: From the keypoints' file; it wins.
        focal_px: The command line's focal length.
    """
    if known is not None:
        return known, "K from the keypoints file"
    height, width = photo.image.shape[:2]
    source = "focal length from --focal"
    if focal_px is None and photo.focal_35mm is not None:
        # Equivalent focal lengths compare the diagonals, 43.27 mm on film.
        focal_px = photo.focal_35mm * np.hypot(height, width) / np.hypot(36, 24)
        source = f"focal length from EXIF, {photo.focal_35mm:g} mm on 35 mm film"
    if focal_px is None:
        focal_px = max(height, width) / (2 * np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2))
        source = f"focal length assumed, {FIELD_OF_VIEW_DEG:g} degrees along the longer side"
    K = np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]])
    return K, source


def mirrored_intrinsics(K: Float[np.ndarray, "3 3"], width: int) -> Float[np.ndarray, "3 3"]:
    """K of the picture flipped left to right, whose camera sees the mirrored world."""
    flip = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    return flip @ K @ np.diag([-1.0, 1, 1])
