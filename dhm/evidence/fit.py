"""`fit`: reads evidence files, fits a trained hand to each frame and writes the hands."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from dhm.errors import BadInputError, DhmError
from dhm.evidence.cameras import CameraView, error_prefix
from dhm.evidence.files import EvidenceFile, FrameEvidence, read_evidence
from dhm.evidence.fitter import FrameFitter
from dhm.evidence.input_files import Processed, process_files
from dhm.evidence.outline import frame_ending, outline_evidence
from dhm.evidence.plausibility import (
    Residuals,
    check_evidence,
    check_fit,
    outside_doubt,
    principal_point_doubt,
)
from dhm.evidence.readings import reading_doubts
from dhm.export.hand import find_export
from dhm.export.hand_files import (
    CAMERA,
    LEFT,
    RIGHT,
    WORLD,
    PredictedHand,
    closed_to_results,
    mirror_transform,
    placed_points,
    write_hand,
)
from dhm.export.overlay import draw_hand
from dhm.export.package import load_model
from dhm.fitting.evidence_fit import FittedHand
from dhm.formats.paths import existing, home_expanded
from dhm.formats.photo import read_photo
from dhm.types import HandTemplate


def fit(workdir: Path, evidence: Sequence[Path], out: Path, left: bool = False) -> int:
    """Fits a trained hand to each frame of evidence files and writes the files of `write_hand`.

    A file or frame that cannot be used is refused with the reason; the others are processed all
    the same.

    Args:
        workdir: Folder of a run with an exported model, or of that model.
        evidence: Evidence files, see docs/fitting.md.
        out: Folder of the results.
        left: Whether hands are left hands where their file does not say.

    Returns:
        The number of refused files and frames.

    Raises:
        BadInputError: If there is no exported model, it is a linear model, with other angles, or a
            result would be written over an input.
    """
    workdir, out = existing(workdir), home_expanded(out)
    folder = find_export(workdir)
    model, variables = load_model(folder)
    fitter = FrameFitter(model, variables)
    decode = jax.jit(lambda theta: model.apply(variables, theta, method="decode")[:2])
    joints_zero = np.asarray(decode(jnp.zeros((1, model.encoder.num_dofs)))[1][0])

    def fit_file(path: Path, stem: str) -> Processed:
        content = read_evidence(path, model.template.joint_names)
        side = LEFT if left else RIGHT
        frames = tuple(frame._replace(side=frame.side or side) for frame in content.frames)
        content = content._replace(frames=frames)
        content, checked = _checked(path, content, joints_zero)
        fitted = jax.device_get(fitter(content))
        readings = reading_doubts(fitter, content, fitted, model.template.joint_names)
        refused, hands = list(content.refused), []
        for i, (frame, before) in enumerate(zip(content.frames, checked, strict=True)):
            one: FittedHand = jax.tree.map(lambda x, i=i: x[i], fitted)
            if not all(np.isfinite(values).all() for values in one.pose):
                refused.append(DhmError(f"{path}: the fit of {frame.name} gives NaN or infinity"))
                continue
            vertices, joints = (np.asarray(x[0]) for x in decode(jnp.asarray(one.pose.theta)[None]))
            hand = _as_predicted(path, frame, one, vertices, joints)
            try:
                placed = placed_points(hand.joints, hand)
                after = check_fit(_place(path, content, i), frame, placed, _residuals(one))
            except BadInputError as error:
                refused.append(error)
                continue
            hands.append(hand._replace(doubts=(*before.doubts, *after, *readings[i])))
            name = stem + frame_ending(content.numbers[i], content.num_frames)
            picture = before.picture
            overlay = picture and _draw_overlay(picture, hands[-1], model.template)
            write_hand(out, name, hands[-1], model.template, overlay)
        if not hands:
            raise refused[-1]
        num_empty = content.num_frames - len(content.frames) - len(content.refused)
        empty = f", {num_empty} without evidence" if num_empty else ""
        line = f"{path}: {_summary(fitted)}{empty}{_in_words(hands)}"
        return Processed(line, tuple(refused))

    files = [outline_evidence(existing(path)) for path in evidence]
    return process_files(files, out, fit_file, closed=(folder, *closed_to_results(workdir)))


class _Picture(NamedTuple):
    view: CameraView
    image: UInt8[np.ndarray, "h w 3"]


class _Checked(NamedTuple):
    """A frame's picture and what is doubtful about its evidence."""

    picture: _Picture | None
    doubts: tuple[str, ...]


