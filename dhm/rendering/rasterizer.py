"""Differentiable z-buffer rasterization of triangle meshes into depth maps."""

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dhm.arguments import concrete, require_last_row, require_shapes
from dhm.errors import BadInputError
from dhm.geometry.cameras import world_to_camera
from dhm.rendering.depth import barycentric_coordinates, depth_gradient, depth_of_faces
from dhm.rendering.pixel_loop import is_machine_code
from dhm.rendering.screen import RasterSettings
from dhm.rendering.visibility import visible_faces
from dhm.types import Camera


class Fragments(NamedTuple):
    """The visible face, its barycentric coordinates and depth at each pixel of each view.

    Attributes:
        pix_to_face: Index of the visible face, -1 = background.
        bary_coords: Perspective-correct barycentric coordinates on that face, 0 = background.
        zbuf: Depth along the camera's z in mm, 0 = background.
    """

    pix_to_face: Int[Array, "n h w"]
    bary_coords: Float[Array, "n h w 3"]
    zbuf: Float[Array, "n h w"]


def rasterize(
    v_camera: Float[Array, "n v 3"],
    faces: Int[Array, "f 3"] | Int[np.ndarray, "f 3"],
    K: Float[Array, "n 3 3"] | Float[np.ndarray, "n 3 3"],
    image_size: tuple[int, int],
    *,
    near: float = 1.0,
    pixel_center: float = 0.0,
    cull_backfaces: bool = False,
    window: int | None = None,
    schedule: str | None = None,
) -> Fragments:
    """Finds the nearest face at each pixel centre of n views of one mesh topology.

    Faces may have any size and lie anywhere.

    Of equally near faces the one with the lowest index wins. A face is left out where one of
    its corners is not finite, or where it is so thin on the screen that its area is rounding.
    `zbuf` and `bary_coords` are differentiable in the vertices with the visible faces held fixed
    (there is no gradient of the silhouette); the gradient with respect to K is zero. Vertices in
    metres lie before the near plane, and nothing is drawn.

    Args:
        v_camera: Vertices in each view's camera frame, mm.
        faces: Vertex indices, shared by the views.
        K: Intrinsics, upper triangular with last row (0, 0, 1).
        image_size: Height and width in pixels.
        near: Smallest depth that is drawn, mm, above 0; faces may pass through it.
        pixel_center: Coordinate of the centre of the first pixel in K's convention: 0 as
            everywhere in dhm and in OpenCV, or 0.5.
        cull_backfaces: Leave out faces that are clockwise seen from the camera.
        window: Side of the dense window in pixels; speed only, see `default_window`.
        schedule: Views one after the other ("in_turn", the default on a CPU) or all in one call
            ("at_once", the default elsewhere); speed only.

    Raises:
        BadInputError: a shape, image size, near plane, window or schedule that is not possible,
            or, unless they are traced, faces that name a vertex that is not there and a K whose
            last row is another.
    """
    require_shapes(v_camera=(v_camera, "n v 3"), K=(K, "n 3 3"))
    require_last_row("K", K, (0, 0, 1), _INTRINSICS)
    faces = _checked_faces(faces, v_camera.shape[1])
    settings = _checked_settings(
        len(faces), image_size, near, pixel_center, cull_backfaces, window, schedule
    )
    v_camera, K = jnp.asarray(v_camera, jnp.float32), jnp.asarray(K, jnp.float32)
    zbuf, pix_to_face = _draw(v_camera, faces, K, settings)

    def coordinates(vertices, intrinsics, visible):
        return barycentric_coordinates(vertices, faces, intrinsics, visible, settings)

    K = jax.lax.stop_gradient(K)
    weights = _over_views(coordinates, settings, v_camera, K, pix_to_face)
    return Fragments(pix_to_face, weights, zbuf)


def render_depth(
    vertices: Float[Array, "*b v 3"],
    faces: Int[Array, "f 3"] | Int[np.ndarray, "f 3"],
    camera: Camera,
    image_size: tuple[int, int],
    *,
    near: float = 1.0,
    pixel_center: float = 0.0,
    cull_backfaces: bool = False,
    window: int | None = None,
    schedule: str | None = None,
) -> Float[Array, "*b c h w"]:
    """Renders depth maps of a batch of meshes, each seen by c cameras (paper section 6).

    Differentiable in the vertices and, through them, in the extrinsics, with the visible faces
    held fixed; the gradient with respect to K is zero.

    Args:
        vertices: World coordinates, mm.
        faces: Vertex indices.
        camera: Cameras with leading axes (*b, c). Of c cameras without batch axes each sees every
            mesh.
        image_size: Height and width in pixels.
        near: As in `rasterize`, like all that follow.
        pixel_center: Coordinate of the centre of the first pixel.
        cull_backfaces: Leave out faces seen from behind.
        window: Side of the dense window in pixels.
        schedule: Views "in_turn" or "at_once".

    Returns:
        Depth along each camera's z in mm, 0 = background.

    Raises:
        BadInputError: as `rasterize`, and a T_camera_world whose last row is not (0, 0, 0, 1).
    """
    _require_cameras(vertices, camera)
    faces = _checked_faces(faces, vertices.shape[-2])
    settings = _checked_settings(
        len(faces), image_size, near, pixel_center, cull_backfaces, window, schedule
    )
    T_camera_world = jnp.asarray(camera.T_camera_world, jnp.float32)
    v_camera = world_to_camera(jnp.asarray(vertices, jnp.float32)[..., None, :, :], T_camera_world)
    views = v_camera.shape[:-2]
    K = jnp.broadcast_to(jnp.asarray(camera.K, jnp.float32), (*views, 3, 3)).reshape(-1, 3, 3)
    zbuf, _ = _draw(v_camera.reshape(-1, *v_camera.shape[-2:]), faces, K, settings)
    return zbuf.reshape(*views, *settings.image_size)


