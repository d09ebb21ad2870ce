"""Hands of a video, frame by frame, with angles and placement filtered over time."""

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial.transform import Rotation

from dhm.errors import BadInputError
from dhm.export.hand import angle_names
from dhm.export.hand_files import (
    CAMERA,
    PredictedHand,
    placed_points,
    verdict,
    write_hand_mesh,
    write_whole,
)
from dhm.export.overlay import draw_hand, limit_size, with_canonical_view
from dhm.formats.photo import Photo
from dhm.photos.locate import LocatedHand
from dhm.photos.predictor import Adjust, CameraKeypoints, Prediction, Predictor, predict_hand
from dhm.photos.video_files import VideoReader, whole_video

Locate = Callable[[str, int, UInt8[np.ndarray, "h w 3"]], LocatedHand | None]
"""Locates the hand of a frame, given its name, number and picture; None if there is no hand."""

_MOST_FRAMES = 0.95  # of those that a file should have; some headers have estimates


class VideoSummary(NamedTuple):
    """What there is to say of a video's results.

    Attributes:
        mean_ms: Milliseconds a frame to find the hand, without reading, drawing and writing.
        p95_ms: Their 95th percentile.
        notes: Sentences for the reader, those of the .json.
    """

    mean_ms: float
    p95_ms: float
    notes: tuple[str, ...]


def video_endings(mesh_every: int) -> tuple[str, ...]:
    """Returns the endings of the names of what `predict_video` writes."""
    return (".json", "_overlay.mp4", "_overlay.partial.mp4", *(("_meshes",) if mesh_every else ()))


def predict_video(
    predictor: Predictor,
    path: Path,
    out: Path,
    stem: str,
    locate: Locate,
    *,
    focal_px: float | None = None,
    mesh_every: int = 0,
    refine: Adjust | None = None,
    overlay: bool = True,
    num_described: int | None = None,
) -> VideoSummary:
    """Writes <stem>_overlay.mp4, <stem>.json and, if asked for, meshes in <stem>_meshes/.

    The times of the frames, in the filter and in the results, are those of the file.

    Args:
        predictor: The model.
        path: The video.
        out: Folder of the results.
        stem: First part of their names.
        locate: Locates the hand in a frame.
        focal_px: Focal length of the command line, or None.
        mesh_every: Write the mesh of every n-th frame; 0 writes none.
        refine: Changes the angles given the keypoints, before the filter.
        overlay: Whether <stem>_overlay.mp4 is written.
        num_described: Number of frames that the keypoints file describes, if it does.

    Raises:
        BadInputError: If the file is no video, or no frame shows a hand.
    """
    reader = VideoReader(path)
    smooth = _Smoother(refine)
    frames, seconds = [], []
    side, K, template = None, None, predictor.template
    overlay_file = out / f"{stem}_overlay.mp4"
    with whole_video(overlay_file, reader.fps) if overlay else nullcontext() as video:
        for number, (image, shown_at) in enumerate(reader):
            where = f"{path}, frame {number}"
            smooth.advance(shown_at)
            begin = time.perf_counter()
            found = _predict_frame(predictor, where, number, image, locate, focal_px, smooth)
            seconds.append(time.perf_counter() - begin)
            frames.append(_describe_frame(number, shown_at, found))
            if video is not None:
                video.write(_draw_frame(image, found, predictor), shown_at)
            if found is not None:
                side, K = found.hand.side, found.hand.K
                if mesh_every and number % mesh_every == 0:
                    meshes = out / f"{stem}_meshes"
                    meshes.mkdir(exist_ok=True)
                    write_hand_mesh(meshes, f"frame_{number:06d}", found.hand, template)
        if not frames:
            raise BadInputError(path, "a video without a frame that decodes", "a video")
        if side is None:
            raise BadInputError(path, f"no hand in {len(frames)} frames", "a video of a hand")
    notes = _notes(reader, frames, num_described)
    content = {
        "source": str(path), "fps": reader.fps, "side": side,
        "units": {"joints": "mm", "angles": "rad", "meshes": "mm (.obj), m (.glb)"},
        "joint_names": list(template.joint_names),
        "angle_names": list(angle_names(template, smooth.num_angles)),
        "K": None if K is None else np.asarray(K).tolist(),
        "notes": notes,
        "frames": frames,
    }  # fmt: skip
    write_whole(out / f"{stem}.json", (json.dumps(content) + "\n").encode())
    milliseconds = 1e3 * np.array(seconds)
    return VideoSummary(
        float(milliseconds.mean()), float(np.percentile(milliseconds, 95)), tuple(notes)
    )


def _predict_frame(
    predictor: Predictor,
    where: str,
    number: int,
    image: UInt8[np.ndarray, "h w 3"],
    locate: Locate,
    focal_px: float | None,
    smooth: "_Smoother",
) -> Prediction | None:
    located = locate(where, number, image)
    if located is None:
        smooth.reset()
        return None
    found = predict_hand(predictor, Photo(image, None), located, where, focal_px, smooth.angles)
    return found._replace(hand=smooth.place(found.hand))


def _notes(
    reader: VideoReader, frames: list[dict[str, Any]], num_described: int | None
) -> list[str]:
    """Returns what the reader of the results has to know of the frames and their times."""
    notes = []
    if len(frames) < _MOST_FRAMES * reader.num_frames - 1:
        notes.append(
            f"The file has {reader.num_frames:.0f} frames by its header, of which {len(frames)} "
            "can be read: it may be damaged or cut."
        )
    if num_described not in (None, len(frames)):
        notes.append(
            f"The keypoints file describes {num_described} frames, the video has {len(frames)}: "
            "frame by frame they may not belong together, as where the keypoints were found on "
            "frames of a constant rate and the film has a variable one."
        )
    steps = np.diff([frame["time_s"] for frame in frames])
    if len(steps) and steps.max() > 1.5 * steps.min():
        notes.append(
            f"The frames come at a variable rate, {steps.min():.4f} to {steps.max():.4f} s apart: "
            "time_s has their times, fps is the average by the file."
        )
    if reader.num_untimed:
        notes.append(
            f"The file has no usable time of {reader.num_untimed} of {len(frames)} frames: they "
            f"are taken to follow the frame before at {reader.fps:g} frames a second."
        )
    return notes


