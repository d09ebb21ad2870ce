"""A video, frame by frame: angles and places filtered over time, one overlay video, one JSON."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial.transform import Rotation

from dhm.errors import BadInputError
from dhm.export.hand_files import (
    CAMERA,
    PredictedHand,
    angle_names,
    placed,
    write_hand_mesh,
    write_whole,
)
from dhm.export.overlay import beside, draw_hand, shrunk
from dhm.formats.photo import Photo
from dhm.photos.located import LocatedHand
from dhm.photos.one_euro import OneEuroFilter
from dhm.photos.predict_hand import Adjust, Evidence, Prediction, predict_hand
from dhm.photos.predictor import Predictor
from dhm.photos.video_files import VideoReader, whole_video

Locate = Callable[[str, int, UInt8[np.ndarray, "h w 3"]], LocatedHand | None]
"""The hand of a frame (its name, its number, its picture), None where none is seen."""


class VideoSettings(NamedTuple):
    """How a video is done.

    Attributes:
        focal_px: Focal length where the user gave it.
        mesh_every: Write the mesh of every n-th frame; 0 writes none.
        refine: Changes the angles by the keypoints, before the filter.
    """

    focal_px: float | None = None
    mesh_every: int = 0
    refine: Adjust | None = None


class FrameTimes(NamedTuple):
    """Milliseconds a frame of finding the hand, without reading, drawing and writing."""

    mean_ms: float
    p95_ms: float


def predict_video(
    predictor: Predictor,
    path: Path,
    out: Path,
    stem: str,
    locate: Locate,
    settings: VideoSettings,
) -> FrameTimes:
    """Writes <stem>_overlay.mp4, <stem>.json and, if asked for, meshes in <stem>_meshes/.

    Args:
        predictor: The model.
        path: The video.
        out: Folder of the results.
        stem: First part of their names.
        locate: Finds the hand.
        settings: The rest.

    Raises:
        BadInputError: If it is no video, or no frame shows a hand.
    """
    reader = VideoReader(path)
    smooth = _Smoother(reader.fps, settings.refine)
    frames, seconds = [], []
    side, K, names = None, None, predictor.template.joint_names
    with whole_video(out / f"{stem}_overlay.mp4", reader.fps) as video:
        for number, image in enumerate(reader):
            begin = time.perf_counter()
            found = _predict_frame(predictor, path, number, image, locate, settings, smooth)
            seconds.append(time.perf_counter() - begin)
            frames.append(_describe_frame(number, reader.fps, found))
            video.write(_draw_frame(image, found, predictor))
            if found is not None:
                hand = found.hand
                side, K = hand.side, hand.K
                if settings.mesh_every and number % settings.mesh_every == 0:
                    meshes = out / f"{stem}_meshes"
                    meshes.mkdir(exist_ok=True)
                    write_hand_mesh(meshes, f"frame_{number:06d}", hand, predictor.template)
        if not frames:
            raise BadInputError(path, "a video without a frame that decodes", "a video")
        if side is None:
            raise BadInputError(path, f"no hand in {len(frames)} frames", "a video of a hand")
    content = {
        "source": str(path), "fps": reader.fps, "side": side,
        "units": {"joints": "mm", "angles": "rad", "meshes": "mm (.obj), m (.glb)"},
        "joint_names": list(names),
        "angle_names": list(angle_names(predictor.template, smooth.num_angles)),
        "K": None if K is None else np.asarray(K).tolist(),
        "frames": frames,
    }  # fmt: skip
    write_whole(out / f"{stem}.json", (json.dumps(content) + "\n").encode())
    milliseconds = 1e3 * np.array(seconds)
    return FrameTimes(float(milliseconds.mean()), float(np.percentile(milliseconds, 95)))


class _Smoother:
    """One-euro filters over a video's angles and places; a gap makes them start anew."""

    def __init__(self, fps: float, refine: Adjust | None):
        self._seconds = 1 / fps
        self._refine = refine
        self.num_angles = 0
        self._angles = OneEuroFilter()
        # Speeds are hands' widths (100 mm) and quaternion units a second.
        self._position, self._turn = OneEuroFilter(), OneEuroFilter()
        self._last_turn: np.ndarray | None = None

    def reset(self) -> None:
        for one in (self._angles, self._position, self._turn):
            one.reset()
        self._last_turn = None

    def angles(self, theta: Float[np.ndarray, " d"], evidence: Evidence) -> np.ndarray:
        """An `Adjust`."""
        if self._refine is not None:
            theta = self._refine(theta, evidence)
        self.num_angles = len(theta)
        return self._angles(theta, self._seconds).astype(np.float32)

    def place(self, hand: PredictedHand) -> PredictedHand:
        """The hand with its place filtered, about the joints' centre."""
        if hand.frame != CAMERA:
            self._position.reset()
            self._turn.reset()
            self._last_turn = None
            return hand
        T = np.array(hand.T_frame_model)
        centre = placed(hand.joints, hand).mean(axis=0)
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


def _predict_frame(
    predictor: Predictor,
    path: Path,
    number: int,
    image: UInt8[np.ndarray, "h w 3"],
    locate: Locate,
    settings: VideoSettings,
    smooth: _Smoother,
) -> Prediction | None:
    where = f"{path}, frame {number}"
    located = locate(where, number, image)
    if located is None:
        smooth.reset()
        return None
    photo = Photo(image, None)
    found = predict_hand(predictor, photo, located, where, settings.focal_px, smooth.angles)
    return found._replace(hand=smooth.place(found.hand))


def _describe_frame(number: int, fps: float, found: Prediction | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"frame": number, "time_s": round(number / fps, 6)}
    if found is None:
        return entry | {"hand": None}
    hand = found.hand
    T = hand.T_frame_model
    return entry | {"hand": {
        "frame_of_reference": hand.frame,
        "joints": np.round(placed(hand.joints, hand), 4).tolist(),
        "angles_rad": np.round(np.float64(hand.theta), 6).tolist(),
        "T_frame_model": None if T is None else T.tolist(),
        "reprojection_error_px": hand.reprojection_error_px,
    }}  # fmt: skip


def _draw_frame(
    image: UInt8[np.ndarray, "h w 3"], found: Prediction | None, predictor: Predictor
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The overlay and the canonical view: of one size, whether the hand is placed or not."""
    if found is None:
        return beside(shrunk(image)[0], None, predictor.template)
    picture = shrunk(image)[0]
    if found.hand.frame == CAMERA:
        picture = draw_hand(image, found.hand, predictor.template)
    return beside(picture, found.hand, predictor.template)
