"""Reads FreiHAND (Zimmermann and others, ICCV 2019), version 2's training set.

    <root>/training/rgb/<ID:08d>.jpg      224 x 224, right hands
    <root>/training/mask/<ID:08d>.jpg     the hand in white, for the first version alone
    <root>/training_{K,xyz}.json          one entry a frame

32,560 frames, each with four backgrounds: 130,240 pictures, ID = frame + 32,560 x version. The
camera's frame is the world's.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from data_prep.captures.frames import (
    NO_PICTURE,
    NUM_JOINTS,
    WRIST_THEN_PALM_TO_TIP,
    Capture,
    CaptureView,
    MaskFile,
    Pinhole,
    as_template_joints,
)
from dhm.errors import BadInputError
from dhm.formats.json_file import json_numbers, read_json
from dhm.types import HandTemplate

VERSIONS = ("gs", "hom", "sample", "auto")
"""Backgrounds of each frame: the green screen, and three automatic replacements of it."""

SIZE = (224, 224)
FRAMES_A_SEQUENCE = 1000
TEST_SEQUENCES = "^frames_3[0-2]$"
"""The last 2,560 frames: the data set has no test split with the same annotations."""

_MASK_FROM = 128  # JPEG leaves greys


def read_freihand(root: str | Path, template: HandTemplate, *, every: int = 1) -> Capture:
    """Lists FreiHAND's training pictures: sequences `frames_<thousand>`, the versions as cameras.

    The four versions of a frame are one frame and go to one split together.

    Args:
        root: The folder FreiHAND_pub_v2.
        template: The hand model whose joints the views take.
        every: Takes every n-th frame only.

    Raises:
        BadInputError: The folder is no FreiHAND, none of its pictures is there, a file cannot be
            used, or the files do not belong together.
    """
    root = Path(root)
    all_K = _read_arrays(root / "training_K.json", (3, 3))
    points = _read_arrays(root / "training_xyz.json", (NUM_JOINTS, 3))
    if len(all_K) != len(points):
        found = f"{len(points)} frames"
        raise BadInputError(root / "training_xyz.json", found, f"{len(all_K)}, as training_K.json")
    flat = ~np.isclose(all_K[:, 2], [0, 0, 1]).all(axis=1)
    if bad := np.flatnonzero(flat | (all_K[:, 0, 0] <= 0) | (all_K[:, 1, 1] <= 0)).tolist():
        found = f"frame {bad[0]}: {all_K[bad[0]].tolist()}"
        raise BadInputError(root / "training_K.json", found, "intrinsics of cameras")
    pictures = {path.name for path in (root / "training" / "rgb").glob("*.jpg")}
    views, skipped = [], {NO_PICTURE: 0}
    for frame in range(0, len(points), every):
        for version in range(len(VERSIONS)):
            name = f"{frame + len(points) * version:08d}.jpg"
            if name not in pictures:
                skipped[NO_PICTURE] += 1
                continue
            view = _view(root / "training", template, frame, all_K[frame], points[frame])
            views.append(
                replace(view, camera=VERSIONS[version], image_path=view.image_path.with_name(name))
            )
    if not views:
        raise BadInputError(root / "training" / "rgb", "no picture", "<ID:08d>.jpg of FreiHAND")
    views.sort(key=lambda view: (view.sequence, view.frame, view.camera))
    return Capture(template, tuple(views), skipped)


def _view(
    training: Path, template: HandTemplate, frame: int, K: np.ndarray, points: np.ndarray
) -> CaptureView:
    """Returns the view of a frame's first version."""
    known = np.ones(NUM_JOINTS, bool)
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


def _read_arrays(path: Path, shape: tuple[int, ...]) -> Float[np.ndarray, "n ..."]:
    """Reads a list of arrays of one shape."""
    expected = f"a list of arrays {list(shape)}, one a frame"
    entries = read_json(path, expected, list)
    if not entries:
        raise BadInputError(path, "an empty list", expected)
    return np.stack(
        [json_numbers(f"{path}, frame {i}", entry, shape) for i, entry in enumerate(entries)]
    )
