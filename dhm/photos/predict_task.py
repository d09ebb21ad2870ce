"""`launch.py predict`: pictures and videos in, hands out; what cannot be used is reported."""

import glob
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from dhm.errors import BadInputError
from dhm.export.hand_files import CAMERA, unique_stems, write_hand
from dhm.export.overlay import draw_hand
from dhm.export.summary import say_done
from dhm.formats.photo import read_photo
from dhm.photos.detector import HandDetector
from dhm.photos.keypoints_file import (
    HandClues,
    VideoClues,
    find_clues,
    read_keypoints_file,
)
from dhm.photos.located import WHAT_TO_PASS, Box, LocatedHand, detected_clues, locate
from dhm.photos.predict_hand import Adjust, predict_hand
from dhm.photos.predict_video import VideoSettings, predict_video
from dhm.photos.predictor import Predictor
from dhm.photos.video_files import SUFFIXES

log = logging.getLogger(__name__)

EXPORT_FOLDER = "export"
_NOTHING = HandClues({})


class PredictOptions(NamedTuple):
    """What the command line says beside the pictures.

    Attributes:
        bbox: Tight around the hand in every picture, "whole", or None.
        keypoints: File of keypoints, or None.
        left: All hands are left ones.
        detector: Finds hands where neither of the two says where they are.
        focal_px: Focal length of all pictures, or None.
        mesh_every: Of a video write the mesh of every n-th frame; 0: of none.
        refine: Makes the angles fit the keypoints, too.
    """

    bbox: Box | str | None = None
    keypoints: Path | None = None
    left: bool = False
    detector: HandDetector | None = None
    focal_px: float | None = None
    mesh_every: int = 0
    refine: bool = False


def predict(workdir: Path, images: Sequence[str], out: Path, options: PredictOptions) -> int:
    """Predicts the hand of each picture and frame, and writes what `write_hand` says.

    A picture that cannot be used is named with the reason; the others are done.

    Args:
        workdir: Of a trained model that was exported.
        images: Files, folders or patterns with `*`, `?` and `[...]`.
        out: Folder of the results.
        options: The rest.

    Returns:
        How many were refused.

    Raises:
        BadInputError: If there is no model or no picture, nothing can say where the hands are, or
            the file of keypoints cannot be used.
    """
    if options.bbox is None and options.keypoints is None and options.detector is None:
        raise BadInputError("predict", "nothing that says where the hands are", WHAT_TO_PASS)
    paths = find_files("--images", images)
    return predict_files(Predictor(workdir / EXPORT_FOLDER), paths, out, options)


def predict_files(
    predictor: Predictor, paths: Sequence[Path], out: Path, options: PredictOptions
) -> int:
    """As `predict`, with a model that was loaded already."""
    clues = {}
    if options.keypoints is not None:
        clues = read_keypoints_file(options.keypoints, predictor.template.joint_names)
        _say_unused(clues, paths, options.keypoints)
    refine = _refinement(predictor) if options.refine else None
    out.mkdir(parents=True, exist_ok=True)
    refused = []
    for path, stem in zip(paths, unique_stems(paths), strict=True):
        one = _one_video if path.suffix.lower() in SUFFIXES else _one_picture
        try:
            said = one(predictor, path, out, stem, find_clues(clues, path), options, refine)
        except BadInputError as error:
            refused.append(error)
            log.warning("refused: %s", error)
        else:
            log.info("%s", said)
    return say_done(len(paths), refused, out)


def find_files(flag: str, texts: Sequence[str]) -> list[Path]:
    """The files that some patterns, folders and names stand for, each once.

    Args:
        flag: That gave them, for messages.
        texts: Names of files, folders, or patterns with `*`, `?` and `[...]`.

    Raises:
        BadInputError: If a pattern or folder has no file.
    """
    found: dict[Path, None] = {}
    for text in texts:
        if Path(text).is_dir():
            paths = [path for path in Path(text).iterdir() if not path.name.startswith(".")]
        elif Path(text).is_file():  # its name may have brackets
            paths = [Path(text)]
        else:
            paths = [Path(name) for name in glob.glob(text, recursive=True)]
        paths = [path for path in paths if path.is_file()]
        if not paths:
            raise BadInputError(flag, repr(text), "files that are there, a pattern or a folder")
        found |= dict.fromkeys(sorted(paths))
    return list(found)


def _say_unused(clues: dict, paths: Sequence[Path], file: Path) -> None:
    used = {name for path in paths for name in (str(path), path.name)}
    unused = [name for name in clues if name not in used]
    if unused:
        log.warning(
            "%s: no picture for %s", file, ", ".join(unused[:5]) + ", ..." * (len(unused) > 5)
        )


def _one_picture(
    predictor: Predictor,
    path: Path,
    out: Path,
    stem: str,
    clues: HandClues | VideoClues | None,
    options: PredictOptions,
    refine: Adjust | None,
) -> str:
    """Writes a picture's results; returns a line that says what came out."""
    photo = read_photo(path)
    if isinstance(clues, VideoClues):
        raise BadInputError(options.keypoints, f"frames for {path.name}", "one hand's keypoints")
    located = _locate(predictor, options, str(path), photo.image, clues)
    if located is None:
        raise BadInputError(path, "no hand by the detector", WHAT_TO_PASS)
    prediction = predict_hand(predictor, photo, located, str(path), options.focal_px, refine)
    hand, marked = prediction.hand, located.confidence > 0
    hand = hand._replace(
        details=hand.details | {"refined": refine is not None and hand.frame == CAMERA}
    )
    overlay = draw_hand(
        photo.image, hand, predictor.template, located.keypoints[marked], prediction.outlier[marked]
    )
    write_hand(out, stem, hand, predictor.template, overlay)
    if hand.frame == CAMERA:
        error = f"{hand.reprojection_error_px:.1f} px from the keypoints"
        return f"{path}: {hand.side} hand, {error}. {' '.join(hand.notes)}"
    return f"{path}: {hand.side} hand. {' '.join(hand.notes)}"


def _one_video(
    predictor: Predictor,
    path: Path,
    out: Path,
    stem: str,
    clues: HandClues | VideoClues | None,
    options: PredictOptions,
    refine: Adjust | None,
) -> str:
    """Writes a video's results; returns a line that says what came out."""

    def find(where: str, number: int, image: np.ndarray) -> LocatedHand | None:
        clue = clues
        if isinstance(clues, VideoClues):
            clue = clues.frames[number] if number < len(clues.frames) else None
            if clue is None and options.detector is None:
                return None
        return _locate(predictor, options, where, image, clue)

    settings = VideoSettings(options.focal_px, options.mesh_every, refine)
    times = predict_video(predictor, path, out, stem, find, settings)
    return f"{path}: {times.mean_ms:.1f} ms a frame (95 % under {times.p95_ms:.1f})"


def _locate(
    predictor: Predictor,
    options: PredictOptions,
    where: str,
    image: UInt8[np.ndarray, "h w 3"],
    clues: HandClues | None,
) -> LocatedHand | None:
    """The hand by the clues or else by the detector; None where that sees none."""
    if clues is None and options.detector is not None:
        clues = detected_clues(image, options.detector)
        if clues is None and options.bbox is None:
            return None
    if clues is None and options.bbox is None:
        raise BadInputError(where, f"no entry in {options.keypoints}", WHAT_TO_PASS)
    names = predictor.template.joint_names
    clues = clues or _NOTHING
    return locate(where, image.shape[:2], clues, names, options.bbox, options.left)


def _refinement(predictor: Predictor) -> Adjust:
    from dhm.photos.refinement import Refinement  # not everybody's compile time

    return Refinement(predictor)
