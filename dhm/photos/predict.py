"""`predict`: reads pictures and videos, predicts and places their hands, and writes the hands."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dhm.errors import BadInputError, DhmError
from dhm.evidence.input_files import InputFile, Processed, find_files, process_files
from dhm.evidence.keypoints import Detection
from dhm.evidence.keypoints_file import KeypointsFile, VideoDetections
from dhm.export.hand import find_export
from dhm.export.hand_files import CAMERA, closed_to_results, result_endings, write_hand
from dhm.export.overlay import draw_hand
from dhm.formats.paths import existing, home_expanded
from dhm.formats.photo import read_photo
from dhm.photos.detectors import HandDetector, largest
from dhm.photos.locate import HOW_TO_LOCATE, WHOLE, BoxOrWhole, LocatedHand, locate_hand
from dhm.photos.predictor import Adjust, Predictor, Refinement, predict_hand
from dhm.photos.video import predict_video, video_endings
from dhm.photos.video_files import VIDEO_SUFFIXES

log = logging.getLogger(__name__)

_FIRST_NOTE = "The file has several pictures, of which the first is read."
_TURNED_NOTE = (
    "The picture is turned upright by its EXIF data: box, keypoints and K are taken as those of "
    "the upright picture."
)


class PredictOptions(NamedTuple):
    """Options of `predict`; one of the first three has to locate the hands.

    Attributes:
        bbox: A box tight around the hand in every picture, "whole", or None.
        keypoints: Keypoints file, or None.
        detector: Finds hands in pictures without an entry in the keypoints file, or None.
        side: RIGHT or LEFT for all hands, whatever detector and keypoints file say, or None.
        focal_px: Focal length of all pictures, or None.
        mesh_every: Write the mesh of every n-th frame of a video; 0 writes none.
        refine: Whether the angles are fitted to the keypoints.
        meshes: Whether the .obj and .glb of each picture are written.
        overlay: Whether the overlay of each picture and video is drawn and written.
    """

    bbox: BoxOrWhole | None = None
    keypoints: Path | None = None
    detector: HandDetector | None = None
    side: str | None = None
    focal_px: float | None = None
    mesh_every: int = 0
    refine: bool = False
    meshes: bool = True
    overlay: bool = True


def predict(workdir: Path, images: Sequence[str] | str, out: Path, options: PredictOptions) -> int:
    """Predicts the hand of each picture and frame and writes the files of `write_hand`.

    A picture that cannot be used is refused with the reason; the others are processed all the same.

    Args:
        workdir: Folder of a run with an exported model, or of that model.
        images: Pictures and videos: files, folders, or patterns with `*`, `?` and `[...]`.
        out: Folder of the results.
        options: The rest.

    Returns:
        The number of refused files.

    Raises:
        BadInputError: If there is no model or no picture, no option locates the hands, hands are to
            be refined without keypoints, or the keypoints file cannot be used.
    """
    if options.bbox is None and options.keypoints is None and options.detector is None:
        raise BadInputError("predict", "no option that locates the hands", HOW_TO_LOCATE)
    if options.refine and options.keypoints is None and options.detector is None:
        raise BadInputError("--refine", "no keypoints", "--keypoints or --detector to refine by")
    paths = find_files("--images", [images] if isinstance(images, str) else images)
    folder = find_export(workdir)
    predictor = Predictor(folder)
    closed = (folder, *closed_to_results(existing(workdir)))
    return predict_files(predictor, paths, out, options, closed)


def predict_files(
    predictor: Predictor,
    paths: Sequence[Path],
    out: Path,
    options: PredictOptions,
    closed: Sequence[Path] = (),
) -> int:
    """The same as `predict`, with a loaded model and the paths of files.

    Args:
        predictor: The model.
        paths: Pictures and videos.
        out: Folder of the results.
        options: The rest.
        closed: Files over which, and folders into which, no result is written.

    Returns:
        The number of refused files.
    """
    out, detections, given = home_expanded(out), None, []
    if options.keypoints is not None:
        file = existing(options.keypoints)
        detections = KeypointsFile(file, predictor.template.joint_names, paths)
        given.append(file)
        if unused := detections.unused:
            names = ", ".join(unused[:5]) + ", ..." * (len(unused) > 5)
            log.warning("%s: no picture for %s", file, names)
    files = [InputFile(path, _result_endings(path, options.mesh_every)) for path in paths]
    refine = Refinement(predictor) if options.refine else None
    process = _FilePrediction(predictor, out, options, refine, detections)
    return process_files(files, out, process, given=given, closed=closed)


def _result_endings(path: Path, mesh_every: int) -> tuple[str, ...]:
    is_video = path.suffix.lower() in VIDEO_SUFFIXES
    return video_endings(mesh_every) if is_video else result_endings(overlay=True)


class _FilePrediction(NamedTuple):
    """Writes the results of a picture or video."""

    predictor: Predictor
    out: Path
    options: PredictOptions
    refine: Adjust | None
    detections: KeypointsFile | None

    def __call__(self, path: Path, stem: str) -> Processed:
        detection = None if self.detections is None else self.detections.of(path)
        if path.suffix.lower() in VIDEO_SUFFIXES:
            return self._video(path, stem, detection)
        if isinstance(detection, VideoDetections):
            found = f"frames for {path.name}"
            raise BadInputError(self.options.keypoints, found, "one hand's keypoints")
        return self._picture(path, stem, detection)

    def _picture(self, path: Path, stem: str, detection: Detection | None) -> Processed:
        photo, template = read_photo(path), self.predictor.template
        located = self._locate(str(path), photo.image, detection)
        if located is None:
            raise BadInputError(path, "no hand by the detector", HOW_TO_LOCATE)
        if photo.is_first:
            located = located._replace(notes=(*located.notes, _FIRST_NOTE))
        if photo.turned and (detection is not None or self.options.bbox not in (None, WHOLE)):
            located = located._replace(notes=(*located.notes, _TURNED_NOTE))
        hand, outlier = predict_hand(
            self.predictor, photo, located, str(path), self.options.focal_px, self.refine
        )
        is_placed, known = hand.frame == CAMERA, located.confidence > 0
        is_refined = self.refine is not None and is_placed
        hand = hand._replace(details=hand.details | {"refined": is_refined})
        overlay = None
        if self.options.overlay:
            keypoints = located.keypoints[known]
            overlay = draw_hand(photo.image, hand, template, keypoints, outlier[known])
        write_hand(self.out, stem, hand, template, overlay, self.options.meshes)
        error = f", {hand.reprojection_error_px:.1f} px from the keypoints" if is_placed else ""
        doubts = f" DOUBTFUL: {' '.join(hand.doubts)}" if hand.doubts else ""
        line = f"{path}: {hand.side} hand{error}. {' '.join(hand.notes)}{doubts}"
        return Processed(line)

    def _video(
        self, path: Path, stem: str, detection: Detection | VideoDetections | None
    ) -> Processed:
        refused: list[DhmError] = []
        if isinstance(detection, Detection) and detection.keypoints:
            found = f"one hand's keypoints for {path.name}"
            raise BadInputError(self.options.keypoints, found, "frames, a list with each one's")

        def locate(where: str, number: int, image: np.ndarray) -> LocatedHand | None:
            if not isinstance(detection, VideoDetections):
                return self._locate(where, image, detection)
            try:
                return self._locate_by_entry(where, image, detection.of(number))
            except BadInputError as error:  # of this frame alone
                refused.append(error)
                return None

        is_film = isinstance(detection, VideoDetections)
        try:
            found = predict_video(
                self.predictor, path, self.out, stem, locate, focal_px=self.options.focal_px,
                mesh_every=self.options.mesh_every, refine=self.refine,
                overlay=self.options.overlay,
                num_described=len(detection.frames) if is_film else None,
            )  # fmt: skip
        except BadInputError as error:
            raise (refused or [error])[0] from error
        times = f"{found.mean_ms:.1f} ms a frame (95 % under {found.p95_ms:.1f})"
        return Processed(f"{path}: {times}. {' '.join(found.notes)}".rstrip(), tuple(refused))

    def _locate_by_entry(
        self, where: str, image: UInt8[np.ndarray, "h w 3"], detection: Detection | None
    ) -> LocatedHand | None:
        """Locates the hand of a frame that may have none, or nothing measured of it."""
        is_empty = detection is None or (detection.box is None and not detection.keypoints)
        if is_empty and self.options.bbox is None:
            if self.options.detector is None:
                return None
            detection = None
        return self._locate(where, image, detection)

    def _locate(
        self, where: str, image: UInt8[np.ndarray, "h w 3"], detection: Detection | None
    ) -> LocatedHand | None:
        """Locates the hand by the keypoints file, else the detector; None if that finds none."""
        options, names = self.options, self.predictor.template.joint_names
        if detection is None and options.detector is not None:
            detection = largest(options.detector(image))
            if detection is None and options.bbox is None:
                return None
        if detection is None:
            if options.bbox is None:
                raise BadInputError(where, f"no entry in {options.keypoints}", HOW_TO_LOCATE)
            detection = Detection(None, {}, None)
        return locate_hand(where, image.shape[:2], detection, names, options.bbox, options.side)