_INTRINSICS = "intrinsics in pixels as [[fx, s, cx], [0, fy, cy], [0, 0, 1]]"


def _require_cameras(vertices, camera):
    require_shapes(vertices=(vertices, "... v 3"))
    batch, mesh = vertices.shape[:-2], vertices.shape[-2:]
    require_shapes(
        vertices=(np.broadcast_to(0, (*batch, 1, *mesh)), "... v 3"),  # with an axis for cameras
        **{
            "camera.K": (camera.K, "... 3 3"),
            "camera.T_camera_world": (camera.T_camera_world, "... 4 4"),
        },
    )
    require_last_row("camera.K", camera.K, (0, 0, 1), _INTRINSICS)
    hint = "a transform of column vectors, with the translation in the last column"
    require_last_row("camera.T_camera_world", camera.T_camera_world, (0, 0, 0, 1), hint)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _draw_views(v_camera, faces, K, settings):
    """Returns depth [n h w] and visible faces [n h w] of all views."""

    def draw_view(vertices, intrinsics):
        visible = visible_faces(vertices, faces, intrinsics, settings)
        return depth_of_faces(vertices, faces, intrinsics, visible, settings), visible

    with jax.named_scope("rasterize"):
        return _over_views(draw_view, settings, v_camera, K)


def _draw_forward(v_camera, faces, K, settings):
    zbuf, pix_to_face = _draw_views(v_camera, faces, K, settings)
    return (zbuf, pix_to_face), (v_camera, faces, K, zbuf, pix_to_face)


def _draw_backward(settings, residuals, cotangents):
    v_camera, faces, K, zbuf, pix_to_face = residuals

    def view_gradient(vertices, intrinsics, visible, depth, cotangent):
        return depth_gradient(vertices, faces, intrinsics, visible, depth, cotangent, settings)

    with jax.named_scope("rasterize_backward"):
        gradient = _over_views(
            view_gradient, settings, v_camera, K, pix_to_face, zbuf, cotangents[0]
        )
    return gradient, None, None


_draw_views.defvjp(_draw_forward, _draw_backward)
# So that calls outside of any jit compile once, too.
_draw = jax.jit(_draw_views, static_argnums=3)


def _over_views(function: Callable, settings: RasterSettings, *arrays):
    """Maps over the leading axis: on a CPU in turn, which stays in cache; else all at once."""
    if settings.views_at_once:
        return jax.vmap(function)(*arrays)
    return jax.lax.map(lambda view: function(*view), arrays)


def _checked_faces(faces, num_vertices):
    require_shapes(faces=(faces, "f 3"))
    if not jnp.issubdtype(faces.dtype, jnp.integer):
        raise BadInputError("faces", f"{faces.dtype}", "whole numbers, the indices of vertices")
    values = concrete(faces)
    if values is not None and values.size:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= num_vertices:
            raise BadInputError("faces", f"vertex indices {low}..{high}", f"0..{num_vertices - 1}")
    # A mesh without faces is drawn as one face without area.
    faces = jnp.asarray(faces, jnp.int32)
    return faces if len(faces) else jnp.zeros((1, 3), jnp.int32)


def default_window(num_faces: int, image_size: tuple[int, int], schedule: str) -> int:
    """Returns the side of the dense window for a mesh and a resolution.

    A smaller window leaves more faces to the slower work list, which a bent hand seen close makes
    long. Where pixels are tried one after the other a larger one costs nothing, so it is the
    image. Where a window's pixels are tried for all faces together, it evaluates pixels in vain: a
    mesh that fills the image has faces of about sqrt(h w / f) pixels, and a few times that was the
    fastest over open and bent hands; all views at once, whose windows are all in memory together,
    take less. The result of a rasterization does not depend on it.

    Args:
        num_faces: Of the mesh.
        image_size: Height and width in pixels.
        schedule: Views "in_turn" or "at_once".
    """
    height, width = image_size
    if _pixel_by_pixel(schedule):
        return max(height, width)
    typical = math.sqrt(height * width / max(num_faces, 1))
    return min(max(round((2.5 if schedule == "at_once" else 4) * typical), 2), 8)


def _checked_settings(
    num_faces: int,
    image_size: tuple[int, int],
    near: float,
    pixel_center: float,
    cull_backfaces: bool,
    window: int | None,
    schedule: str | None,
) -> RasterSettings:
    """Checks the arguments of `rasterize` and fills in its defaults."""
    try:
        height, width = (operator.index(side) for side in image_size)
    except (TypeError, ValueError):
        expected = "(height, width), two whole numbers of pixels"
        raise BadInputError("image_size", f"{image_size!r}", expected) from None
    if height < 1 or width < 1:
        raise BadInputError("image_size", f"{image_size}", "a height and a width above 0")
    if not 0 < near < math.inf:
        raise BadInputError("near", f"{near}", "a finite depth above 0 mm")
    if schedule is None:
        schedule = "in_turn" if jax.default_backend() == "cpu" else "at_once"
    if schedule not in ("in_turn", "at_once"):
        raise BadInputError("schedule", repr(schedule), "'in_turn', 'at_once' or None")
    if window is None:
        window = default_window(num_faces, (height, width), schedule)
    if window < 1:
        raise BadInputError("window", f"{window}", "at least 1 pixel")
    return RasterSettings(
        (height, width), float(near), float(pixel_center), cull_backfaces, window,
        schedule == "at_once", _pixel_by_pixel(schedule),
    )  # fmt: skip


def _pixel_by_pixel(schedule):
    return schedule == "in_turn" and jax.default_backend() == "cpu" and is_machine_code()
