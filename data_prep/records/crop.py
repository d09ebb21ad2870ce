"""Crops views to the hand and folds the crop into the camera.

Nothing after this step knows about crops: K belongs to the cropped picture.
"""

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_prep.captures.frames import LYING, CaptureView, FaultyItemError, faulty_as
from dhm.data.crop import (
    MIN_BOX_PX,
    MIN_JOINTS,
    clipped_box,
    crop_matrix,
    scale_matrix,
    warp_depth,
    warp_image,
    warp_mask,
)
from dhm.data.depth_codec import DEPTH_RANGE_MM
from dhm.formats.picture import read_picture
from dhm.formats.release_annotations import read_depth_pickle

MAX_NEARER_THAN_JOINTS_MM = 200.0
"""Length of a hand: no part of it is nearer to the camera than its joints by more than this."""

MAX_BEFORE_JOINTS_MM, MAX_BEHIND_JOINTS_MM = 100.0, 20.0
"""How far the surface at a joint's pixel may be nearer than the joint, where other fingers are in
front of it, and farther, where the joint is not quite on the hand."""

MIN_JOINTS_ON_SURFACE = 0.5
"""Smallest share of the joints in the crop at which the depth map shows such a surface. Of a view's
own map it is above 0.8, of another camera's or a flipped one mostly below."""

MAX_FOREGROUND = 0.95
"""Largest share of the crop, in whose middle third the joints are, that a hand covers."""

MAX_ASPECT_CHANGE = 0.02
"""Largest relative change of the aspect ratio: that of rounding the sides of a small picture."""


BAD_PICTURE = "picture that is missing or does not decode"
BAD_SHAPE = "picture whose shape is not its camera's"
BAD_DEPTH = "depth map that cannot be used"
OTHER_DEPTH = "depth map that does not show the hand at its joints"
NO_BACKGROUND = "depth map without background"
BAD_MASK = "mask that cannot be used"


class Unusable(StrEnum):
    """Reasons for which a view cannot be cropped, in the order in which the rules apply."""

    TOO_FEW_JOINTS = f"fewer than {MIN_JOINTS} valid joints"
    BEHIND_CAMERA = "hand behind the camera"
    OUTSIDE_IMAGE = "hand outside the image"
    TOO_SMALL = f"hand smaller than {MIN_BOX_PX:g} pixels"


NOT_SHOWN = (Unusable.BEHIND_CAMERA, Unusable.OUTSIDE_IMAGE, Unusable.TOO_SMALL)
"""Reasons that wrong cameras or joints have, where they are many."""

CAMERA_CONVENTION = (
    "cameras map the world to the camera in mm, x to the right, y down and z ahead, and K is in "
    "pixels of their pictures"
)


class CropPlan(NamedTuple):
    """How a view is cropped; planned before any picture is read.

    Attributes:
        A_crop_view: Maps pixels of a picture of `K_size` to pixels of the crop.
        nearest_mm: Smallest depth that can belong to the hand, mm.
        size: Side of the crop, pixels.
    """

    A_crop_view: Float[np.ndarray, "3 3"]
    nearest_mm: float
    size: int


class CroppedView(NamedTuple):
    """The crop of a view.

    Attributes:
        image: RGB.
        depth: Depth in mm, 0 = background; None without a depth map.
        K: Intrinsics of the crop.
        dropped_pixels: Number of foreground pixels that became background because they are too
            near or too far to belong to the hand.
        mask: The foreground; None without a mask file.
    """

    image: UInt8[np.ndarray, "s s 3"]
    depth: Float[np.ndarray, "s s"] | None
    K: Float[np.ndarray, "3 3"]
    dropped_pixels: int
    mask: Bool[np.ndarray, "s s"] | None


def plan_crop(view: CaptureView, size: int) -> CropPlan | Unusable:
    """Plans the crop of a view: `clipped_box` of its valid joints, stretched to a square.

    Args:
        view: The view.
        size: Side of the crop, pixels.

    Returns:
        The plan, or the first reason for which the view cannot be cropped.
    """
    joints = view.joints[view.joint_valid].astype(np.float64)
    if len(joints) < MIN_JOINTS:
        return Unusable.TOO_FEW_JOINTS
    in_camera = joints @ view.T_camera_world[:3, :3].T + view.T_camera_world[:3, 3]
    if in_camera[:, 2].min() <= 0:
        return Unusable.BEHIND_CAMERA
    pixels = (in_camera / in_camera[:, 2:]) @ view.K.T
    low, high = clipped_box(pixels[:, :2], view.K_size)
    if np.any(high < low):
        return Unusable.OUTSIDE_IMAGE
    if np.any(high - low < MIN_BOX_PX):
        return Unusable.TOO_SMALL
    nearest = float(in_camera[:, 2].min()) - MAX_NEARER_THAN_JOINTS_MM
    return CropPlan(crop_matrix(low, high, size), nearest, size)


def crop_view(view: CaptureView, plan: CropPlan) -> CroppedView:
    """Reads and crops a view's picture, depth map and mask.

    Picture and depth map may each have another size than that which K belongs to, unless the view
    is mirrored.

    Raises:
        FaultyItemError: A file is missing or damaged, or has another aspect ratio or size.
    """
    with faulty_as(BAD_PICTURE):
        image = _read_image(view)
    M_image = _source_from_crop(view, plan, image.shape[:2], view.image_path)
    depth, mask, dropped = None, None, 0
    if view.depth_path is not None:
        with faulty_as(BAD_DEPTH):
            whole = read_depth_pickle(view.depth_path)
        M_depth = _source_from_crop(view, plan, whole.shape, view.depth_path, BAD_DEPTH)
        read = warp_depth(whole, M_depth, plan.size)
        _require_hand(view, plan, whole, read)
        depth, dropped = limit_depth(read, plan.nearest_mm)
        _require_background(view, depth)
    if view.mask is not None:
        with faulty_as(BAD_MASK):
            mask = warp_mask(_read_mask(view, image), M_image, plan.size)
    return CroppedView(
        image=warp_image(image, M_image, plan.size),
        depth=depth,
        K=plan.A_crop_view @ view.K,
        dropped_pixels=dropped,
        mask=mask,
    )


