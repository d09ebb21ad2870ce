"""Reads RHD, the Rendered Hand Pose data set (Zimmermann and Brox, ICCV 2017).

    <root>/{training,evaluation}/{color,mask}/<ID:05d>.png          320 x 320
    <root>/{training,evaluation}/anno_{training,evaluation}.pickle

41,258 pictures to train and 2,728 to evaluate on, of synthetic people whose two hands may both be
seen. The camera is the world. The depth maps stay unread: they are of the whole scene, and
training on general pictures uses the joints alone (paper section 8.4).
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.captures.foreign_hand import (
    MIN_JOINTS,
    NO_PICTURE,
    NUM_JOINTS,
    TOO_FEW_JOINTS,
    WRIST_THEN_TIP_TO_PALM,
    Pinhole,
    as_template_joints,
    mirrored_camera,
    mirrored_points,
)
from data_prep.captures.frames import Capture, CaptureView, MaskFile
from dhm.errors import BadInputError
from dhm.formats.rhd_pickle import RhdAnnotation, read_rhd_pickle
from dhm.types import HandTemplate

SPLITS = ("training", "evaluation")
TEST_SEQUENCES = "^evaluation"
SIZE = (320, 320)
LEFT = "_left"
"""Ends the names of the sequences of mirrored hands."""

HAND, PERSON = "hand", "person"
_LABELS = {"left": (2, 17), "right": (18, 33)}
_PERSON_LABELS = (1, 33)


def read_rhd(
    root: str | Path, template: HandTemplate, *, foreground: str = PERSON, every: int = 1
) -> Capture:
    """Lists RHD's hands: sequences `training` and `evaluation`, and with `_left` the mirrored ones.

    A picture gives a view of each hand that shows at least 11 of its 21 joints.

    Args:
        root: The folder RHD_published_v2.
        template: The hand model whose joints the views take.
        foreground: What stays when backgrounds are replaced: the "person", so that no hand ends at
            the wrist, which no photograph shows, or the "hand" alone, which lets backgrounds
            take the place of faces and clothes behind it.
        every: Takes every n-th picture only.

    Raises:
        BadInputError: The folder is no RHD, none of its pictures is there, or a file cannot be
            used.
    """
    root = Path(root)
    if foreground not in (HAND, PERSON):
        raise BadInputError("foreground", repr(foreground), f"{HAND!r} or {PERSON!r}")
    skipped: Counter[str] = Counter({NO_PICTURE: 0, TOO_FEW_JOINTS: 0})
    views = [
        view
        for split in SPLITS
        for view in _views(root / split, template, foreground, every, skipped)
    ]
    if not views:
        raise BadInputError(root, f"no usable hand ({dict(skipped)})", "pictures of RHD")
    views.sort(key=lambda view: (view.sequence, view.frame, view.camera))
    return Capture(template, tuple(views), dict(skipped))


def _views(
    folder: Path, template: HandTemplate, foreground: str, every: int, skipped: Counter[str]
) -> Iterator[CaptureView]:
    annotations = read_rhd_pickle(folder / f"anno_{folder.name}.pickle")
    pictures = {path.name for path in (folder / "color").glob("*.png")}
    for number in sorted(annotations)[::every]:
        if f"{number:05d}.png" not in pictures:
            skipped[NO_PICTURE] += 1
            continue
        for hand, side in enumerate(("left", "right")):
            mine = slice(hand * NUM_JOINTS, (hand + 1) * NUM_JOINTS)
            if annotations[number].visible[mine].sum() < MIN_JOINTS:
                skipped[TOO_FEW_JOINTS] += 1
            else:
                labels = _PERSON_LABELS if foreground == PERSON else _LABELS[side]
                mask = MaskFile(folder / "mask" / f"{number:05d}.png", *labels)
                yield _view(folder, template, number, annotations[number], mine, side, mask)


def _view(
    folder: Path,
    template: HandTemplate,
    number: int,
    annotation: RhdAnnotation,
    mine: slice,
    side: str,
    mask: MaskFile,
) -> CaptureView:
    camera = Pinhole(annotation.K.astype(np.float32), SIZE, np.eye(4, dtype=np.float32))
    points, is_left = annotation.points[mine], side == "left"
    if is_left:
        camera, points = mirrored_camera(camera), mirrored_points(points)
    # A rendered hand is known where it is hidden too.
    known = np.ones(NUM_JOINTS, bool)
    joints, valid = as_template_joints(template.joint_names, WRIST_THEN_TIP_TO_PALM, points, known)
    return CaptureView(
        sequence=folder.name + (LEFT if is_left else ""),
        frame=number,
        camera="camera",
        image_path=folder / "color" / f"{number:05d}.png",
        depth_path=None,
        **camera._asdict(),
        joints=joints,
        joint_valid=valid,
        scan_path=None,
        mask=mask if mask.path.is_file() else None,
        mirrored=is_left,
    )
