"""Overlays: a hand drawn over its photo, or in the canonical view beside it."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from dhm.export.hand_files import CAMERA, RIGHT, PredictedHand, placed_mesh, placed_points
from dhm.formats.obj import ObjMesh
from dhm.rendering.shading import SKIN, portrait
from dhm.types import HandTemplate

MAX_SIDE = 1280
"""Longest side of an overlay, pixels; larger photos are resized."""

_TILE = 640  # the mesh is drawn at one size, so that one program is compiled
_ALPHA = 0.8
_MARGIN = 1.04
_KEYPOINT, _OUTLIER = (60, 230, 90), (240, 70, 60)
_BACKGROUND = (24, 26, 30)


def limit_size(
    image: UInt8[np.ndarray, "h w 3"], most: int = MAX_SIDE
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], Float[np.ndarray, "3 3"]]:
    """Resizes a picture to sides of at most `most`; returns it and the matrix of its pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, most / max(height, width))
    if scale == 1:
        return image, np.eye(3)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    sx, sy = size[0] / width, size[1] / height
    A = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), A


def draw_hand(
    image: UInt8[np.ndarray, "h w 3"],
    hand: PredictedHand,
    template: HandTemplate,
    keypoints: Float[np.ndarray, "n 2"] | None = None,
    outlier: Sequence[bool] | None = None,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Draws a hand over its photo if it is placed in the camera, otherwise beside it.

    The photo takes at most MAX_SIDE pixels.

    Args:
        image: The upright photo.
        hand: The hand.
        template: The template, for its faces.
        keypoints: Keypoints to mark, pixels of the photo.
        outlier: Which of them do not fit; marked in red.
    """
    small, A = limit_size(image)
    small = small.copy()
    if hand.frame == CAMERA:
        _draw_mesh(small, placed_mesh(hand, template), A @ hand.K)
    if keypoints is not None:
        _draw_keypoints(small, keypoints @ A[:2, :2].T + A[:2, 2], outlier)
    return small if hand.frame == CAMERA else with_canonical_view(small, hand, template)


def with_canonical_view(
    picture: UInt8[np.ndarray, "h w 3"], hand: PredictedHand | None, template: HandTemplate
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Puts the canonical view at the right of a picture, or an empty panel without a hand."""
    side = int(np.clip(picture.shape[0], 256, _TILE))
    panel = np.full((side, side, 3), _BACKGROUND, np.uint8)
    if hand is not None:
        panel = canonical_view(hand, template, side)
    height = max(len(picture), side)
    return np.concatenate([_padded(picture, height), _padded(panel, height)], axis=1)


def canonical_view(
    hand: PredictedHand, template: HandTemplate, side: int
) -> UInt8[np.ndarray, "s s 3"]:
    """Draws the canonical view: the back of the hand, the fingers up."""
    T = _canonical_camera(placed_points(hand.joints, hand), template.joint_names, hand.side)
    mesh = placed_mesh(hand, template)
    mesh = mesh._replace(vertices=mesh.vertices @ T[:3, :3].T + T[:3, 3])
    rays = mesh.vertices[:, :2] / mesh.vertices[:, 2:]
    low, high = rays.min(axis=0), rays.max(axis=0)
    focal = 0.9 * side / float((high - low).max())
    cx, cy = (side - 1) / 2 - focal * (low + high) / 2
    panel = np.full((side, side, 3), _BACKGROUND, np.uint8)
    K = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
    _draw_mesh(panel, mesh, K, alpha=1.0)
    return panel


def _canonical_camera(
    joints: Float[np.ndarray, "j 3"], names: tuple[str, ...], side: str
) -> Float[np.ndarray, "4 4"]:
    """Returns T_camera_frame of a camera half a metre in front of the back of the hand."""
    at = {name: joints[index] for index, name in enumerate(names)}
    down = at["wrist"] - at["middle1"]
    # From the back, the thumb of a right hand is at the left.
    right = at["pinky1"] - at["index1"] if side == RIGHT else at["index1"] - at["pinky1"]
    away = np.cross(right, down)
    R = np.stack([np.cross(down, away), down, away])
    R /= np.maximum(np.linalg.norm(R, axis=1, keepdims=True), 1e-9)
    T = np.eye(4)
    T[:3, :3] = R
    T[:3, 3] = np.array([0, 0, 500.0]) - R @ joints.mean(axis=0)
    return T


def _draw_mesh(
    image: UInt8[np.ndarray, "h w 3"], mesh: ObjMesh, K: Float[np.ndarray, "3 3"],
    alpha: float = _ALPHA,
) -> None:  # fmt: skip
    """Draws a mesh in the camera's frame over a picture, in place."""
    window = _window(mesh, K, image.shape)
    if window is None:
        return
    x, y, side = window
    scale = _TILE / side
    A = np.array([[scale, 0, scale * (0.5 - x) - 0.5], [0, scale, scale * (0.5 - y) - 0.5],
                  [0, 0, 1]])  # fmt: skip
    tile, seen = portrait(mesh.vertices, mesh.faces, SKIN, A @ K, _TILE)
    way = cv2.INTER_AREA if side < _TILE else cv2.INTER_LINEAR
    # Colours are premultiplied: the tile's background must not show at the edges.
    cover = cv2.resize(seen.astype(np.float32), (side, side), interpolation=way)
    colour = cv2.resize((tile * seen[:, :, None]).astype(np.float32), (side, side),
                        interpolation=way)  # fmt: skip
    rows = slice(max(y, 0), min(y + side, image.shape[0]))
    columns = slice(max(x, 0), min(x + side, image.shape[1]))
    part = np.s_[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    below = image[rows, columns]
    mixed = (1 - alpha * cover[part][:, :, None]) * below + alpha * colour[part]
    image[rows, columns] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _window(
    mesh: ObjMesh, K: Float[np.ndarray, "3 3"], shape: tuple[int, ...]
) -> tuple[int, int, int] | None:
    """Returns the square (x, y, side) of whole pixels around a mesh's visible part, or None."""
    before = mesh.vertices[mesh.vertices[:, 2] > 1.0]
    if not len(before):
        return None
    pixels = before @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    size = np.array([shape[1], shape[0]])
    low, high = np.clip(pixels.min(axis=0), 0, size), np.clip(pixels.max(axis=0), 0, size)
    if (high - low).min() <= 0:
        return None
    side = int(np.ceil(_MARGIN * (high - low).max())) + 4
    x, y = np.floor((low + high - side) / 2).astype(int).tolist()
    return x, y, side


def _draw_keypoints(
    image: np.ndarray, keypoints: np.ndarray, outlier: Sequence[bool] | None
) -> None:
    radius = max(2, round(max(image.shape[:2]) / 250))
    outlier = outlier if outlier is not None else np.zeros(len(keypoints), bool)
    for (u, v), wrong in zip(keypoints, outlier, strict=True):
        if not (abs(u) < 1e5 and abs(v) < 1e5):
            continue
        centre = round(float(u)), round(float(v))
        cv2.circle(image, centre, radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
        cv2.circle(image, centre, radius, _OUTLIER if wrong else _KEYPOINT, -1, cv2.LINE_AA)


def _padded(image: np.ndarray, height: int) -> np.ndarray:
    padded = np.full((height, image.shape[1], 3), _BACKGROUND, np.uint8)
    padded[: len(image)] = image
    return padded