def _require_hand(view: CaptureView, plan: CropPlan, whole: np.ndarray, depth: np.ndarray) -> None:
    """Raises a FaultyItemError for a depth map that shows something elsewhere than the joints.

    Args:
        view: The view.
        plan: How it is cropped.
        whole: The depth map.
        depth: Its crop.
    """
    if not whole.any():
        return
    joints = view.joints[view.joint_valid].astype(np.float64)
    in_camera = joints @ view.T_camera_world[:3, :3].T + view.T_camera_world[:3, 3]
    pixels = (in_camera / in_camera[:, 2:]) @ (plan.A_crop_view @ view.K).T
    column, row = np.rint(pixels[:, :2]).astype(int).T
    inside = (np.minimum(column, row) >= 0) & (np.maximum(column, row) < plan.size)
    z, surface = in_camera[inside, 2], depth[row[inside], column[inside]]
    near = (surface > z - MAX_BEFORE_JOINTS_MM) & (surface < z + MAX_BEHIND_JOINTS_MM)
    if (near & (surface > 0)).sum() < MIN_JOINTS_ON_SURFACE * inside.sum():
        shown = depth[depth > 0] if depth.any() else whole[whole > 0]
        found = (
            f"depths from {shown.min():.4g} to {shown.max():.4g} around joints from {z.min():.4g} "
            f"to {z.max():.4g} mm, {(near & (surface > 0)).sum()} of {inside.sum()} on the surface"
        )
        expected = f"the hand's depths in mm along the camera's z; {CAMERA_CONVENTION}"
        raise FaultyItemError(OTHER_DEPTH, view.depth_path, found, expected)


def _require_background(view: CaptureView, depth: np.ndarray) -> None:
    """Raises a FaultyItemError for a depth map that goes on around the hand."""
    share = np.count_nonzero(depth) / depth.size
    if share > MAX_FOREGROUND:
        found = f"depths on {share:.0%} of the hand's crop"
        raise FaultyItemError(NO_BACKGROUND, view.depth_path, found, "0 around the hand")


def limit_depth(
    depth: Float[np.ndarray, "h w"], nearest_mm: float
) -> tuple[Float[np.ndarray, "h w"], int]:
    """Turns depths outside the codes' range from `nearest_mm` on into background.

    Returns:
        The depth map, and the number of foreground pixels that became background.
    """
    far = (depth < nearest_mm) | (depth > nearest_mm + DEPTH_RANGE_MM)
    dropped = far & (depth > 0)
    return np.where(dropped, 0, depth), int(dropped.sum())


def _read_image(view: CaptureView) -> UInt8[np.ndarray, "h w 3"]:
    image = read_picture(view.image_path)
    if not view.mirrored:
        return image
    # Scaling keeps the first pixel's centre in place, which in a flipped picture was the last's.
    reason = LYING if _lies(image.shape[:2], view.K_size) else BAD_SHAPE
    _require_size(view.image_path, image, view.K_size, reason)
    return np.ascontiguousarray(image[:, ::-1])


def _read_mask(view: CaptureView, image: np.ndarray) -> Bool[np.ndarray, "h w"]:
    labels = read_picture(view.mask.path)[..., 0]
    _require_size(view.mask.path, labels, image.shape[:2], BAD_MASK)
    mask = (labels >= view.mask.lowest) & (labels <= view.mask.highest)
    return mask[:, ::-1] if view.mirrored else mask


def _require_size(path: Path, picture: np.ndarray, size: tuple[int, int], reason: str) -> None:
    sizes = picture.shape[:2], size
    if sizes[0] != sizes[1]:
        found, expected = (f"{rows} rows, {columns} columns" for rows, columns in sizes)
        raise FaultyItemError(reason, path, found, expected)


def _same_shape(size: tuple[int, int], K_size: tuple[int, int]) -> bool:
    A = scale_matrix(K_size, size)
    return abs(A[0, 0] / A[1, 1] - 1) <= MAX_ASPECT_CHANGE


def _lies(size: tuple[int, int], K_size: tuple[int, int]) -> bool:
    """Whether a picture has the shape of its camera's pictures turned by 90 degrees alone."""
    return _same_shape(size[::-1], K_size) and not _same_shape(size, K_size)


def _source_from_crop(
    view: CaptureView, plan: CropPlan, size: tuple[int, int], path: Path, reason: str = ""
) -> Float[np.ndarray, "3 3"]:
    """Returns the map from the crop's pixels to a file's.

    Raises:
        FaultyItemError: The file has another aspect ratio than the camera, counted as `reason`;
            by default as that of a picture.
    """
    A = scale_matrix(view.K_size, size)
    if not _same_shape(size, view.K_size):
        height, width = view.K_size
        raise FaultyItemError(
            reason or (LYING if _lies(size, view.K_size) else BAD_SHAPE),
            path,
            f"{size[0]} rows and {size[1]} columns",
            f"the aspect ratio that K belongs to, {height} rows and {width} columns",
        )
    return A @ np.linalg.inv(plan.A_crop_view)
