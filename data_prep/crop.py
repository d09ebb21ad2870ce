"""Cuts the hand out of a view and folds the cut into the camera.

After this step nothing knows about crops: K belongs to the cut-out picture.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from data_prep.frames import CaptureView
from data_prep.resample import scale_matrix, warp_depth, warp_image
from dhm.data.depth_codec import DEPTH_RANGE_MM
from dhm.errors import BadInputError
from dhm.formats.depth_pickle import read_depth_pickle
from dhm.formats.picture import read_picture

BOX_SCALE = 1.5
"""Side of the crop over that of the joints' bounding box, as in the released preprocessing."""

MIN_JOINTS = 3
MIN_BOX_PX = 16.0
"""Smallest side of a crop, in pixels of the size that K belongs to."""

MAX_NEARER_THAN_JOINTS_MM = 200.0
"""A hand is about this long: no part of it is nearer than this before any of its joints."""

MAX_ASPECT_CHANGE = 0.02
"""Rounding of the sides when a picture of a few hundred pixels is scaled down."""

TOO_FEW_JOINTS = f"fewer than {MIN_JOINTS} valid joints"
BEHIND_CAMERA = "hand behind the camera"
OUTSIDE_IMAGE = "hand outside the image"
TOO_SMALL = f"hand smaller than {MIN_BOX_PX:g} pixels"
REASONS = (TOO_FEW_JOINTS, BEHIND_CAMERA, OUTSIDE_IMAGE, TOO_SMALL)


class CropPlan(NamedTuple):
    """How a view is cut, decided before any picture is read.

    Attributes:
        A_crop_view: Maps pixels of a picture of `K_size` to pixels of the crop.
        nearest_mm: Smallest depth that can belong to the hand.
        size: Side of the crop, pixels.
    """

    A_crop_view: Float[np.ndarray, "3 3"]
    nearest_mm: float
    size: int


class CroppedView(NamedTuple):
    """A view after the cut.

    Attributes:
        image: RGB.
        depth: Depth in mm, 0 = background; None without a depth map.
        K: Intrinsics of the crop.
        dropped_pixels: Foreground pixels that became background, being too near or too far to
            belong to the hand.
    """

    image: UInt8[np.ndarray, "s s 3"]
    depth: Float[np.ndarray, "s s"] | None
    K: Float[np.ndarray, "3 3"]
    dropped_pixels: int


def plan_crop(view: CaptureView, size: int) -> CropPlan | str:
    """Chooses the crop of a view.

    The bounding box of the valid joints, each side times BOX_SCALE around its centre, clipped to
    the picture and stretched to a square.

    Args:
        view: The view.
        size: Side of the crop, pixels.

    Returns:
        The plan, or which of REASONS rules the view out.
    """
    joints = view.joints[view.joint_valid].astype(np.float64)
    if len(joints) < MIN_JOINTS:
        return TOO_FEW_JOINTS
    in_camera = joints @ view.T_camera_world[:3, :3].T + view.T_camera_world[:3, 3]
    if in_camera[:, 2].min() <= 0:
        return BEHIND_CAMERA
    pixels = (in_camera / in_camera[:, 2:]) @ view.K.T
    low, high = _clipped_box(pixels[:, :2], view.K_size)
    if np.any(high < low):
        return OUTSIDE_IMAGE
    if np.any(high - low < MIN_BOX_PX):
        return TOO_SMALL
    nearest = float(in_camera[:, 2].min()) - MAX_NEARER_THAN_JOINTS_MM
    return CropPlan(crop_matrix(low, high, size), nearest, size)


def crop_matrix(
    low: Float[np.ndarray, " 2"], high: Float[np.ndarray, " 2"], size: int
) -> Float[np.ndarray, "3 3"]:
    """Maps the rectangle between two corners (x, y) to the whole area of a square picture.

    The first pixel's centre is 0 and its outer edge -0.5: u' = (u - low) size / (high - low) - 0.5.
    """
    sx, sy = size / (np.asarray(high) - low)
    return np.array([[sx, 0, -sx * low[0] - 0.5], [0, sy, -sy * low[1] - 0.5], [0, 0, 1]])


def crop_view(view: CaptureView, plan: CropPlan) -> CroppedView:
    """Reads a view's picture and depth map and cuts them.

    Both may have another size than K belongs to, each its own.

    Raises:
        BadInputError: If a file is missing or damaged, or has another aspect ratio.
    """
    image = read_picture(view.image_path)
    M_image = _source_from_crop(view, plan, image.shape[:2], view.image_path)
    depth, dropped = None, 0
    if view.depth_path is not None:
        whole = read_depth_pickle(view.depth_path)
        M_depth = _source_from_crop(view, plan, whole.shape, view.depth_path)
        depth, dropped = limit_depth(warp_depth(whole, M_depth, plan.size), plan.nearest_mm)
    return CroppedView(
        image=warp_image(image, M_image, plan.size),
        depth=depth,
        K=plan.A_crop_view @ view.K,
        dropped_pixels=dropped,
    )


def limit_depth(
    depth: Float[np.ndarray, "h w"], nearest_mm: float
) -> tuple[Float[np.ndarray, "h w"], int]:
    """Turns into background what the depth codes from `nearest_mm` on cannot hold.

    Returns:
        The depth map, and the number of foreground pixels that were dropped.
    """
    far = (depth < nearest_mm) | (depth > nearest_mm + DEPTH_RANGE_MM)
    dropped = far & (depth > 0)
    return np.where(dropped, 0, depth), int(dropped.sum())


def _clipped_box(pixels: np.ndarray, K_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    centre, half = (low + high) / 2, BOX_SCALE * (high - low) / 2
    edge = np.array([K_size[1], K_size[0]]) - 0.5
    return np.maximum(centre - half, -0.5), np.minimum(centre + half, edge)


def _source_from_crop(
    view: CaptureView, plan: CropPlan, size: tuple[int, int], path: Path
) -> Float[np.ndarray, "3 3"]:
    A = scale_matrix(view.K_size, size)
    if abs(A[0, 0] / A[1, 1] - 1) > MAX_ASPECT_CHANGE:
        height, width = view.K_size
        raise BadInputError(
            path,
            f"{size[0]} rows and {size[1]} columns",
            f"the aspect ratio that K belongs to, {height} rows and {width} columns",
        )
    return A @ np.linalg.inv(plan.A_crop_view)
