"""Reads RHD, the Rendered Hand Pose data set (Zimmermann and Brox, ICCV 2017).

    <root>/{training,evaluation}/{color,mask}/<ID:05d>.png          320 x 320
    <root>/{training,evaluation}/anno_{training,evaluation}.pickle

41,258 pictures to train and 2,728 to evaluate on, of synthetic people who may show both hands. The
camera's frame is the world's. The depth maps are not read: they show the whole scene, and training
on general images uses the joints alone (paper section 8.4).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from data_prep.captures.frames import (
    LEFT,
    MIN_JOINTS,
    NO_PICTURE,
    NUM_JOINTS,
    TOO_FEW_JOINTS,
    WRIST_THEN_TIP_TO_PALM,
    Capture,
    CaptureView,
    FaultyItemError,
    MaskFile,
    Pinhole,
    as_template_joints,
    mask_notes,
    mirror_camera,
    mirror_points,
    require_camera,
)
from data_prep.captures.left_out import LeftOut
from dhm.errors import BadInputError
from dhm.formats.restricted_pickle import (
    ARRAY_GLOBALS,
    ONLY_ARRAYS,
    brief,
    build_array,
    load_dictionary,
)
from dhm.types import HandTemplate

SPLITS = ("training", "evaluation")
TEST_SEQUENCES = "^evaluation"
SIZE = (320, 320)

BAD_ANNOTATION = "picture whose annotation cannot be used"

HAND, PERSON = "hand", "person"
_LABELS = {"left": (2, 17), "right": (18, 33)}
_PERSON_LABELS = (1, 33)

_EXPECTED = "RHD's annotations: a pickled dictionary of pictures"
_MAX_MAGNITUDE = 1e6  # metres, pixels
_SHAPES = {"xyz": (2 * NUM_JOINTS, 3), "uv_vis": (2 * NUM_JOINTS, 3), "K": (3, 3)}


class RhdAnnotation(NamedTuple):
    """The annotation of one picture.

    Attributes:
        points: Joints in the camera's frame, mm: the left hand's 21, then the right hand's; 0 where
            not known.
        visible: Whether the picture shows each joint.
        K: Intrinsics.
        known: Whether each joint was measured.
    """

    points: Float[np.ndarray, "42 3"]
    visible: Bool[np.ndarray, " 42"]
    K: Float[np.ndarray, "3 3"]
    known: Bool[np.ndarray, " 42"]


def read_rhd(
    root: str | Path, template: HandTemplate, *, foreground: str = PERSON, every: int = 1
) -> Capture:
    """Lists RHD's hands: sequences `training` and `evaluation`, with `_left` if mirrored.

    A picture gives a view of each hand of which it shows at least 11 of the 21 joints. Pictures
    whose annotation is damaged are left out and counted.

    Args:
        root: The folder RHD_published_v2.
        template: The hand model whose joints the views take.
        foreground: What the masks keep when backgrounds are replaced: the "person", since no
            photograph shows a hand that ends at the wrist; or the "hand" alone, so that new
            backgrounds also replace the faces and clothes behind it.
        every: Takes every n-th picture only.

    Raises:
        BadInputError: The folder is no RHD, has none of the pictures, or a file cannot be used.
    """
    root = Path(root)
    if foreground not in (HAND, PERSON):
        raise BadInputError("foreground", repr(foreground), f"{HAND!r} or {PERSON!r}")
    left_out = LeftOut((NO_PICTURE, TOO_FEW_JOINTS))
    views = [
        view
        for split in SPLITS
        for view in _views(root / split, template, foreground, every, left_out)
    ]
    if not views:
        found = f"no usable hand ({left_out.describe()})"
        raise BadInputError(root, found, "pictures of RHD")
    views.sort(key=lambda view: (view.sequence, view.frame, view.camera))
    notes = mask_notes(views, root / SPLITS[0] / "mask")
    return Capture(template, tuple(views), left_out.counts, left_out.examples, notes)


def read_annotations(path: Path, left_out: LeftOut | None = None) -> dict[int, RhdAnnotation]:
    """Reads the annotations of one split by picture number; metres become millimetres.

    Args:
        path: The file.
        left_out: Counts the pictures whose annotation lacks an array, or has one of another shape
            or with a number that is not finite. Without it the first such picture is refused.

    Raises:
        BadInputError: The file is missing, truncated or damaged, or it refers to anything but
            NumPy's array reconstruction (nothing of it runs).
    """
    entries = load_dictionary(path, ARRAY_GLOBALS, ONLY_ARRAYS, _EXPECTED)
    if not entries:
        raise BadInputError(path, "no picture", _EXPECTED)
    annotations = {}
    for key, entry in entries.items():
        try:
            annotations[_number(path, key)] = _annotation(path, key, entry)
        except BadInputError as error:
            if left_out is None:
                raise
            reason = error.reason if isinstance(error, FaultyItemError) else BAD_ANNOTATION
            left_out.add_fault(reason, error)
    if not annotations:
        raise BadInputError(path, f"no usable picture ({left_out.describe()})", _EXPECTED)
    return annotations


def _number(path: Path, key: Any) -> int:
    if type(key) is not int or not 0 <= key < 100_000:
        raise BadInputError(path, f"a picture called {brief(key)!r}", "numbers of five digits")
    return key


def _annotation(path: Path, number: int, entry: Any) -> RhdAnnotation:
    if not isinstance(entry, dict):
        raise BadInputError(path, f"picture {number} as a {type(entry).__name__}", _EXPECTED)
    xyz, uv_vis, K = (_array(path, number, entry, name) for name in _SHAPES)
    if not (K[0, 0] > 0 and K[1, 1] > 0 and np.allclose(K[2], [0, 0, 1])):
        raise BadInputError(path, f"picture {number}: K = {K.tolist()}", "intrinsics of a camera")
    require_camera(f"{path}, picture {number}", K, SIZE)
    known = ~np.isnan(xyz).any(axis=1)
    points = np.where(known[:, None], 1000 * xyz, 0.0)
    return RhdAnnotation(points, known & (uv_vis[:, 2] > 0.5), K, known)


def _array(path: Path, number: int, entry: dict, name: str) -> Float[np.ndarray, "n m"]:
    where, shape = f"picture {number}: {name}", _SHAPES[name]
    if name not in entry:
        raise BadInputError(path, f"no {name} of picture {number}", f"{name} {list(shape)}")
    try:
        array = build_array(entry[name]).astype(np.float64)
    except ValueError as error:
        raise BadInputError(path, f"{where}: {error}", f"an array {list(shape)}") from None
    if array.shape != shape:
        raise BadInputError(path, f"{where} {list(array.shape)}", f"an array {list(shape)}")
    # NaN stands for a joint that was not measured, but for no part of K.
    usable = (np.abs(array) < _MAX_MAGNITUDE) | (np.isnan(array) & (name != "K"))
    if not usable.all():
        raise BadInputError(path, f"{where} with {array[~usable][0]}", "finite numbers")
    return array


def _views(
    folder: Path, template: HandTemplate, foreground: str, every: int, left_out: LeftOut
) -> Iterator[CaptureView]:
    annotations = read_annotations(folder / f"anno_{folder.name}.pickle", left_out)
    pictures = {path.name for path in (folder / "color").glob("*.png")}
    for number in sorted(annotations)[::every]:
        if f"{number:05d}.png" not in pictures:
            left_out.add(NO_PICTURE)
            continue
        points, visible, K, known = annotations[number]
        for hand, side in enumerate(("left", "right")):
            joints = slice(hand * NUM_JOINTS, (hand + 1) * NUM_JOINTS)
            if visible[joints].sum() < MIN_JOINTS:
                left_out.add(TOO_FEW_JOINTS)
                continue
            labels = _PERSON_LABELS if foreground == PERSON else _LABELS[side]
            mask = MaskFile(folder / "mask" / f"{number:05d}.png", *labels)
            yield _view(
                folder, template, number, K, points[joints], known[joints], side == "left", mask
            )


def _view(
    folder: Path,
    template: HandTemplate,
    number: int,
    K: np.ndarray,
    points: np.ndarray,
    known: np.ndarray,
    is_left: bool,
    mask: MaskFile,
) -> CaptureView:
    camera = Pinhole(K.astype(np.float32), SIZE, np.eye(4, dtype=np.float32))
    if is_left:
        camera, points = mirror_camera(camera), mirror_points(points)
    # A rendered hand's hidden joints are known, too.
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
