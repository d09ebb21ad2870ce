"""Whether evidence can be that of a hand: sizes, cameras, depth maps, and what a fit leaves over.

Files in another unit, cameras of another convention and intrinsics of another picture are the most
frequent mistakes in captures. They fit some hand all the same. What no hand can be is refused; what
is doubtful gets a sentence that names the likely cause.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.evidence.cameras import CameraView
from dhm.evidence.conventions import (
    camera_doubt,
    in_camera,
    pixel_extent,
    seen_keypoints,
    triangulated,
)
from dhm.evidence.files import MIN_JOINTS, FrameEvidence
from dhm.evidence.units import MM_PER_UNIT

# Mean of the distances between joints, given over those of the model at zero pose. A fist is near
# 0.6; hands of people differ by some 20 % in size.
_POSSIBLE_SIZE, _LIKELY_SIZE = (0.25, 4.0), (0.45, 1.6)
_LIKELY_SCALE = (0.6, 1.6)
_LIKELY_DISTANCE = (100.0, 10_000.0)  # of a hand from its camera, mm
# Errors that are doubtful: of joints and of the skin in mm, of keypoints over their extent.
_JOINT_ERROR, _SKIN_ERROR, _KEYPOINT_ERROR = 12.0, 5.0, 0.1
_LEAST_MATCHED = 0.3
_MOST_OUTSIDE = 0.25  # of the keypoints
_LEAST_FOCAL_PX = 8.0  # the widest lens on the smallest picture has more
# Centres of a picture's two axes in one proportion to the principal point, and in another than the
# lens' own inaccuracy leaves, are those of another size.
_SAME_PROPORTION, _CENTRED = 0.02, 0.15
_DEPTH_TOLERANCE = 0.1
_DEPTH_STEPS = (0.001, 0.01, 0.1, 0.125, 0.2, 0.25, 0.5, 2.0, 5.0, 10.0, 1000.0)  # mm


def check_evidence(
    where: str | Path, frame: FrameEvidence, joints_zero: Float[np.ndarray, "j 3"]
) -> tuple[str, ...]:
    """Checks the evidence of a frame before the fit.

    Args:
        where: The frame's place, for messages.
        frame: The evidence.
        joints_zero: The model's joints at zero pose, mm.

    Returns:
        Sentences about what is doubtful.

    Raises:
        BadInputError: If no hand can be like that, with the likely unit or convention.
    """
    for view in frame.views:
        if (view.confidence > 0).any():
            require_pixels(f"{where}, camera {view.name}", view.K, seen_keypoints(view))
    found = (camera_doubt(where, frame), _size_doubt(where, frame, joints_zero))
    return (*frame.doubts, *filter(None, found), *_depth_doubts(frame))


def require_pixels(
    where: str | Path,
    K: Float[np.ndarray, "3 3"] | None,
    keypoints: Float[np.ndarray, "n 2"],
    hint: str = "",
) -> None:
    """Refuses intrinsics and keypoints that are parts of the picture instead of pixels.

    Args:
        where: Their place, for messages.
        K: The intrinsics, or None.
        keypoints: The measured keypoints.
        hint: How a file says that they are parts of the picture, where it can.

    Raises:
        BadInputError: If a focal length is below 8 px, or all keypoints lie within -1 and 1.
    """
    expected = f"pixels; these look like parts of the picture's size{hint}"
    if K is not None and min(K[0, 0], K[1, 1]) < _LEAST_FOCAL_PX:
        found = f"K with focal lengths of {K[0, 0]:g} and {K[1, 1]:g}"
        raise BadInputError(where, found, expected)
    if len(keypoints) > 1 and (np.abs(keypoints) <= 1).all():
        found = f"keypoints between {keypoints.min():.3g} and {keypoints.max():.3g}"
        raise BadInputError(where, found, expected)


def principal_point_doubt(K: Float[np.ndarray, "3 3"], size: tuple[int, int]) -> str | None:
    """Returns a sentence if a principal point is not that of a picture of (height, width).

    It lies outside the picture, or where the centre of the same picture at another size is.
    """
    height, width = size
    u, v = K[:2, 2]
    if not (0 < u < width - 1 and 0 < v < height - 1):
        return (
            f"The principal point ({u:.0f}, {v:.0f}) lies outside the picture of {width} x "
            f"{height} pixels: K may be that of a picture of another size."
        )
    across, down = (2 * u + 1) / width, (2 * v + 1) / height
    if abs(across / down - 1) > _SAME_PROPORTION or abs(across - 1) < _CENTRED:
        return None
    return (
        f"The principal point ({u:.0f}, {v:.0f}) is the centre of a picture of {2 * u + 1:.0f} x "
        f"{2 * v + 1:.0f} pixels, not of {width} x {height}: K may be that of another size."
    )


def outside_doubt(keypoints: Float[np.ndarray, "n 2"], size: tuple[int, int]) -> str | None:
    """Returns a sentence if many keypoints lie outside a picture of (height, width)."""
    height, width = size
    outside = (keypoints < -0.5) | (keypoints > [width - 0.5, height - 0.5])
    num_outside = int(outside.any(axis=1).sum())
    if num_outside <= _MOST_OUTSIDE * len(keypoints):
        return None
    return (
        f"{num_outside} of {len(keypoints)} keypoints lie outside the picture of {width} x "
        f"{height} pixels: they may be of another picture or size, not turned upright, or (v, u)."
    )


def distance_doubt(distance: float) -> str | None:
    """Returns a sentence if a hand is too near to its camera or too far away, mm."""
    low, high = _LIKELY_DISTANCE
    if low <= distance <= high:
        return None
    return f"The hand is {distance:.0f} mm from the camera: K may be that of another picture."


def keypoint_doubt(error_px: float, keypoints: Float[np.ndarray, "n 2"]) -> str | None:
    """Returns a sentence if the mean error of keypoints is large for their extent."""
    extent = pixel_extent(keypoints)
    if not error_px > _KEYPOINT_ERROR * extent:
        return None
    return (
        f"The hand is {error_px:.0f} px from the keypoints, which extend over {extent:.0f} px: "
        "the side, the camera or the keypoints' names may be wrong."
    )


class Residuals(NamedTuple):
    """What a fit leaves over; NaN where there is no such evidence.

    Attributes:
        joint_error: Mean distance of the joints given in 3D, mm.
        pixel_error: Mean distance of the keypoints, pixels.
        surface_error: Mean distance of the matched points of the skin, mm.
        matched: Share of the points of the skin with a match on the model.
        scale: Of the hand.
    """

    joint_error: float
    pixel_error: float
    surface_error: float
    matched: float
    scale: float


def check_fit(
    where: str | Path,
    frame: FrameEvidence,
    joints: Float[np.ndarray, "j 3"],
    residuals: Residuals,
) -> tuple[str, ...]:
    """Checks a fitted hand.

    Args:
        where: The frame's place, for messages.
        frame: The evidence.
        joints: The fitted hand's joints, world mm.
        residuals: What the fit leaves over.

    Returns:
        Sentences about what is doubtful.

    Raises:
        BadInputError: If the hand lies behind a camera that sees it.
    """
    for view in frame.views:
        depth = in_camera(view.T_camera_world, joints)[:, 2]
        if (view.confidence > 0).any() and depth.max() <= 0:
            found = f"a hand {-depth.max():.0f} mm behind camera {view.name}, which sees it"
            raise BadInputError(where, found, _CONVENTIONS)
    seen = [seen_keypoints(view) for view in frame.views if (view.confidence > 0).any()]
    doubts = []
    if residuals.joint_error > _JOINT_ERROR:
        doubts.append(
            f"The hand is {residuals.joint_error:.0f} mm from the joints: the side, the unit, the "
            "joints' names or the hand's size may be wrong."
        )
    if seen:
        widest = max(seen, key=pixel_extent)
        doubts += filter(None, [keypoint_doubt(residuals.pixel_error, widest)])
    if residuals.matched < _LEAST_MATCHED:
        causes = "the scan's unit, axes or place"
        if any(view.skin is not None for view in frame.views):
            causes = "the depth map's unit (depth_unit_mm), background (0) or camera (K_depth)"
        doubts.append(
            f"{residuals.matched:.0%} of the skin's points meet the hand: {causes} may be wrong."
        )
    elif residuals.surface_error > _SKIN_ERROR:
        doubts.append(f"The hand is {residuals.surface_error:.0f} mm from the skin's points.")
    if not _LIKELY_SCALE[0] <= residuals.scale <= _LIKELY_SCALE[1]:
        doubts.append(f"The hand's size is {residuals.scale:.2f} of the model's.")
    return tuple(doubts)


_CONVENTIONS = (
    "a camera that looks along +z with +y down, and x_camera = R x + t in mm; a file with others "
    'says "convention": "opengl", "camera_to_world": true or "unit": "m"'
)


def _size_doubt(
    where: str | Path, frame: FrameEvidence, joints_zero: Float[np.ndarray, "j 3"]
) -> str | None:
    joints, known = frame.joints, frame.confidence > 0
    source = "joints"
    if known.sum() < MIN_JOINTS:
        joints, known = triangulated(frame.views)
        source = "joints that the cameras see"
    if known.sum() < MIN_JOINTS:
        return None
    given, expected = _mean_distance(joints[known]), _mean_distance(joints_zero[known])
    if not expected > 0:
        return None
    ratio = given / expected
    span = np.linalg.norm(joints[known][:, None] - joints[known][None], axis=-1).max()
    found = f"{source} that span {span:.3g} mm, {ratio:.2g} times the model's"
    unit = _likely_unit(ratio)
    hint = f'; they look like {unit}: say "unit": "{unit}"' if unit else ""
    if not _POSSIBLE_SIZE[0] <= ratio <= _POSSIBLE_SIZE[1]:
        raise BadInputError(where, found, f"mm{hint}")
    if _LIKELY_SIZE[0] <= ratio <= _LIKELY_SIZE[1] or frame.fit_scale:
        return None
    return f"The {found}: the unit or the joints' names may be wrong."


def _mean_distance(points: Float[np.ndarray, "n 3"]) -> float:
    return float(np.linalg.norm(points[:, None] - points[None], axis=-1).mean())


def _likely_unit(ratio: float) -> str | None:
    for unit, mm in MM_PER_UNIT.items():
        if unit != "mm" and 0.5 < ratio * mm < 2:
            return unit
    return None


def _depth_doubts(frame: FrameEvidence) -> Iterator[str]:
    """Compares depth maps with the joints in space along their rays, and names a likely unit."""
    known = frame.confidence > 0
    for view in frame.views:
        if view.skin is not None and not len(view.skin):
            yield f"The depth map of camera {view.name} shows no surface."
        if view.skin is None or known.sum() < MIN_JOINTS:
            continue
        ratio = _depth_ratio(view, frame.joints[known])
        if ratio is None or abs(np.log(ratio)) < 0.25:
            continue
        steps = [s for s in _DEPTH_STEPS if abs(ratio / s - 1) < _DEPTH_TOLERANCE]
        hint = f': say "depth_unit_mm": {steps[0]:g}' if steps else ""
        yield (
            f"The joints are {ratio:.3g} times as far from camera {view.name} as its depth "
            f"map{hint or ': its unit or background may be wrong'}."
        )


def _depth_ratio(view: CameraView, joints: Float[np.ndarray, "n 3"]) -> float | None:
    """Returns the median ratio of the joints' depths to those of the points on the same ray."""
    points = in_camera(view.T_camera_world, view.skin)
    at = in_camera(view.T_camera_world, joints)
    at = at[at[:, 2] > 0]
    if len(points) == 0 or len(at) < MIN_JOINTS:
        return None
    directions, wanted = points[:, :2] / points[:, 2:], at[:, :2] / at[:, 2:]
    distance = np.linalg.norm(directions[None] - wanted[:, None], axis=-1)
    nearest = distance.argmin(axis=1)
    return float(np.median(at[:, 2] / points[nearest, 2]))
