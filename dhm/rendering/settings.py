"""The static choices of one rasterization."""

import math
import operator
from dataclasses import dataclass

import jax

from dhm.errors import BadInputError


@dataclass(frozen=True)
class RasterSettings:
    """What is fixed when the rasterizer is traced.

    Attributes:
        image_size: Height and width in pixels.
        near: Smallest depth that is drawn, mm.
        pixel_center: Coordinate of the centre of pixel 0 in K's convention (0 or 0.5).
        cull_backfaces: Whether faces that are clockwise seen from the camera are left out.
        window: Side in pixels of the dense window that every face is tried on.
        views_at_once: Whether all views are drawn in one call (GPU) or one after the other (CPU).
        pixel_by_pixel: Whether the windows' pixels are tried one after the other (CPU), or those of
            all windows together.
    """

    image_size: tuple[int, int]
    near: float
    pixel_center: float
    cull_backfaces: bool
    window: int
    views_at_once: bool
    pixel_by_pixel: bool


def default_window(num_faces: int, image_size: tuple[int, int], schedule: str) -> int:
    """Side of the dense window for a mesh and a resolution.

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


def checked_settings(
    num_faces: int,
    image_size: tuple[int, int],
    near: float,
    pixel_center: float,
    cull_backfaces: bool,
    window: int | None,
    schedule: str | None,
) -> RasterSettings:
    """Settings from the arguments of `rasterize`, with its defaults filled in.

    Raises:
        BadInputError: a value that is not possible.
    """
    height, width = (operator.index(side) for side in image_size)
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
    return schedule == "in_turn" and jax.default_backend() == "cpu"
