"""Hand detectors: the interface, and MediaPipe's HandLandmarker (`pip install mediapipe`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from dhm.errors import BadInputError
from dhm.evidence.keypoints import Detection

MEDIAPIPE_LANDMARKS = (
    "wrist",
    *(f"{finger}{part}" for finger in ("thumb", "index", "middle", "ring", "pinky")
      for part in ("1", "2", "3", "_null")),
)  # fmt: skip
"""MediaPipe's 21 landmarks in its order; of the thumb CMC, MCP, IP and tip, of a finger MCP, PIP,
DIP and tip."""

_MAX_HANDS = 4


class HandDetector(Protocol):
    """A function that finds hands; the command line's is `MediapipeDetector`."""

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> list[Detection]:
        """Returns all hands of an upright RGB picture, in any order."""
        ...


def largest(detections: Sequence[Detection] | None) -> Detection | None:
    """Returns the hand with the largest box, or None if there is no hand."""
    return max(detections or (), key=_area, default=None)


def _area(found: Detection) -> float:
    """Returns the area of a hand's box, or of the box around its keypoints if it has none."""
    if found.box is not None:
        return found.box[2] * found.box[3]
    pixels = np.array([point[:2] for point in found.keypoints.values()], float).reshape(-1, 2)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    return float(np.prod(np.ptp(pixels, axis=0))) if len(pixels) else 0.0


class MediapipeDetector:
    """Finds up to four hands with their 21 joints and sides.

    The sides are those of the person as MediaPipe 1.x gives them, for pictures that are not
    mirrored.

    Args:
        model_file: MediaPipe's `hand_landmarker.task`, available on its site.

    Raises:
        BadInputError: If the package is not installed, or the file is missing or no model.
    """

    def __init__(self, model_file: Path):
        if not model_file.is_file():
            expected = "MediaPipe's hand_landmarker.task, see docs/prediction.md"
            raise BadInputError(model_file, "no such file", expected)
        try:
            import mediapipe
        except ImportError as error:
            expected = "the package mediapipe: pip install 'mediapipe>=1,<2'"
            raise BadInputError("--detector", f"no package ({error})", expected) from error
        vision = mediapipe.tasks.vision
        self._mediapipe = mediapipe
        try:
            self._landmarker = vision.HandLandmarker.create_from_options(
                vision.HandLandmarkerOptions(
                    base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(model_file)),
                    running_mode=vision.RunningMode.IMAGE,
                    num_hands=_MAX_HANDS,
                )
            )
        except (RuntimeError, ValueError, OSError) as error:
            found = f"a file that MediaPipe cannot use ({error})"
            raise BadInputError(model_file, found, "a hand_landmarker.task") from error

    def close(self) -> None:
        """Ends MediaPipe's threads; left to the end of Python, that fails with a traceback."""
        self._landmarker.close()

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> list[Detection]:
        """Returns all hands of an RGB picture."""
        mp = self._mediapipe
        pixels = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        result = self._landmarker.detect(pixels)
        return [
            _as_detection(landmarks, sides, image.shape)
            for landmarks, sides in zip(result.hand_landmarks, result.handedness, strict=True)
        ]


def _as_detection(landmarks, sides, shape: tuple[int, ...]) -> Detection:
    height, width = shape[:2]
    # MediaPipe's coordinates go from 0 to 1 between the picture's edges.
    points = np.array([(mark.x * width - 0.5, mark.y * height - 0.5) for mark in landmarks])
    low, high = points.min(axis=0), points.max(axis=0)
    confidence = float(np.clip(sides[0].score, 0.0, 1.0))
    keypoints = {
        name: (float(u), float(v), confidence)
        for name, (u, v) in zip(MEDIAPIPE_LANDMARKS, points, strict=True)
    }
    box = (*low.tolist(), *(high - low).tolist())
    return Detection(box, keypoints, sides[0].category_name.lower())
