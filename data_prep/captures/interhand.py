"""Reads InterHand2.6M (Moon and others, ECCV 2020), version 1.0.

    <root>/images/<split>/Capture<C>/<sequence>/cam<CAMERA>/image<FRAME>.jpg
    <root>/annotations/<split>/InterHand2.6M_<split>_{camera,joint_3d,data}.json

Splits train, val and test of 1,361,062, 380,125 and 849,160 pictures, by the data set's page;
687,548, 234,183 and 488,968 of them show one hand, the others two.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from data_prep.captures.frames import (
    LEFT,
    MIN_JOINTS,
    NO_CAMERA,
    NO_PICTURE,
    NUM_JOINTS,
    SECOND_PICTURE,
    TIP_TO_PALM_THEN_WRIST,
    TOO_FEW_JOINTS,
    Capture,
    CaptureView,
    FaultyItemError,
    Pinhole,
    as_template_joints,
    faulty_as,
    mirror_camera,
    mirror_points,
    require_camera,
)
from data_prep.captures.left_out import LeftOut
from dhm.errors import BadInputError
from dhm.formats.json_file import json_field, json_numbers, json_points, read_json
from dhm.types import HandTemplate

SPLITS = ("train", "val", "test")
TEST_SEQUENCES, TRAIN_SEQUENCES = "^test_", "^train_"
BAD_ANNOTATION = "annotation that cannot be used"
NO_FRAME = "frame whose joints are missing or cannot be used"
_HANDS = {"right": slice(0, NUM_JOINTS), "left": slice(NUM_JOINTS, 2 * NUM_JOINTS)}
_HAND_TYPES = {"right": ("right",), "left": ("left",), "interacting": ("right", "left")}
_CAMERA_SHAPES = {"campos": (3,), "camrot": (3, 3), "focal": (2,), "princpt": (2,)}
_NAME = re.compile(r"[\w.-]*\w[\w.-]*")


def read_interhand(root: str | Path, template: HandTemplate, *, every: int = 1) -> Capture:
    """Lists InterHand2.6M's hands: sequences `<split>_Capture<C>_<name>`, `_left` if mirrored.

    A picture gives a view of each hand that its annotation names with at least 11 valid joints;
    a joint is valid where the picture's annotation and the frame's both say so. Pictures whose
    annotation, frame or camera is missing or damaged are left out and counted.

    Args:
        root: The folder with images and annotations.
        template: The hand model whose joints the views take.
        every: Takes every n-th picture only.

    Raises:
        BadInputError: The folder is no InterHand2.6M, a file of annotations cannot be used, or
            none of the pictures can.
    """
    root = Path(root)
    there = [split for split in SPLITS if (root / "annotations" / split).is_dir()]
    if not there:
        expected = "InterHand2.6M: a folder annotations with train, val, test"
        raise BadInputError(root, "no folder of annotations in it", expected)
    left_out = LeftOut((NO_PICTURE, TOO_FEW_JOINTS))
    views: dict[tuple[str, int, str], CaptureView] = {}
    for split in there:
        for view in _Split(root, split, template).views(every, left_out):
            key = (view.sequence, view.frame, view.camera)
            if key in views:
                found = f"frame {view.frame} a second time, after {views[key].image_path}"
                refusal = BadInputError(view.image_path, found, "one picture a frame and camera")
                left_out.add_fault(SECOND_PICTURE, refusal)
                continue
            views[key] = view
    if not views:
        found = f"no usable hand ({left_out.describe()})"
        raise BadInputError(root, found, "pictures of InterHand2.6M")
    chosen = tuple(views[key] for key in sorted(views))
    return Capture(template, chosen, left_out.counts, left_out.examples)


class _Picture(NamedTuple):
    path: Path
    size: tuple[int, int]
    capture: str
    sequence: str
    camera: str
    frame: int
    hands: tuple[str, ...]
    valid: np.ndarray


class _Split:
    """The annotations of one split; cameras and joints of several pictures are computed once."""

    def __init__(self, root: Path, split: str, template: HandTemplate):
        self._images, self._split, self._template = root / "images" / split, split, template
        folder = root / "annotations" / split
        self._files = {
            name: folder / f"InterHand2.6M_{split}_{name}.json"
            for name in ("camera", "joint_3d", "data")
        }
        self._raw_cameras = self._read("camera", "cameras by capture")
        self._raw_joints = self._read("joint_3d", "joints by capture and frame")
        self._cameras: dict[tuple, Pinhole] = {}
        self._frames: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}
        self._joints: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def _read(self, name: str, expected: str) -> dict[str, Any]:
        return read_json(self._files[name], expected)

    def views(self, every: int, left_out: LeftOut) -> Iterator[CaptureView]:
        for image, annotation in self._annotations(every):
            try:
                with faulty_as(BAD_ANNOTATION):
                    picture = self._picture(image, annotation)
                if picture.path.is_file():
                    yield from self._hands(picture, left_out)
                else:
                    left_out.add(NO_PICTURE)
            except FaultyItemError as error:
                left_out.add_fault(error.reason, error)

    def _hands(self, picture: _Picture, left_out: LeftOut) -> list[CaptureView]:
        """Returns the views of a picture's hands.

        Raises:
            FaultyItemError: Its frame or its camera is missing or cannot be used.
        """
        views = []
        with faulty_as(NO_FRAME):
            points, in_frame = self._frame_joints(picture)
        for side in picture.hands:
            known = (in_frame & picture.valid)[_HANDS[side]]
            if known.sum() < MIN_JOINTS:
                left_out.add(TOO_FEW_JOINTS)
            else:
                views.append(self._view(picture, side, points[_HANDS[side]], known))
        return views

    def _view(
        self, picture: _Picture, side: str, points: np.ndarray, known: np.ndarray
    ) -> CaptureView:
        is_left = side == "left"
        key = (picture.capture, picture.frame, side, known.tobytes())
        if key not in self._joints:
            points = mirror_points(points) if is_left else points
            self._joints[key] = as_template_joints(
                self._template.joint_names, TIP_TO_PALM_THEN_WRIST, points, known
            )
        joints, valid = self._joints[key]
        sequence = f"{self._split}_Capture{picture.capture}_{picture.sequence}"
        return CaptureView(
            sequence=sequence + (LEFT if is_left else ""),
            frame=picture.frame,
            camera=picture.camera,
            image_path=picture.path,
            depth_path=None,
            **self._camera(picture, is_left)._asdict(),
            joints=joints,
            joint_valid=valid,
            scan_path=None,
            mirrored=is_left,
        )

    def _annotations(self, every: int) -> Iterator[tuple[Any, Any]]:
        """Yields each picture's entry and its annotation, of a missing picture None."""
        path = self._files["data"]
        data = self._read("data", "images and annotations")
        images = {
            image["id"]: image
            for image in json_field(path, data, "images", list)
            if isinstance(image, dict) and type(image.get("id")) is int
        }
        annotations = json_field(path, data, "annotations", list)
        for annotation in annotations[::every]:
            number = annotation.get("image_id") if isinstance(annotation, dict) else None
            yield images.get(number) if type(number) is int else None, annotation

    def _picture(self, image: Any, annotation: Any) -> _Picture:
        path = self._files["data"]
        if image is None:
            number = json_field(path, annotation, "image_id", int)
            raise BadInputError(path, f"an annotation of picture {number}", "one of images")
        hand_type = json_field(path, annotation, "hand_type", str)
        if hand_type not in _HAND_TYPES:
            raise BadInputError(path, f"hand_type {hand_type!r}", f"one of {[*_HAND_TYPES]}")
        name = json_field(path, image, "file_name", str)
        if any(_NAME.fullmatch(part) is None for part in name.split("/")):
            raise BadInputError(path, f"file_name {name!r}", "a path below images")
        names = {key: str(json_field(path, image, key, int | str)) for key in ("capture", "camera")}
        names["sequence"] = json_field(path, image, "seq_name", str)
        for key, value in names.items():
            if _NAME.fullmatch(value) is None:
                raise BadInputError(path, f"{key} {value!r}", "a name of letters and digits")
        numbers = [json_field(path, image, key, int) for key in ("height", "width", "frame_idx")]
        if min(numbers[:2]) < 1 or not 0 <= numbers[2] < 1 << 31:
            found = f"height, width and frame {numbers}"[:200]
            raise BadInputError(path, found, "a picture's size and the number of a frame")
        return _Picture(
            path=self._images / name,
            size=tuple(numbers[:2]),
            frame=numbers[2],
            hands=_HAND_TYPES[hand_type],
            valid=_flags(f"{path}, picture {image['id']}", annotation),
            **names,
        )

    def _frame_joints(self, picture: _Picture) -> tuple[np.ndarray, np.ndarray]:
        key = picture.capture, picture.frame
        if key not in self._frames:
            where = f"{self._files['joint_3d']}, capture {picture.capture}"
            frames = json_field(self._files["joint_3d"], self._raw_joints, picture.capture, dict)
            entry = json_field(where, frames, str(picture.frame), dict)
            where = f"{where}, frame {picture.frame}"
            valid = _flags(where, entry)
            value, shape = entry.get("world_coord", "nothing"), (2 * NUM_JOINTS, 3)
            points, measured = json_points(f"{where}, world_coord", value, shape, needed=valid)
            self._frames[key] = points, valid & measured
        return self._frames[key]

    def _camera(self, picture: _Picture, is_left: bool) -> Pinhole:
        key = (picture.capture, picture.camera, picture.size, is_left)
        if key not in self._cameras:
            with faulty_as(NO_CAMERA):
                camera = self._read_camera(picture)
            self._cameras[key] = mirror_camera(camera) if is_left else camera
        return self._cameras[key]

    def _read_camera(self, picture: _Picture) -> Pinhole:
        """x_camera = R (x - campos)."""
        path = self._files["camera"]
        where = f"{path}, capture {picture.capture}"
        by_key = json_field(path, self._raw_cameras, picture.capture, dict)
        numbers = {}
        for key, shape in _CAMERA_SHAPES.items():
            value = json_field(where, by_key, key, dict).get(picture.camera)
            numbers[key] = json_numbers(f"{where}, {key} of {picture.camera}", value, shape)
        R = numbers["camrot"]
        if np.abs(R @ R.T - np.eye(3)).max() > 1e-2 or np.linalg.det(R) < 0:
            found = f"camrot of {picture.camera} = {R.tolist()}"
            raise BadInputError(where, found, "a rotation")
        if numbers["focal"].min() <= 0:
            found = f"focal of {picture.camera} = {numbers['focal']}"
            raise BadInputError(where, found, "focal lengths above 0")
        K, T = np.eye(3, dtype=np.float32), np.eye(4, dtype=np.float32)
        K[0, 0], K[1, 1] = numbers["focal"]
        K[:2, 2] = numbers["princpt"]
        require_camera(f"{where}, camera {picture.camera}", K, picture.size)
        T[:3, :3], T[:3, 3] = R, -R @ numbers["campos"]
        return Pinhole(K, picture.size, T)


def _flags(where: str, entry: dict) -> Bool[np.ndarray, " 42"]:
    """An entry's joint_valid: 42 flags, each in a list of its own or not."""
    value = entry.get("joint_valid")
    if isinstance(value, list):
        value = [v[0] if isinstance(v, list) and len(v) == 1 else v for v in value]
        value = [0 if v is None or v != v else v for v in value]  # null, NaN: not measured
    flags = json_numbers(f"{where}, joint_valid", value, (2 * NUM_JOINTS,), "42 flags, 0 or 1")
    if not np.isin(flags, (0, 1)).all():
        raise BadInputError(f"{where}, joint_valid", f"{value}", "42 flags, 0 or 1")
    return flags > 0