def _describe_frame(number: int, seconds: float, found: Prediction | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"frame": number, "time_s": round(seconds, 6)}
    if found is None:
        return entry | {"hand": None}
    hand = found.hand
    T = hand.T_frame_model
    return entry | {"hand": {
        "frame_of_reference": hand.frame,
        "joints": np.round(placed_points(hand.joints, hand), 4).tolist(),
        "angles_rad": np.round(np.float64(hand.theta), 6).tolist(),
        "T_frame_model": None if T is None else T.tolist(),
        "reprojection_error_px": hand.reprojection_error_px,
        "verdict": verdict(hand.doubts),
        "notes": [*hand.notes, *hand.doubts],
    }}  # fmt: skip


def _draw_frame(
    image: UInt8[np.ndarray, "h w 3"], found: Prediction | None, predictor: Predictor
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Draws overlay and canonical view, of the same size whether the hand is placed or not."""
    hand, picture = None if found is None else found.hand, limit_size(image)[0]
    if hand is not None and hand.frame == CAMERA:
        picture = draw_hand(image, hand, predictor.template)
    return with_canonical_view(picture, hand, predictor.template)


class OneEuroFilter:
    """The one-euro filter (Casiez, Roussel and Vogel, CHI 2012).

    A low-pass filter whose cutoff rises with the speed: little jitter at rest, little lag in
    motion.

    Args:
        min_cutoff: Cutoff at rest, Hz.
        beta: Rise of the cutoff with the speed, Hz for each unit a second.
        speed_cutoff: Cutoff of the speed's own filter, Hz.
    """

    def __init__(self, min_cutoff: float = 1.5, beta: float = 1.0, speed_cutoff: float = 1.0):
        self.min_cutoff, self.beta, self.speed_cutoff = min_cutoff, beta, speed_cutoff
        self.reset()

    def reset(self) -> None:
        """Forgets all values, after a gap."""
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | float = 0.0

    def __call__(self, value: Float[np.ndarray, "*d"], seconds: float) -> Float[np.ndarray, "*d"]:
        """Returns the filtered value, each entry filtered on its own.

        Args:
            value: The next measurement.
            seconds: Time since the last one, above 0.
        """
        value = np.asarray(value, np.float64)
        if self._value is None:
            self._value, self._speed = value, np.zeros_like(value)
            return value
        speed = (value - self._value) / seconds
        self._speed = self._speed + _smoothing(self.speed_cutoff, seconds) * (speed - self._speed)
        cutoff = self.min_cutoff + self.beta * np.abs(self._speed)
        self._value = self._value + _smoothing(cutoff, seconds) * (value - self._value)
        return self._value


def _smoothing(cutoff: float | np.ndarray, seconds: float) -> float | np.ndarray:
    """Returns the weight of the newest value in an exponential mean of this cutoff."""
    turns = 2 * math.pi * cutoff * seconds
    return turns / (turns + 1)


class _Smoother:
    """One-euro filters over a video's angles and placements, which restart after a gap."""

    def __init__(self, refine: Adjust | None):
        self._now: float | None = None
        self._seconds = 1.0  # since the frame before; a filter's first value needs none
        self._refine = refine
        self.num_angles = 0
        # Units of the speeds: 100 mm (a hand's width) and quaternion units a second.
        self._angles, self._position, self._turn = OneEuroFilter(), OneEuroFilter(), OneEuroFilter()
        self._last_turn: np.ndarray | None = None

    def advance(self, seconds: float) -> None:
        """Goes on to the frame of this time, which lies after the last one's."""
        if self._now is not None:
            self._seconds = seconds - self._now
        self._now = seconds

    def reset(self) -> None:
        self._angles.reset()
        self._reset_placement()

    def _reset_placement(self) -> None:
        self._position.reset()
        self._turn.reset()
        self._last_turn = None

    def angles(self, theta: Float[np.ndarray, " d"], keypoints: CameraKeypoints) -> np.ndarray:
        """Refines and filters the angles; an `Adjust`."""
        if self._refine is not None:
            theta = self._refine(theta, keypoints)
        self.num_angles = len(theta)
        return self._angles(theta, self._seconds).astype(np.float32)

    def place(self, hand: PredictedHand) -> PredictedHand:
        """Returns the hand with a filtered placement: its rotation and its joints' centre."""
        if hand.frame != CAMERA:
            self._reset_placement()
            return hand
        T = np.array(hand.T_frame_model)
        centre = placed_points(hand.joints, hand).mean(axis=0)
        turn = Rotation.from_matrix(T[:3, :3]).as_quat()
        if self._last_turn is not None and turn @ self._last_turn < 0:
            turn = -turn  # the same rotation on the nearer of its two quaternions
        self._last_turn = turn
        filtered = Rotation.from_quat(self._turn(turn, self._seconds)).as_matrix()
        target = 100 * self._position(centre / 100, self._seconds)
        model_centre = T[:3, :3].T @ (centre - T[:3, 3])
        T[:3, :3] = filtered
        T[:3, 3] = target - filtered @ model_centre
        return hand._replace(T_frame_model=T)