def _checked(
    path: Path, content: EvidenceFile, joints_zero: Float[np.ndarray, "j 3"]
) -> tuple[EvidenceFile, list[_Checked]]:
    """Reads the pictures of the frames and checks their evidence; leaves out what is refused.

    Raises:
        BadInputError: If no frame is left.
    """
    checked, refused = {}, []
    for i, frame in enumerate(content.frames):
        try:
            doubts = check_evidence(_place(path, content, i), frame, joints_zero)
            with error_prefix(path):
                picture = _first_picture(frame)
        except BadInputError as error:
            refused.append(error)
        else:
            checked[i] = _Checked(picture, (*doubts, *_picture_doubts(picture)))
    if not checked:
        raise refused[0]
    content = content._replace(
        frames=tuple(content.frames[i] for i in checked),
        numbers=tuple(content.numbers[i] for i in checked),
        refused=(*content.refused, *refused),
    )
    return content, list(checked.values())


def _place(path: Path, content: EvidenceFile, index: int) -> str:
    """Returns the place of a frame, for messages."""
    return f"{path}, frame {content.numbers[index]}" if content.num_frames > 1 else str(path)


def _first_picture(frame: FrameEvidence) -> _Picture | None:
    for view in frame.views:
        if view.image is not None:
            return _Picture(view, read_photo(view.image).image)
    return None


def _as_predicted(
    path: Path, frame: FrameEvidence, fitted: FittedHand, vertices: np.ndarray, joints: np.ndarray
) -> PredictedHand:
    scale, T = float(fitted.pose.scale), np.asarray(fitted.pose.T_world_model, np.float64)
    # With one camera in the origin the world is the camera's frame.
    is_camera = len(frame.views) == 1 and np.allclose(frame.views[0].T_camera_world, np.eye(4))
    return PredictedHand(
        vertices=scale * vertices,
        joints=scale * joints,
        theta=fitted.pose.theta,
        side=frame.side,
        frame=CAMERA if is_camera else WORLD,
        K=frame.views[0].K if is_camera else None,
        T_frame_model=mirror_transform(T) if frame.side == LEFT else T,
        scale=scale,
        reprojection_error_px=_finite_or_none(fitted.pixel_error),
        source=str(path),
        notes=tuple(note for view in frame.views for note in view.notes),
        details={
            "joint_error_mm": _finite_or_none(fitted.joint_error),
            "surface_error_mm": _finite_or_none(fitted.surface_error),
            "surface_matched": _finite_or_none(fitted.matched),
        },
    )


def _draw_overlay(
    picture: _Picture, hand: PredictedHand, template: HandTemplate
) -> UInt8[np.ndarray, "h2 w2 3"]:
    view = picture.view
    T = view.T_camera_world @ hand.T_frame_model
    in_camera = hand._replace(frame=CAMERA, T_frame_model=T, K=view.K)
    return draw_hand(picture.image, in_camera, template, view.keypoints[view.confidence > 0])


def _residuals(fitted: FittedHand) -> Residuals:
    errors = fitted.joint_error, fitted.pixel_error, fitted.surface_error, fitted.matched
    return Residuals(*map(float, errors), float(fitted.pose.scale))


def _picture_doubts(picture: _Picture | None) -> tuple[str, ...]:
    if picture is None:
        return ()
    view, size = picture.view, picture.image.shape[:2]
    seen = view.keypoints[view.confidence > 0]
    return tuple(filter(None, (principal_point_doubt(view.K, size), outside_doubt(seen, size))))


def _in_words(hands: Sequence[PredictedHand]) -> str:
    """Returns the notes and doubts on a file's hands, each once, with the number of frames."""
    notes = " ".join(dict.fromkeys(note for hand in hands for note in hand.notes))
    notes = f". {notes}" if notes else ""
    counts = Counter(doubt for hand in hands for doubt in hand.doubts)
    if not counts:
        return notes
    doubtful = sum(bool(hand.doubts) for hand in hands)
    where = "" if len(hands) == 1 else f" in {doubtful} of {len(hands)} frames"
    return f"{notes}. DOUBTFUL{where}: {' '.join(counts)}"


def _finite_or_none(value: np.ndarray) -> float | None:
    return float(value) if np.isfinite(value) else None


def _summary(fitted: FittedHand) -> str:
    """Returns the number of frames and the mean errors on each kind of evidence that they have."""
    num_frames = len(fitted.joint_error)
    parts = [f"{num_frames} frame{'s' * (num_frames > 1)}"]
    for values, unit in (
        (fitted.joint_error, "mm from the joints"),
        (fitted.pixel_error, "px from the keypoints"),
        (fitted.surface_error, "mm from the skin"),
    ):
        if np.isfinite(values).any():
            parts.append(f"{np.nanmean(values):.2f} {unit}")
    return ", ".join(parts)
