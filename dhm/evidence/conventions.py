"""Cameras that do not see the joints where they are, and the convention in which they would.

Tools write cameras with other axes, directions and units, the camera's place for the translation,
and intrinsics for another size of the picture.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from dhm.errors import BadInputError
from dhm.evidence.cameras import CameraView
from dhm.evidence.files import MIN_JOINTS, FrameEvidence
from dhm.evidence.units import MM_PER_UNIT, OPENCV, OPENGL

# Another convention is named if it explains the keypoints, and the one in use does not: median
# errors over the keypoints' extent.
_EXPLAINED, _UNEXPLAINED, _BETTER = 0.03, 0.05, 4.0


def camera_doubt(where: str | Path, frame: FrameEvidence) -> str | None:
    """Compares the keypoints with the joints in space, for the cameras as they are and otherwise.

    Returns:
        A sentence if other cameras would explain the keypoints, and these do not.

    Raises:
        BadInputError: If the joints lie behind the cameras, and before them in another convention.
    """
    views = [view for view in frame.views if (view.confidence > 0).any()]
    error = _camera_error(frame, views)
    if error is None or error <= _UNEXPLAINED:
        return None
    others = [
        (other, said)
        for said, cameras in _other_cameras(frame, views)
        if (other := _camera_error(frame, cameras)) is not None
    ]
    # The unit alone does not change what rays meet: the first of equal errors is taken.
    other, said = min(others, key=lambda found: round(found[0], 6), default=(error, ""))
    if not (_BETTER * other < error and other < _EXPLAINED):
        return None  # the error of the fit says as much
    if np.isinf(error):
        found = "joints behind the cameras that see them"
        raise BadInputError(where, found, f"joints before them, as with {said}")
    return f"The cameras do not see the joints where they are; with {said} they would."


def _other_cameras(
    frame: FrameEvidence, views: Sequence[CameraView]
) -> Iterator[tuple[str, list[CameraView]]]:
    """Yields what the file may have meant, and the cameras as they would then be."""
    for inverse, convention, mm in product((False, True), (OPENCV, OPENGL), MM_PER_UNIT.values()):
        cameras = []
        for view in views:
            units = view.units._replace(mm=mm, convention=convention, camera_to_world=inverse)
            T = units.to_project(view.units.from_project(view.T_camera_world))
            cameras.append(view._replace(T_camera_world=T, units=units))
        if any(new.units != old.units for new, old in zip(cameras, views, strict=True)):
            yield str(cameras[0].units), cameras
    yield "-R t in place of t", [_changed(view, place=True) for view in views]
    yield "R transposed", [_changed(view, place=False) for view in views]
    if (ratio := _picture_ratio(frame, views)) is not None:
        larger = np.diag([ratio, ratio, 1])
        yield (
            f"K of a picture {ratio:.3g} times as large",
            [view._replace(K=larger @ view.K) for view in views],
        )


def _changed(view: CameraView, place: bool) -> CameraView:
    """Returns a camera whose file has its place for t, or else its R transposed."""
    T = view.units.from_project(view.T_camera_world)
    if place:
        T[:3, 3] = -T[:3, :3] @ T[:3, 3]
    else:
        T[:3, :3] = T[:3, :3].T.copy()
    return view._replace(T_camera_world=view.units.to_project(T))


def _picture_ratio(frame: FrameEvidence, views: Sequence[CameraView]) -> float | None:
    """Returns the median ratio of the keypoints to the projected joints that the file gives."""
    ratios = []
    for view in views:
        both = (frame.confidence > 0) & (view.confidence > 0)
        projected = np.linalg.norm(_pixels(view, frame.joints[both]), axis=-1)
        with np.errstate(all="ignore"):
            ratios.append(np.linalg.norm(view.keypoints[both], axis=-1) / projected)
    known = np.concatenate(ratios)
    ratio = float(np.median(known)) if len(known) else np.nan
    return ratio if np.isfinite(ratio) and ratio > 0 else None


def _camera_error(frame: FrameEvidence, views: Sequence[CameraView]) -> float | None:
    """Returns the median error of the keypoints over their extent, of the worst camera.

    Infinite if most joints are behind that camera; None if no joints are known in space.
    """
    joints, known = frame.joints, frame.confidence > 0
    if not any((known & (view.confidence > 0)).any() for view in views):
        joints, known = triangulated(views)
    errors: list[float] = []
    for view in views:
        both = known & (view.confidence > 0)
        pixels = _pixels(view, joints[both])
        distances = np.linalg.norm(pixels - view.keypoints[both], axis=-1)
        if both.sum() >= MIN_JOINTS:
            errors.append(
                float(np.median(distances)) / max(pixel_extent(seen_keypoints(view)), 1.0)
            )
    return max(errors, default=None)


def _pixels(view: CameraView, joints: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
    """Projects joints; those behind the camera are infinitely far off."""
    at = in_camera(view.T_camera_world, joints)
    with np.errstate(all="ignore"):
        pixels = (at @ view.K.T)[:, :2] / at[:, 2:]
    return np.where(at[:, 2:] > 0, pixels, np.inf)


def triangulated(
    views: Sequence[CameraView],
) -> tuple[Float[np.ndarray, "j 3"], Bool[np.ndarray, " j"]]:
    """Returns the joints by linear triangulation, and which are seen by two cameras."""
    count = len(views[0].confidence) if views else 0
    joints, known = np.zeros((count, 3)), np.zeros(count, bool)
    for joint in range(count):
        rows = []
        for view in views:
            if view.confidence[joint] > 0:
                x, y, _ = np.linalg.inv(view.K) @ [*view.keypoints[joint], 1.0]
                P = view.T_camera_world[:3]
                rows += [x * P[2] - P[0], y * P[2] - P[1]]
        if len(rows) >= 4:
            # With the translations in units of their own the system is well conditioned.
            length = max(np.abs(np.array(rows)[:, 3]).max(), 1e-9)
            *point, w = np.linalg.svd(np.array(rows) / [1, 1, 1, length])[2][-1]
            if abs(w) > 1e-9:
                joints[joint], known[joint] = length * np.array(point) / w, True
    return joints, known


def in_camera(
    T: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 3"]:
    """Maps world points to a camera."""
    return points @ T[:3, :3].T + T[:3, 3]


def seen_keypoints(view: CameraView) -> Float[np.ndarray, "n 2"]:
    """Returns the keypoints of a camera, pixels."""
    return view.keypoints[view.confidence > 0]


def pixel_extent(pixels: Float[np.ndarray, "n 2"]) -> float:
    """Returns the diagonal of the box about some pixels."""
    return float(np.linalg.norm(np.ptp(pixels, axis=0))) if len(pixels) else 0.0
