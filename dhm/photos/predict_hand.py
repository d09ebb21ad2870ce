"""A located hand to a mesh: crop, angles, and the place before the camera."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dhm.export.hand_files import CAMERA, LEFT, MODEL, PredictedHand, mirror_transform
from dhm.formats.photo import Photo
from dhm.photos.located import LocatedHand, intrinsics, mirrored_intrinsics
from dhm.photos.placement import Placement, place_hand
from dhm.photos.predictor import Predictor

CANONICAL_NOTE = "Not placed in the camera, shown in the canonical view: {}."


class Evidence(NamedTuple):
    """Keypoints of a right hand and the camera that saw them.

    Attributes:
        keypoints: Pixels, in the template's order.
        confidence: 0 where there is none.
        K: Intrinsics.
    """

    keypoints: Float[np.ndarray, "j 2"]
    confidence: Float[np.ndarray, " j"]
    K: Float[np.ndarray, "3 3"]


class Prediction(NamedTuple):
    """A hand and how its keypoints fit.

    Attributes:
        hand: The hand.
        outlier: Keypoints that the placement left aside, by joint.
    """

    hand: PredictedHand
    outlier: Bool[np.ndarray, " j"]


Adjust = Callable[[Float[np.ndarray, " d"], Evidence], Float[np.ndarray, " d"]]
"""Changes the angles in the light of the keypoints: a filter over time, a fit."""


def predict_hand(
    predictor: Predictor,
    photo: Photo,
    located: LocatedHand,
    source: str,
    focal_px: float | None = None,
    adjust: Adjust | None = None,
) -> Prediction:
    """Predicts the hand of a crop and, where keypoints are known, places it in the camera.

    The model knows right hands: of a left one the mirrored picture is looked at, and the result
    is mirrored back.

    Args:
        predictor: The model.
        photo: The upright picture.
        located: Where the hand is.
        source: The picture's name, for the result.
        focal_px: Focal length, where the user gave it.
        adjust: Changes the angles before the hand is posed and placed.
    """
    is_left = located.side == LEFT
    K, K_source = intrinsics(photo, located.K, focal_px)
    evidence, low, high, image = _as_right_hand(photo.image, located, K)
    theta = predictor.encode(predictor.crop(image, low, high))
    # What the model does not have, such as a linear model's base of the thumb, places no hand.
    confidence = np.where(predictor.known_joints, evidence.confidence, 0.0)
    evidence = evidence._replace(confidence=confidence)
    if adjust is not None:
        theta = adjust(theta, evidence)
    vertices, joints = predictor.decode(theta)
    hand = PredictedHand(
        vertices, joints, theta, side=located.side, source=source,
        details={"crop": [*located.low.tolist(), *(located.high - located.low).tolist()]},
    )  # fmt: skip
    placement = place_hand(joints, *evidence)
    if isinstance(placement, str):
        note = CANONICAL_NOTE.format(placement)
        return Prediction(hand._replace(frame=MODEL, notes=(note,)), np.zeros(len(joints), bool))
    T = placement.T_camera_model
    hand = hand._replace(
        frame=CAMERA,
        T_frame_model=mirror_transform(T) if is_left else T,
        K=K,
        reprojection_error_px=placement.mean_error_px,
        notes=(f"Camera: {K_source}.",),
        details=hand.details | _fit_of(placement, predictor.template.joint_names),
    )
    return Prediction(hand, placement.outlier)


def _as_right_hand(
    image: UInt8[np.ndarray, "h w 3"], located: LocatedHand, K: Float[np.ndarray, "3 3"]
) -> tuple[Evidence, np.ndarray, np.ndarray, UInt8[np.ndarray, "h w 3"]]:
    """Evidence, crop and picture in which the hand is a right one."""
    evidence = Evidence(located.keypoints, located.confidence, K)
    if located.side != LEFT:
        return evidence, located.low, located.high, image
    last = image.shape[1] - 1
    keypoints = np.stack([last - located.keypoints[:, 0], located.keypoints[:, 1]], axis=1)
    evidence = evidence._replace(keypoints=keypoints, K=mirrored_intrinsics(K, last + 1))
    low = np.array([last - located.high[0], located.low[1]])
    high = np.array([last - located.low[0], located.high[1]])
    return evidence, low, high, np.ascontiguousarray(image[:, ::-1])


def _fit_of(placement: Placement, names: tuple[str, ...]) -> dict:
    errors = zip(names, placement.errors_px.tolist(), strict=True)
    return {
        "reprojection_median_px": float(np.nanmedian(placement.errors_px)),
        "reprojection_px": {name: error for name, error in errors if np.isfinite(error)},
        "outliers": [name for name, out in zip(names, placement.outlier, strict=True) if out],
    }
