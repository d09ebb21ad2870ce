"""Reads FreiHAND (Zimmermann and others, ICCV 2019), version 2's training set.

    <root>/training/rgb/<ID:08d>.jpg      224 x 224, right hands
    <root>/training/mask/<ID:08d>.jpg     the hand in white, for the first version alone
    <root>/training_{K,xyz}.json          one entry a frame

32,560 frames, each with four backgrounds: 130,240 pictures, ID = frame + 32,560 x version. The
camera's frame is the world's.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from data_prep.captures.frames import (
    MIN_JOINTS,
    NO_PICTURE,
    NUM_JOINTS,
    TOO_FEW_JOINTS,
    WRIST_THEN_PALM_TO_TIP,
    Capture,
    CaptureView,
    FaultyItemError,
    MaskFile,
    Pinhole,
    as_template_joints,
    faulty_as,
    mask_notes,
    require_camera,
)
from data_prep.captures.left_out import LeftOut
from dhm.errors import BadInputError
from dhm.formats.json_file import json_numbers, json_points, read_json
from dhm.types import HandTemplate

VERSIONS = ("gs", "hom", "sample", "auto")
"""Backgrounds of each frame: the green screen, and three automatic replacements of it."""

SIZE = (224, 224)
BAD_ANNOTATION = "frame whose annotation cannot be used"
FRAMES_A_SEQUENCE = 1000
TEST_SEQUENCES = "^frames_3[0-2]$"
"""The last 2,560 frames: the data set has no test split with the same annotations."""

_MASK_FROM = 128  # JPEG leaves greys


def read_freihand(root: str | Path, template: HandTemplate, *, every: int = 1) -> Capture:
    """Lists FreiHAND's training pictures: sequences `frames_<thousand>`, the versions as cameras.

    The four versions of a frame are one frame and go to one split together. Frames whose
    annotation is damaged are left out and counted.

    Args:
        root: The folder FreiHAND_pub_v2.
        template: The hand model whose joints the views take.
        every: Takes every n-th frame only.

    Raises:
        BadInputError: The folder is no FreiHAND, a file of annotations cannot be used, the files
            do not belong together, or none of the pictures can be used.
    """
    root = Path(root)
    K_file, points_file = root / "training_K.json", root / "training_xyz.json"
    all_K, points = _read_entries(K_file), _read_entries(points_file)
    if len(all_K) != len(points):
        found = f"{len(points)} frames"
        raise BadInputError(points_file, found, f"{len(all_K)}, as training_K.json")
    pictures = {path.name for path in (root / "training" / "rgb").glob("*.jpg")}
    views, left_out = [], LeftOut((NO_PICTURE, TOO_FEW_JOINTS))
    for frame in range(0, len(points), every):
        try:
            with faulty_as(BAD_ANNOTATION):
                K = _intrinsics(f"{K_file}, frame {frame}", all_K[frame])
                where = f"{points_file}, frame {frame}"
                xyz, known = json_points(where, points[frame], (NUM_JOINTS, 3))
        except FaultyItemError as error:
            left_out.add_fault(error.reason, error)
            continue
        first = _view(root / "training", template, frame, K, xyz, known)
        for version, camera in enumerate(VERSIONS):
            name = f"{frame + len(points) * version:08d}.jpg"
            if name not in pictures:
                left_out.add(NO_PICTURE)
            elif known.sum() < MIN_JOINTS:
                left_out.add(TOO_FEW_JOINTS)
            else:
                path = first.image_path.with_name(name)
                views.append(replace(first, camera=camera, image_path=path))
    if not views:
        found = f"no usable picture ({left_out.describe()})"
        raise BadInputError(root / "training" / "rgb", found, "<ID:08d>.jpg of FreiHAND")
    views.sort(key=lambda view: (view.sequence, view.frame, view.camera))
    notes = mask_notes(views, root / "training" / "mask")
    return Capture(template, tuple(views), left_out.counts, left_out.examples, notes)


def _view(
    training: Path,
    template: HandTemplate,
    frame: int,
    K: np.ndarray,
    points: np.ndarray,
    known: np.ndarray,
) -> CaptureView:
    """Returns the view of a frame's first version."""
    joints, valid = as_template_joints(
        template.joint_names, WRIST_THEN_PALM_TO_TIP, 1000 * points, known
    )
    camera = Pinhole(K.astype(np.float32), SIZE, np.eye(4, dtype=np.float32))
    # All versions show the same hand on the same pixels.
    mask = training / "mask" / f"{frame:08d}.jpg"
    return CaptureView(
        sequence=f"frames_{frame // FRAMES_A_SEQUENCE:02d}",
        frame=frame,
        camera=VERSIONS[0],
        image_path=training / "rgb" / f"{frame:08d}.jpg",
        depth_path=None,
        **camera._asdict(),
        joints=joints,
        joint_valid=valid,
        scan_path=None,
        mask=MaskFile(mask, _MASK_FROM, 255) if mask.is_file() else None,
    )


def _intrinsics(where: str, entry: Any) -> Float[np.ndarray, "3 3"]:
    K = json_numbers(where, entry, (3, 3))
    if not np.isclose(K[2], [0, 0, 1]).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise BadInputError(where, f"{K.tolist()}", "intrinsics of a camera")
    require_camera(where, K, SIZE)
    return K


def _read_entries(path: Path) -> list[Any]:
    """Reads a list of one entry a frame."""
    expected = "a list of arrays, one a frame"
    entries = read_json(path, expected, list)
    if not entries:
        raise BadInputError(path, "an empty list", expected)
    return entries
