"""Where hands are in a picture: what a detector has to be."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import UInt8


class Detection(NamedTuple):
    """A hand in a picture; pixels, the first one's centre is (0, 0).

    Attributes:
        box: Tight around the hand's joints: x, y, width, height.
        keypoints: (u, v, confidence in 0 to 1) by the joint names of the hand model, those that
            were found; may be empty.
        side: "right", "left", or None where the detector does not tell.
    """

    box: tuple[float, float, float, float]
    keypoints: dict[str, tuple[float, float, float]]
    side: str | None


class HandDetector(Protocol):
    """Finds hands; a function will do.

    From Python, `predict` takes anything that has this form; on the command line there is
    `dhm.photos.mediapipe_detector`.
    """

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> list[Detection]:
        """All hands of an upright RGB picture, in any order; an empty list without any."""
        ...


def largest(detections: Sequence[Detection]) -> Detection | None:
    """The hand with the largest box, or None."""
    return max(detections, key=lambda found: found.box[2] * found.box[3], default=None)
