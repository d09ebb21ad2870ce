"""The studio's calibrated cameras on a dome around the hand, and what cameras see of a mesh."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from data_prep.captures.release_capture import K_SIZE
from dhm.errors import BadInputError
from dhm.formats.release_annotations import KrtCamera
from dhm.rendering import rasterize

CENTRE = np.array([30.0, -40.0, 1050.0])
"""Mean position of the middle of the hand, world mm. Fingers point to +z, the palm to -y."""

MAX_CAMERAS = 400
# mm; pixels. A field of view that keeps a hand in the picture in any rotation and drift.
_DISTANCE, _FOCAL = 1000.0, 1000.0
_SPREAD = 0.02  # relative, from camera to camera
# The dome's axis, in front of the palm and above it, and the largest angle of a camera from it.
_AXIS, _REACH = np.array([0.0, -1.0, 0.45]), np.radians(112.0)
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))
# Meshes are padded to multiples of these, so that a capture compiles the rasterizer once or twice
# instead of once per frame.
_VERTICES, _FACES = 12288, 24576
_OPTIONS = ("image_size", "window")
_draw = jax.jit(rasterize, static_argnames=_OPTIONS)
_draw_depth = jax.jit(
    lambda *mesh, **options: rasterize(*mesh, **options).zbuf, static_argnames=_OPTIONS
)


def studio_cameras(num_cameras: int, seed: int) -> dict[str, KrtCamera]:
    """Returns cameras by name, spread evenly over front, sides and top.

    Args:
        num_cameras: Number of cameras, at least 1.
        seed: Draws small irregularities of distance, focal length, principal point and roll.

    Raises:
        BadInputError: The number of cameras is out of range.
    """
    if not 1 <= num_cameras <= MAX_CAMERAS:
        raise BadInputError("cameras", str(num_cameras), f"1 to {MAX_CAMERAS}")
    rng = np.random.default_rng([seed, 77])
    height, width = K_SIZE
    cameras = {}
    for index, away in enumerate(_dome(num_cameras)):
        focal = _FOCAL * (1.0 + rng.uniform(-_SPREAD, _SPREAD))
        cx, cy = np.array([width, height]) / 2 + rng.uniform(-4.0, 4.0, 2)
        distance = _DISTANCE * (1.0 + rng.uniform(-_SPREAD, _SPREAD))
        # Seen from right above, the back of the hand is up.
        up = (0.0, 0.0, 1.0) if abs(away[2]) < 0.97 else (0.0, 1.0, 0.0)
        roll = rng.normal(0.0, 0.03)
        cos, sin = np.cos(roll), np.sin(roll)
        R = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]) @ look_at(away, up)
        camera = f"{400001 + index}"
        cameras[camera] = pinhole_camera(R, CENTRE + distance * away, focal, (cx, cy))
    return cameras


def look_at(away: Float[np.ndarray, " 3"], up: Sequence[float]) -> Float[np.ndarray, "3 3"]:
    """Returns R_camera_world of a camera that looks against a direction.

    Args:
        away: Unit vector from the scene to the camera, world.
        up: Direction that points up in the picture, not parallel to `away`.
    """
    right = np.cross(up, away)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, away), -away])


def pinhole_camera(
    R: Float[np.ndarray, "3 3"],
    position: Float[np.ndarray, " 3"],
    focal: float,
    principal_point: tuple[float, float],
) -> KrtCamera:
    """Returns a camera without distortion at a position, world mm; focal length in pixels."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ position
    cx, cy = principal_point
    return KrtCamera(np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]]), np.zeros(5), T)


def _dome(count: int) -> Float[np.ndarray, "n 3"]:
    """Directions of equal area each: a golden spiral from the dome's axis outwards."""
    axis = _AXIS / np.linalg.norm(_AXIS)
    right = np.cross(axis, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    along = 1.0 - (1.0 - np.cos(_REACH)) * (np.arange(count) + 0.5) / count
    turn = _GOLDEN_ANGLE * np.arange(count)
    across = np.sqrt(1.0 - along**2)
    frame = np.stack([axis, right, np.cross(right, axis)])
    return np.stack([along, across * np.cos(turn), across * np.sin(turn)], axis=1) @ frame


class Views(NamedTuple):
    """Rasterized views; the fields are those of `dhm.rendering.Fragments`."""

    pix_to_face: Int[np.ndarray, "n h w"]
    bary_coords: Float[np.ndarray, "n h w 3"]
    depth: Float[np.ndarray, "n h w"]


def render_views(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    cameras: Sequence[KrtCamera],
    image_size: tuple[int, int],
) -> Views:
    """Rasterizes a mesh for each camera.

    Args:
        vertices: World mm.
        faces: Triangles of the mesh.
        cameras: Cameras whose K is that of pictures of `image_size`.
        image_size: Height and width in pixels.
    """
    mesh = _padded(vertices, faces, cameras)
    return Views(*map(np.asarray, _draw(*mesh, image_size=image_size, window=4)))


def render_depth_maps(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    cameras: Sequence[KrtCamera],
    image_size: tuple[int, int],
    window: int = 4,
) -> Float[np.ndarray, "n h w"]:
    """Returns the depth of `render_views` alone, mm, 0 = background.

    `window` is the rasterizer's; about twice the pixels that a face's sides cover is fastest.
    """
    mesh = _padded(vertices, faces, cameras)
    return np.asarray(_draw_depth(*mesh, image_size=image_size, window=window))


def _padded(vertices, faces, cameras) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rasterizer's arguments, padded with vertices and faces that cover no pixel."""
    T = np.stack([camera.T_camera_world for camera in cameras])
    K = np.stack([camera.K for camera in cameras]).astype(np.float32)
    v_camera = vertices @ T[:, :3, :3].swapaxes(1, 2) + T[:, None, :3, 3]
    v_camera = np.pad(v_camera, ((0, 0), (0, -len(vertices) % _VERTICES), (0, 0)), mode="edge")
    padded = np.pad(faces, ((0, -len(faces) % _FACES), (0, 0)))
    return v_camera.astype(np.float32), padded.astype(np.int32), K
