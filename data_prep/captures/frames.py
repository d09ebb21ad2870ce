"""Views of hands, the form in which every reader of captures and data sets lists what it found.

Also what the readers of other people's data sets share: the template's joints by name, and left
hands as mirrored right ones. A left hand's picture is flipped, x changes sign in the world and in
the camera, and the principal point moves to the other side, so that what projected onto a pixel
projects onto the same content of the flipped picture.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from dhm.errors import BadInputError
from dhm.geometry.hand_rig import FINGERS
from dhm.types import HandTemplate

NUM_JOINTS = 21
MIN_JOINTS = 11
"""Of a hand's 21 joints; with fewer than half it is cut off or hidden."""

TOO_FEW_JOINTS = f"hand with fewer than {MIN_JOINTS} of its {NUM_JOINTS} joints"
NO_PICTURE = "annotation without its picture"
SECOND_PICTURE = "second picture of a frame and camera"
NO_CAMERA = "camera that is missing or cannot be used"
LYING = "picture that lies on its side against its camera"
OUTSIDE_CENTRE = "camera whose principal point lies outside its picture"
LEFT = "_left"
"""Ends the names of the sequences of mirrored hands."""

_TIP_TO_PALM = ("_null", "3", "2", "1")
WRIST_THEN_TIP_TO_PALM = (
    "wrist", *(f"{finger}{part}" for finger in FINGERS for part in _TIP_TO_PALM)
)  # fmt: skip
"""RHD's order."""
WRIST_THEN_PALM_TO_TIP = (
    "wrist", *(f"{finger}{part}" for finger in FINGERS for part in reversed(_TIP_TO_PALM))
)  # fmt: skip
"""FreiHAND's order, and OpenPose's."""
TIP_TO_PALM_THEN_WRIST = (*WRIST_THEN_TIP_TO_PALM[1:], "wrist")
"""InterHand2.6M's order, and the released capture's."""


class FaultyItemError(BadInputError):
    """An item of a data set that cannot be used; the others can.

    Args:
        reason: What it is counted as.
        where: As in `BadInputError`, as are the rest.
        found: What was there.
        expected: What has to be there instead.
    """

    def __init__(self, reason: str, where: str | Path, found: str, expected: str):
        super().__init__(where, found, expected)
        self.reason = reason

    @classmethod
    def of(cls, reason: str, error: BadInputError) -> "FaultyItemError":
        """Returns a refusal of one of the item's files as that of the item."""
        place = error.where if error.line is None else f"{error.where}:{error.line}"
        return cls(reason, place, error.found, error.expected)


@contextmanager
def faulty_as(reason: str) -> Iterator[None]:
    """Turns a `BadInputError` into a `FaultyItemError` of this reason."""
    try:
        yield
    except FaultyItemError:
        raise
    except BadInputError as error:
        raise FaultyItemError.of(reason, error) from error


class MaskFile(NamedTuple):
    """A picture of labels as large as a view's picture.

    Attributes:
        path: The file; grey.
        lowest: Smallest label of the foreground.
        highest: Largest label of the foreground.
    """

    path: Path
    lowest: int
    highest: int


@dataclass(frozen=True)
class CaptureView:
    """One image of one frame by one camera; its files are not read yet.

    Attributes:
        sequence: Name of the recording that the frame belongs to; no split divides a sequence.
        frame: Frame number.
        camera: Camera name.
        image_path: RGB picture, undistorted.
        depth_path: Depth map of the same view, or None.
        K: Intrinsics for a picture of `K_size`; pixel centres at integers.
        K_size: (height, width) that K belongs to; pictures and depth maps may have other sizes.
        T_camera_world: World to camera, mm.
        joints: World mm, in the template's joint order; 0 where invalid.
        joint_valid: Whether each joint was annotated.
        scan_path: Reconstructed mesh of the frame, or None.
        mask: Foreground mask, or None.
        mirrored: Whether picture and mask must be flipped left to right after reading. Camera and
            joints are those of the flipped picture: a left hand as a right one.
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
        views: The usable views.
        skipped: Number of images left out, by reason, in the order in which the rules apply.
        faults: The reasons among them that are faults of the data, each with its first example.
        notes: Sentences for the reader: what the files say and the preparation does not use.
    """

    template: HandTemplate
    views: tuple[CaptureView, ...]
    skipped: dict[str, int]
    faults: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def mask_notes(views: Sequence[CaptureView], folder: Path) -> tuple[str, ...]:
    """Returns a sentence if no view of a data set that has masks has one.

    Args:
        views: The views.
        folder: Where the masks should be.
    """
    if any(view.mask is not None for view in views):
        return ()
    return (f"no picture has a mask in {folder}: their backgrounds cannot be replaced",)


