"""What every capture or dataset becomes before it is written as records."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from dhm.types import HandTemplate


class MaskFile(NamedTuple):
    """A picture of labels as large as a view's picture.

    Attributes:
        path: The file; grey.
        lowest: Smallest label that is not background.
        highest: Largest label that is not background.
    """

    path: Path
    lowest: int
    highest: int


@dataclass(frozen=True)
class CaptureView:
    """One image of one frame by one camera, still on disk.

    Attributes:
        sequence: Name of the recording the frame belongs to; splits never cut through one.
        frame: Frame number.
        camera: Camera name.
        image_path: RGB picture, undistorted.
        depth_path: Depth map of the same view, or None.
        K: Intrinsics for a picture of `K_size`; pixel centres at integers.
        K_size: (height, width) that K belongs to; pictures and depth maps may differ from it.
        T_camera_world: World to camera, mm.
        joints: World mm, in the template's joint order; 0 where invalid.
        joint_valid: Whether each joint was annotated.
        scan_path: Reconstructed mesh of the frame, or None.
        mask: What is not background, where a file tells it, or None.
        mirrored: Whether picture and mask are to be flipped left to right when they are read.
            Cameras and joints are those of the flipped picture: a left hand came in as a right one.
    """

    sequence: str
    frame: int
    camera: str
    image_path: Path
    depth_path: Path | None
    K: Float[np.ndarray, "3 3"]
    K_size: tuple[int, int]
    T_camera_world: Float[np.ndarray, "4 4"]
    joints: Float[np.ndarray, "j 3"]
    joint_valid: Bool[np.ndarray, " j"]
    scan_path: Path | None
    mask: MaskFile | None = None
    mirrored: bool = False


@dataclass(frozen=True)
class Capture:
    """All usable views of one subject, sorted by (sequence, frame, camera).

    Attributes:
        template: The hand model that came with the capture, or was chosen for it.
        views: The views to keep.
        skipped: Number of images left out, by reason, in the order in which the rules apply.
    """

    template: HandTemplate
    views: tuple[CaptureView, ...]
    skipped: dict[str, int]
