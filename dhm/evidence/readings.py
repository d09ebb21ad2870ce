"""Other readings of joints that the hand does not fit: another side, names, order or size.

A hand bends its fingers to such joints and ends some millimetres off, as it does with noisy ones.
What tells them apart is that another reading of the same joints leaves less.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from dhm.evidence.conventions import in_camera, triangulated
from dhm.evidence.files import MIN_JOINTS, EvidenceFile, FrameEvidence
from dhm.evidence.fitter import FrameFitter
from dhm.export.hand_files import LEFT, RIGHT
from dhm.fitting.evidence_fit import FittedHand
from dhm.geometry.hand_rig import FINGERS

# Mean distances, mm, beyond which joints are read otherwise: of joints given in 3D, and of those
# that two cameras see, in their pictures.
_FAR, _FAR_SEEN = 3.0, 1.5
# A reading is named if the cost of the fit, mm^2, is so many times less: of true joints, with 1 to
# 6 mm of noise or bones that differ by 10 %, none had a reading of a cost 1.7 times less; two
# fingers exchanged have one with 3 mm of noise, and 19 of 20 with 2 mm and such bones.
_LESS = 2.0
_LESS_BY_SIZE = 4.0  # a free size explains some of any other shape
_TIP_TO_PALM = ("_null", "3", "2", "1")
# Orders of 21 joints that data sets and detectors have, from the first joint to the last.
_ORDERS = {
    "MediaPipe, OpenPose and FreiHAND": (
        "wrist", *(f"{finger}{part}" for finger in FINGERS for part in reversed(_TIP_TO_PALM)),
    ),
    "RHD": ("wrist", *(f"{finger}{part}" for finger in FINGERS for part in _TIP_TO_PALM)),
    "InterHand2.6M": (*(f"{finger}{part}" for finger in FINGERS for part in _TIP_TO_PALM), "wrist"),
}  # fmt: skip


class Reading(NamedTuple):
    """What a file may have meant by the joints of a frame.

    Attributes:
        said: The beginning of a sentence about the hand.
        frame: The joints read so, and nothing else.
        less: How many times less the cost must be.
    """

    said: str
    frame: FrameEvidence
    less: float = _LESS


def reading_doubts(
    fitter: FrameFitter,
    content: EvidenceFile,
    fitted: FittedHand,
    joint_names: Sequence[str],
) -> list[tuple[str, ...]]:
    """Fits the joints of hands that are far from them in other readings.

    Args:
        fitter: Of the model.
        content: The frames.
        fitted: Their hands.
        joint_names: The template's joint names.

    Returns:
        For each frame a sentence about the reading that leaves much less, if there is one.
    """
    doubts: list[tuple[str, ...]] = [()] * len(content.frames)
    readings = {}
    errors = zip(content.frames, fitted.joint_error, fitted.pixel_error, strict=True)
    for i, (frame, joint_error, pixel_error) in enumerate(errors):
        if (alone := _far_joints(frame, joint_error, pixel_error)) is not None:
            readings[i] = [*readings_of(alone, joint_names)]
    if not readings:
        return doubts
    frames = tuple(reading.frame for found in readings.values() for reading in found)
    hands = fitter(EvidenceFile(frames, sequence=False))
    results = iter(zip(hands.cost.tolist(), hands.joint_error.tolist(), strict=True))
    for i, found in readings.items():
        (as_it_is, _), *others = [next(results) for _ in found]
        fits = zip(found[1:], others, strict=True)
        reading, (cost, error) = min(fits, key=lambda fit: fit[0].less * fit[1][0])
        if reading.less * cost < as_it_is:
            doubts[i] = (f"{reading.said} it is {error:.1f} mm from the joints.",)
    return doubts


def _far_joints(
    frame: FrameEvidence, joint_error: float, pixel_error: float
) -> FrameEvidence | None:
    """Returns the joints alone, given or triangulated, if the hand is far from them."""
    alone = frame._replace(views=(), points=frame.points[:0], normals=frame.normals[:0], start=None)
    if (frame.confidence > 0).sum() >= MIN_JOINTS:
        return alone if joint_error > _FAR else None
    joints, known = triangulated(frame.views)
    if known.sum() < MIN_JOINTS:
        return None
    sizes = [
        in_camera(view.T_camera_world, joints[known])[:, 2].mean() / view.K[0, 0]
        for view in frame.views
        if (view.confidence > 0).any()
    ]
    if not pixel_error * np.mean(sizes) > _FAR_SEEN:
        return None
    return alone._replace(joints=joints, confidence=known.astype(float))


def readings_of(alone: FrameEvidence, joint_names: Sequence[str]) -> Iterator[Reading]:
    """Yields the joints of a frame that has nothing else as they are, and in other readings."""
    yield Reading("As it is", alone)
    side = RIGHT if alone.side == LEFT else LEFT
    yield Reading(f"As a {side} hand", alone._replace(side=side))
    for one, other in combinations(FINGERS, 2):
        pairs = {f"{one}{part}": f"{other}{part}" for part in _TIP_TO_PALM}
        yield Reading(
            f"With the joints of {one} and {other} exchanged",
            _renamed(alone, joint_names, pairs | {b: a for a, b in pairs.items()}),
        )
    backwards = zip(_TIP_TO_PALM, reversed(_TIP_TO_PALM), strict=True)
    turned = {f"{f}{a}": f"{f}{b}" for a, b in backwards for f in FINGERS}
    yield Reading(
        "With the joints of each finger in reverse order", _renamed(alone, joint_names, turned)
    )
    for name, order in _ORDERS.items():
        renamed = dict(zip(joint_names, order, strict=False))
        yield Reading(
            f"With the joints in the order of {name}", _renamed(alone, joint_names, renamed)
        )
    if not alone.fit_scale:
        yield Reading('With "fit_scale"', alone._replace(fit_scale=True), _LESS_BY_SIZE)


def _renamed(
    frame: FrameEvidence, joint_names: Sequence[str], names: dict[str, str]
) -> FrameEvidence:
    """Returns a frame in which the joint that is called a key of `names` is its value."""
    joints, confidence = frame.joints.copy(), frame.confidence.copy()
    index = {name: i for i, name in enumerate(joint_names)}
    confidence[[index[name] for name in names]] = 0
    for name, meant in names.items():
        joints[index[meant]] = frame.joints[index[name]]
        confidence[index[meant]] = frame.confidence[index[name]]
    return frame._replace(joints=joints, confidence=confidence)
