"""Reads a capture in the released layout: which images are used, and the files of each."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.captures.frames import (
    NO_CAMERA,
    NUM_JOINTS,
    SECOND_PICTURE,
    TIP_TO_PALM_THEN_WRIST,
    Capture,
    CaptureView,
    FaultyItemError,
    as_template_joints,
    faulty_as,
    require_camera,
)
from data_prep.captures.left_out import LeftOut
from dhm.errors import BadInputError
from dhm.files import data_paths
from dhm.formats.hand_template import read_hand_model, read_template
from dhm.formats.release_annotations import (
    KrtCamera,
    largest_shift_px,
    read_keypoints,
    read_krt,
)
from dhm.formats.scan import SCAN_SUFFIXES

K_SIZE = (512, 334)
"""Height and width of the pictures that the released intrinsics belong to."""

NOT_RIGHT_HAND = "sequence not of the right hand"
RANGE_OF_MOTION = "range-of-motion sequence"
NOT_COLOUR = "camera not a colour camera (40*)"
NO_KEYPOINTS = "frame without a keypoint file"
NO_JOINT = "frame without a joint of the right hand"
NO_SCAN_FRAME = "scan whose frame is not clear"
BAD_KEYPOINTS = "frame whose keypoint file cannot be used"
_SHOWN = 5  # names in a message
_REASONS = (NOT_RIGHT_HAND, RANGE_OF_MOTION, NOT_COLOUR, NO_KEYPOINTS, NO_JOINT)


class _Image(NamedTuple):
    sequence: str
    camera: str
    frame: int
    path: Path


def read_release_capture(
    root: str | Path, subject: int, template_file: Path | None = None
) -> Capture:
    """Lists the usable right-hand views of a subject; pictures, depth maps and scans are not read.

    Skipped and counted by reason: sequences of the left or of both hands, range-of-motion
    sequences, cameras whose name does not start with 40, frames without keypoints. Images whose
    camera or keypoint file is missing or damaged are left out and counted as faults. The notes say
    that lens coefficients of KRT_512 are not applied, and that no image has a depth map or a scan.

    Args:
        root: The folder that holds images, annotations and hand_model.
        subject: Number of the subject.
        template_file: template.npz of an exported model that replaces the capture's hand_model.

    Raises:
        BadInputError: The folder is no capture, lacks the subject or has no usable image of it, the
            lines of KRT_512 do not form cameras, or the hand model cannot be used.
    """
    root = Path(root)
    images_folder = _images_folder(root, subject)
    annotations = root / "annotations"
    own = root / "hand_model"
    template = read_template(template_file) if template_file else read_hand_model(own)
    cameras = _Cameras(annotations / "KRT_512")
    left_out = LeftOut(_REASONS)
    frames = _FrameFiles(annotations, subject, template.joint_names, left_out)
    views: dict[tuple[str, int, str], CaptureView] = {}
    for image in _list_images(images_folder):
        try:
            reason = _reason_to_skip(image, subject, frames)
            if reason is not None:
                left_out.add(reason)
                continue
            key = (image.sequence, image.frame, image.camera)
            if key in views:
                found = f"frame {image.frame} a second time, after {views[key].image_path.name}"
                expected = "one image a frame and camera"
                raise FaultyItemError(SECOND_PICTURE, image.path, found, expected)
            views[key] = _view(image, cameras.of(image), frames)
        except FaultyItemError as error:
            left_out.add_fault(error.reason, error)
    if not views:
        said = left_out.describe() if any(left_out.counts.values()) else "no image"
        raise BadInputError(
            images_folder,
            f"no usable image ({said})",
            "<right-hand sequence>/cam40*/image<FRAME>.jpg with keypoints",
        )
    return Capture(
        template,
        tuple(views[key] for key in sorted(views)),
        left_out.counts,
        left_out.examples,
        (*cameras.distortion_notes(), *frames.notes(views.values())),
    )


class _Cameras:
    """The cameras of KRT_512; each is checked when an image of it is used."""

    def __init__(self, path: Path):
        self._path = path
        self._damaged: dict[str, BadInputError] = {}
        self._cameras = read_krt(path, self._damaged)
        self._used: dict[str, KrtCamera] = {}

    def of(self, image: _Image) -> KrtCamera:
        """Returns an image's camera.

        Raises:
            FaultyItemError: It is missing or cannot be used.
        """
        name = image.camera
        if name not in self._used:
            with faulty_as(NO_CAMERA):
                self._used[name] = self._checked(name, image.path)
        return self._used[name]

    def _checked(self, name: str, picture: Path) -> KrtCamera:
        if name in self._damaged:
            error = self._damaged[name]
            raise BadInputError(error.where, error.found, error.expected, error.line)
        if name not in self._cameras:
            known = ", ".join([*self._cameras, *self._damaged][:_SHOWN])
            expected = f"every camera that has images; its first are {known}"
            raise BadInputError(self._path, f"no camera {name}, which has {picture}", expected)
        camera = self._cameras[name]
        require_camera(f"{self._path}, camera {name}", camera.K, K_SIZE)
        return camera

    def distortion_notes(self) -> tuple[str, ...]:
        """Returns a sentence if lens coefficients that are not 0 are left unused."""
        bent = {name: camera for name, camera in self._used.items() if camera.distortion.any()}
        if not bent:
            return ()
        moved = {name: largest_shift_px(camera, K_SIZE) for name, camera in bent.items()}
        known = {name: shift for name, shift in moved.items() if shift is not None}
        most = max(known, key=known.get, default=None)
        size = f", up to {known[most]:.1f} pixels (camera {most})" if most is not None else ""
        return (
            f"{self._path}: the lens coefficients of {len(bent)} of {len(self._used)} cameras are "
            f"not 0{size}, and are not applied: the pictures and depth maps are taken as "
            "undistorted, as the released ones are. Undistort others before the preparation.",
        )


class _FrameFiles:
    """A subject's annotation files by frame number; reads each keypoint file once."""

    def __init__(
        self, annotations: Path, subject: int, joint_names: tuple[str, ...], left_out: LeftOut
    ):
        self._keypoints = annotations / "keypoints" / f"subject_{subject}"
        self._depthmaps = annotations / "depthmaps" / f"subject_{subject}"
        self._scans_folder = annotations / "3D_scans_decimated" / f"subject_{subject}"
        self._scans = _scans_by_frame(self._scans_folder, left_out)
        self._joint_names = joint_names
        self._joints: dict[int, tuple[np.ndarray, np.ndarray] | FaultyItemError | None] = {}

    def joints(self, frame: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the right hand's joints in the template's order and which are valid.

        Raises:
            FaultyItemError: The keypoint file cannot be used.
        """
        if frame not in self._joints:
            path = self._keypoints / f"keypoints{frame:04d}.pts"
            self._joints[frame] = self._read_joints(path) if path.is_file() else None
        joints = self._joints[frame]
        if isinstance(joints, FaultyItemError):
            raise joints
        return joints

    def _read_joints(self, path: Path) -> tuple[np.ndarray, np.ndarray] | FaultyItemError:
        try:
            points, valid, *_ = read_keypoints(path)
        except BadInputError as error:  # each image of the frame is refused with it
            return FaultyItemError.of(BAD_KEYPOINTS, error)
        right = slice(NUM_JOINTS)
        return as_template_joints(
            self._joint_names, TIP_TO_PALM_THEN_WRIST, points[right], valid[right]
        )

    def depth_map(self, frame: int, camera: str) -> Path | None:
        path = self._depthmaps / f"{frame:06d}" / f"depthmap{camera}.pkl"
        return path if path.is_file() else None

    def scan(self, frame: int) -> Path | None:
        return self._scans.get(frame)

    def notes(self, views: Collection[CaptureView]) -> tuple[str, ...]:
        """Returns a sentence if no view has a depth map, and one if none has a scan."""
        notes = []
        if all(view.depth_path is None for view in views):
            place = self._depthmaps / "<FRAME, six digits>" / "depthmap<CAMERA>.pkl"
            notes.append(f"no picture has a depth map: there is none in {place}")
        if all(view.scan_path is None for view in views):
            place = self._scans_folder / "<FRAME>.ply"
            notes.append(
                f"no frame of the pictures has a scan, which M_err needs: there is none in "
                f"{place} (or .obj; the last number of the name is the frame)"
            )
        return tuple(notes)


def _images_folder(root: Path, subject: int) -> Path:
    if not (root / "images").is_dir():
        expected = "a capture: a folder with images, annotations and hand_model"
        raise BadInputError(root, "no folder images in it", expected)
    folder = root / "images" / f"subject_{subject}"
    if not folder.is_dir():
        there = ", ".join(path.name for path in data_paths(root / "images")) or "nothing"
        raise BadInputError(root / "images", there, f"a folder subject_{subject}")
    return folder


def _list_images(folder: Path) -> Iterator[_Image]:
    """Yields <sequence>/cam<CAMERA>/image<FRAME>.jpg; anything else among them is passed over."""
    for sequence in filter(Path.is_dir, data_paths(folder)):
        for camera in filter(Path.is_dir, data_paths(sequence, "cam*")):
            for path in data_paths(camera, "image*.jpg"):
                frame = re.fullmatch(r"image([0-9]+)\.jpg", path.name)
                if frame:
                    name = camera.name.removeprefix("cam")
                    yield _Image(sequence.name, name, int(frame[1]), path)


def _reason_to_skip(image: _Image, subject: int, frames: _FrameFiles) -> str | None:
    if not (image.sequence.startswith("00") if subject == 1 else "RT" in image.sequence):
        return NOT_RIGHT_HAND
    if "ROM" in image.sequence:
        return RANGE_OF_MOTION
    if not image.camera.startswith("40"):
        return NOT_COLOUR
    joints = frames.joints(image.frame)
    if joints is None:
        return NO_KEYPOINTS
    _, valid = joints
    return None if valid.any() else NO_JOINT


def _view(image: _Image, camera: KrtCamera, frames: _FrameFiles) -> CaptureView:
    joints, valid = frames.joints(image.frame)
    return CaptureView(
        sequence=image.sequence,
        frame=image.frame,
        camera=image.camera,
        image_path=image.path,
        depth_path=frames.depth_map(image.frame, image.camera),
        K=camera.K.astype(np.float32),
        K_size=K_SIZE,
        T_camera_world=camera.T_camera_world.astype(np.float32),
        joints=joints,
        joint_valid=valid,
        scan_path=frames.scan(image.frame),
    )


def _scans_by_frame(folder: Path, left_out: LeftOut) -> dict[int, Path]:
    """Finds one mesh a frame: its number is the last one in the file's or its folder's name.

    A mesh without a number is left out, and so are all of a frame that has several.
    """
    if not folder.is_dir():
        return {}
    scans: dict[int, Path] = {}
    several: set[int] = set()
    for path in data_paths(folder, "**/*"):
        if path.suffix.lower() not in SCAN_SUFFIXES:
            continue
        # The subject's own folder has a number too, but not a frame's.
        outer = path.parent.name if path.parent != folder else ""
        numbers = re.findall("[0-9]+", path.stem) or re.findall("[0-9]+", outer)
        if not numbers:
            expected = "a name such as 001207.ply"
            refusal = BadInputError(path, "no frame number in its name", expected)
            left_out.add_fault(NO_SCAN_FRAME, refusal)
            continue
        frame = int(numbers[-1])
        if frame in scans:
            refusal = BadInputError(path, f"a second scan of frame {frame}", f"only {scans[frame]}")
            left_out.add_fault(NO_SCAN_FRAME, refusal)
            several.add(frame)
            continue
        scans[frame] = path
    return {frame: path for frame, path in scans.items() if frame not in several}