class Pinhole(NamedTuple):
    """A camera and the size of its pictures.

    Attributes:
        K: Intrinsics, pixel centres at integers.
        K_size: (height, width) that K belongs to.
        T_camera_world: World to camera, mm.
    """

    K: Float[np.ndarray, "3 3"]
    K_size: tuple[int, int]
    T_camera_world: Float[np.ndarray, "4 4"]


def camera_fault(K: Float[np.ndarray, "3 3"], size: tuple[int, int]) -> str | None:
    """Returns the reason for which intrinsics cannot belong to pictures of a size, or None.

    The principal point of an uncropped picture lies near its middle. Much nearer to the middle of
    the picture turned by 90 degrees, K belongs to that one: the pictures lie on their side.

    Args:
        K: Intrinsics.
        size: (height, width) of the pictures.
    """
    height, width = size
    cx, cy = float(K[0, 2]), float(K[1, 2])
    own = np.hypot(cx - (width - 1) / 2, cy - (height - 1) / 2)
    turned = np.hypot(cx - (height - 1) / 2, cy - (width - 1) / 2)
    if 2 * turned < own:
        return LYING
    return None if -0.5 <= cx < width and -0.5 <= cy < height else OUTSIDE_CENTRE


def require_camera(where: str | Path, K: Float[np.ndarray, "3 3"], size: tuple[int, int]) -> None:
    """Raises a `FaultyItemError` if `camera_fault` finds one."""
    if reason := camera_fault(K, size):
        found = f"the principal point ({K[0, 2]:g}, {K[1, 2]:g})"
        expected = f"one near the middle of {size[0]} rows and {size[1]} columns"
        raise FaultyItemError(reason, where, found, expected)


def mirror_camera(camera: Pinhole) -> Pinhole:
    """Returns the camera that sees the mirrored world as the picture flipped left to right.

    With M = diag(-1, 1, 1): x_camera' = M x_camera = (M R M) (M x) + M t, and
    u' = width - 1 - u = (fx X + s Y) / -Z + width - 1 - cx.
    """
    K, T = camera.K.copy(), camera.T_camera_world.copy()
    K[0, 1] = -K[0, 1]
    K[0, 2] = camera.K_size[1] - 1 - K[0, 2]
    T[0, 1:] *= -1
    T[1:3, 0] *= -1
    return Pinhole(K, camera.K_size, T)


def mirror_points(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Returns the points of the mirrored world."""
    return points * np.array([-1, 1, 1], points.dtype)


def as_template_joints(
    joint_names: tuple[str, ...],
    order: tuple[str, ...],
    points: Float[np.ndarray, "n 3"],
    valid: Bool[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, "j 3"], Bool[np.ndarray, " j"]]:
    """Sorts a hand's joints into the template's order, by name.

    Args:
        joint_names: The template's joints.
        order: The names of `points`.
        points: World mm.
        valid: Which of them were annotated.

    Returns:
        The joints as float32, 0 where invalid, and which are valid; joints of the template that
        `order` lacks are invalid.
    """
    joints = np.zeros((len(joint_names), 3), np.float32)
    found = np.zeros(len(joint_names), bool)
    for joint, name in enumerate(joint_names):
        if name in order and valid[order.index(name)]:
            joints[joint], found[joint] = points[order.index(name)], True
    return joints, found
