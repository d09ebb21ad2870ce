"""`launch.py fit`: files of evidence in, hands out; what cannot be used is reported."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from dhm.errors import DhmError
from dhm.evidence.files import EvidenceFile, FrameEvidence, read_evidence
from dhm.evidence.model_fit import FrameFitter
from dhm.evidence.values import named_by
from dhm.export.hand_files import (
    CAMERA,
    LEFT,
    RIGHT,
    WORLD,
    PredictedHand,
    mirror_transform,
    unique_stems,
    write_hand,
)
from dhm.export.overlay import draw_hand
from dhm.export.package import load_model
from dhm.export.summary import say_done
from dhm.fitting.evidence_fit import FittedHand
from dhm.formats.photo import read_photo
from dhm.types import HandTemplate

log = logging.getLogger(__name__)

_EXPORT_FOLDER = "export"


def fit(workdir: Path, evidence: Sequence[Path], out: Path, left: bool = False) -> int:
    """Fits a trained hand to each frame of some files, and writes what `write_hand` says.

    A file that cannot be used is named with the reason; the others are done.

    Args:
        workdir: Of a trained model that was exported.
        evidence: Files, see docs/fitting.md.
        out: Folder of the results.
        left: The hands are left ones where their file does not say.

    Returns:
        How many files were refused.

    Raises:
        BadInputError: If there is no model, or none with the 28 angles.
    """
    model, variables = load_model(workdir / _EXPORT_FOLDER)
    fitter = FrameFitter(model, variables)
    decode = jax.jit(lambda theta: model.apply(variables, theta, method="decode")[:2])
    refused: list[DhmError] = []
    for path, stem in zip(evidence, unique_stems(evidence), strict=True):
        try:
            content = read_evidence(path, model.template.joint_names)
            content = content._replace(
                frames=tuple(_sided(frame, left) for frame in content.frames)
            )
            with named_by(path):
                pictures = [_first_picture(frame) for frame in content.frames]
            fitted = jax.device_get(fitter(content))
            _refuse_not_finite(path, content, fitted)
        except DhmError as error:
            refused.append(error)
            log.warning("refused: %s", error)
            continue
        for i, (frame, picture) in enumerate(zip(content.frames, pictures, strict=True)):
            one: FittedHand = jax.tree.map(lambda x, i=i: x[i], fitted)
            vertices, joints = (np.asarray(x[0]) for x in decode(jnp.asarray(one.pose.theta)[None]))
            hand = _hand(path, frame, one, vertices, joints)
            name = stem if len(content.frames) == 1 else f"{stem}_{i:04d}"
            overlay = picture and _overlay(picture, frame, hand, model.template)
            write_hand(out, name, hand, model.template, overlay)
        log.info("%s: %s", path, _summary(content, fitted))
    return say_done(len(evidence), refused, out)


def _sided(frame: FrameEvidence, left: bool) -> FrameEvidence:
    return frame._replace(side=frame.side or (LEFT if left else RIGHT))


def _first_picture(frame: FrameEvidence) -> tuple[int, UInt8[np.ndarray, "h w 3"]] | None:
    """The first camera that has a picture, and the picture."""
    for index, view in enumerate(frame.views):
        if view.image is not None:
            return index, read_photo(view.image).image
    return None


def _refuse_not_finite(path: Path, content: EvidenceFile, fitted: FittedHand) -> None:
    """Before anything of the file is written; the other files are done all the same."""
    for i, frame in enumerate(content.frames):
        if not all(np.isfinite(values[i]).all() for values in fitted.pose):
            raise DhmError(f"{path}: the fit of {frame.name} gives NaN or infinity")


def _hand(
    path: Path, frame: FrameEvidence, fitted: FittedHand, vertices: np.ndarray, joints: np.ndarray
) -> PredictedHand:
    scale, T = float(fitted.pose.scale), np.asarray(fitted.pose.T_world_model, np.float64)
    errors: dict[str, Any] = {
        "joint_error_mm": _or_none(fitted.joint_error),
        "surface_error_mm": _or_none(fitted.surface_error),
        "surface_matched": _or_none(fitted.matched),
    }
    return PredictedHand(
        vertices=scale * vertices,
        joints=scale * joints,
        theta=fitted.pose.theta,
        side=frame.side,
        frame=WORLD,
        T_frame_model=mirror_transform(T) if frame.side == LEFT else T,
        scale=scale,
        reprojection_error_px=_or_none(fitted.pixel_error),
        source=str(path),
        details=errors,
    )


def _overlay(
    picture: tuple[int, UInt8[np.ndarray, "h w 3"]],
    frame: FrameEvidence,
    hand: PredictedHand,
    template: HandTemplate,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    index, image = picture
    view = frame.views[index]
    T = view.T_camera_world @ hand.T_frame_model
    seen = hand._replace(frame=CAMERA, T_frame_model=T, K=view.K)
    return draw_hand(image, seen, template, view.keypoints[view.confidence > 0])


def _or_none(value: np.ndarray) -> float | None:
    return float(value) if np.isfinite(value) else None


def _summary(content: EvidenceFile, fitted: FittedHand) -> str:
    """Mean errors of a file's frames, of the evidence that there was."""
    parts = [f"{len(content.frames)} frame{'s' * (len(content.frames) > 1)}"]
    for values, unit in (
        (fitted.joint_error, "mm from the joints"),
        (fitted.pixel_error, "px from the keypoints"),
        (fitted.surface_error, "mm from the skin"),
    ):
        if np.isfinite(values).any():
            parts.append(f"{np.nanmean(values):.2f} {unit}")
    return ", ".join(parts)
