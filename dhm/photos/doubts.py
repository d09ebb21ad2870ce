"""Whether what locates a hand can be that of its picture: boxes, keypoints, lenses and crops.

`dhm.evidence.plausibility` has the checks that fits need, too.
"""

import numpy as np
from jaxtyping import Float, UInt8

from dhm.evidence.keypoints import Box
from dhm.evidence.plausibility import outside_doubt

_WIDEST_VIEW_DEG = 130.0  # of a lens that a pinhole camera describes
_MOSTLY_INSIDE = 0.75  # of a box
_LEAST_CONTRAST = 16  # of a crop, of 255


def contrast_doubt(picture: UInt8[np.ndarray, "s s 3"]) -> str | None:
    """Returns a sentence if a crop shows nothing, as a black or 12-bit picture does."""
    low, high = int(picture.min()), int(picture.max())
    if high - low >= _LEAST_CONTRAST:
        return None
    return f"The crop shows no hand: its values lie between {low} and {high} of 255."


def focal_length_doubt(K: Float[np.ndarray, "3 3"], size: tuple[int, int]) -> str | None:
    """Returns a sentence if a picture of (height, width) would show more than any lens does."""
    focal, side = min(K[0, 0], K[1, 1]), max(size)
    angle = np.degrees(2 * np.arctan(side / 2 / focal))
    if angle <= _WIDEST_VIEW_DEG:
        return None
    return (
        f"The focal length of {focal:g} px gives a field of view of {angle:.0f} degrees: it may be "
        "in mm, or that of a smaller picture."
    )


def location_doubts(
    size: tuple[int, int],
    box: Box | None,
    keypoints: Float[np.ndarray, "n 2"],
) -> tuple[str, ...]:
    """Returns sentences if a hand is not where a picture is, or a box not where the keypoints are.

    Args:
        size: (height, width) of the picture.
        box: x, y, width, height around the hand, or None.
        keypoints: The measured keypoints.
    """
    height, width = size
    doubts = [doubt] if (doubt := outside_doubt(keypoints, size)) else []
    if box is None:
        return tuple(doubts)
    x, y, w, h = box
    inside = max(min(x + w, width) - max(x, 0), 0) * max(min(y + h, height) - max(y, 0), 0)
    in_words = f"The box at ({x:.0f}, {y:.0f}) of {w:.0f} x {h:.0f} pixels"
    if inside < _MOSTLY_INSIDE * w * h:
        doubts.append(
            f"{in_words} reaches out of the picture of {width} x {height}: it may be of another "
            "size, or its last two numbers a corner."
        )
    seen = _num_inside(keypoints, (x - w / 4, y - h / 4, 1.5 * w, 1.5 * h))
    if seen < len(keypoints) / 2:
        doubts.append(f"{in_words} has {seen} of {len(keypoints)} keypoints in and around it.")
    return tuple(doubts)


def _num_inside(pixels: Float[np.ndarray, "n 2"], box: Box) -> int:
    x, y, w, h = box
    return int(((pixels >= [x, y]) & (pixels <= [x + w, y + h])).all(axis=1).sum())
