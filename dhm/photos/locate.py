"""Where a hand is in a picture: its crop for the network, side, keypoints and camera."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from dhm.data.crop import MIN_BOX_PX, MIN_JOINTS, clipped_box
from dhm.errors import BadInputError
from dhm.evidence.keypoints import (
    Box,
    Detection,
    in_picture,
    in_template_order,
    read_side,
    refuse_unknown_fields,
)
from dhm.evidence.plausibility import require_pixels
from dhm.export.hand_files import RIGHT
from dhm.formats.json_file import MAX_MAGNITUDE
from dhm.formats.photo import Photo
from dhm.photos.doubts import location_doubts

FIELD_OF_VIEW_DEG = 60.0
"""Assumed field of view of the longer side, between a phone's and a webcam's."""

WHOLE: Literal["whole"] = "whole"
HOW_TO_LOCATE = (
    "where the hand is: --bbox x,y,w,h for all pictures (--bbox whole where they are cut out "
    "already), --keypoints file.json, or --detector hand_landmarker.task"
)

_PARTS_HINT = '; "size": [1, 1] says so'
_ASSUMED_SIDE = "Taken as a right hand: nothing says the side."

BoxOrWhole = Box | Literal["whole"]
"""A box tight around the hand, or the whole picture as the crop."""


class LocatedHand(NamedTuple):
    """A hand in a picture; pixels of the upright picture.

    Attributes:
        side: RIGHT or LEFT.
        low: Left and upper edge of the crop.
        high: Right and lower edge of the crop.
        keypoints: In the template's order.
        confidence: 0 for missing keypoints.
        K: Intrinsics, or None if unknown.
        notes: Sentences for the reader of the result.
        doubts: Sentences that say why the place may be wrong.
    """

    side: str
    low: Float[np.ndarray, " 2"]
    high: Float[np.ndarray, " 2"]
    keypoints: Float[np.ndarray, "j 2"]
    confidence: Float[np.ndarray, " j"]
    K: Float[np.ndarray, "3 3"] | None
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def parse_bbox(text: str) -> BoxOrWhole:
    """Parses the command line's box: `x,y,w,h` or "whole".

    Raises:
        BadInputError: If it is neither.
    """
    if text == WHOLE:
        return WHOLE
    try:
        x, y, width, height = map(float, text.split(","))
    except ValueError:
        x = y = width = height = 0.0
    largest = max(map(abs, (x, y, width, height)))
    if not (width > 0 and height > 0 and largest < MAX_MAGNITUDE):
        raise BadInputError("--bbox", repr(text), "x,y,w,h in pixels around the hand, or 'whole'")
    return x, y, width, height


def locate_hand(
    where: str,
    size: tuple[int, int],
    detection: Detection,
    joint_names: tuple[str, ...],
    bbox: BoxOrWhole | None,
    side: str | None = None,
) -> LocatedHand:
    """Combines a detection with the options of the command line.

    The crop is cut as in training: the bounding box of the joints, each side times
    `dhm.data.crop.BOX_SCALE`, clipped to the picture.

    Args:
        where: Name of the picture, for messages.
        size: Height and width of the picture.
        detection: The hand; may be empty.
        joint_names: The template's joint names.
        bbox: The box to use instead of the detection's, or None.
        side: RIGHT or LEFT, whatever the detection says, or None.

    Raises:
        BadInputError: If neither box nor keypoints locate the hand, keypoints or K are parts of the
            picture instead of pixels, the crop is outside the picture or too small, a detector's
            joint or side is unknown, or the detection is for a picture of another shape.
    """
    refuse_unknown_fields(f"{where}, keypoints", detection.keypoints, joint_names)
    said = read_side(where, {"side": side or detection.side})
    detection = in_picture(where, detection, size)
    keypoints, confidence = in_template_order(detection.keypoints, joint_names, 2)
    known = keypoints[confidence > 0]
    require_pixels(where, detection.K, known, _PARTS_HINT)
    box = bbox or detection.box
    low, high = _crop_corners(where, size, box, known)
    doubts = location_doubts(size, None if box == WHOLE else box, known)
    notes = detection.notes if said else (*detection.notes, _ASSUMED_SIDE)
    return LocatedHand(said or RIGHT, low, high, keypoints, confidence, detection.K, notes, doubts)


def _crop_corners(
    where: str,
    size: tuple[int, int],
    bbox: BoxOrWhole | None,
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
        raise BadInputError(where, f"no box and {len(keypoints)} keypoints", HOW_TO_LOCATE)
    low, high = clipped_box(corners, size)
    if (high - low).min() < MIN_BOX_PX:
        found = f"a box of {max(high[0] - low[0], 0):.0f} x {max(high[1] - low[1], 0):.0f} pixels"
        expected = f"one of at least {MIN_BOX_PX:g} in the picture of {width} x {height}"
        raise BadInputError(where, found, expected)
    return low, high


def camera_intrinsics(
    photo: Photo, known: Float[np.ndarray, "3 3"] | None, focal_px: float | None
) -> tuple[Float[np.ndarray, "3 3"], str]:
    """Returns the picture's K and a note on its source.

    Args:
        photo: The picture.
        known: K of the keypoints file, which is used first.
        focal_px: Focal length of the command line, which comes before that of the EXIF data.
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


def mirror_picture(
    image: UInt8[np.ndarray, "h w 3"], located: LocatedHand
) -> tuple[UInt8[np.ndarray, "h w 3"], LocatedHand]:
    """Flips a picture with a located left hand, whose K is known: shows it as a right hand."""
    last = image.shape[1] - 1
    keypoints = np.stack([last - located.keypoints[:, 0], located.keypoints[:, 1]], axis=1)
    mirrored = located._replace(
        side=RIGHT,
        low=np.array([last - located.high[0], located.low[1]]),
        high=np.array([last - located.low[0], located.high[1]]),
        keypoints=keypoints,
        K=mirrored_intrinsics(located.K, last + 1),
    )
    return np.ascontiguousarray(image[:, ::-1]), mirrored


def mirrored_intrinsics(K: Float[np.ndarray, "3 3"], width: int) -> Float[np.ndarray, "3 3"]:
    """Returns K of the picture flipped left to right, whose camera sees the mirrored world."""
    flip = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]])
    return flip @ K @ np.diag([-1.0, 1, 1])
