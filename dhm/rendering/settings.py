"""The static choices of one rasterization."""

import math
import operator
import os
from dataclasses import dataclass

import jax

from dhm.errors import BadInputError

_MOST_LOOPS = 4  # each is compiled on its own


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
        loops: Of views one after the other, how many loops share them.
    """

    image_size: tuple[int, int]
    near: float
    pixel_center: float
    cull_backfaces: bool
    window: int
    views_at_once: bool
    loops: int


def default_window(num_faces: int, image_size: tuple[int, int], at_once: bool = False) -> int:
    """Side of the dense window for a mesh and a resolution.

    A mesh that fills the image has faces of about sqrt(h w / f) pixels. A smaller window leaves
    more of them to the slower work list, which a bent hand seen close makes long; a larger one
    evaluates pixels in vain. Four times the typical side was the fastest over open and bent hands
    on a CPU; all views at once, whose windows are all in memory together, take less. The result of
    a rasterization does not depend on it.

    Args:
        num_faces: Of the mesh.
        image_size: Height and width in pixels.
        at_once: Whether all views are drawn in one call.
    """
    height, width = image_size
    typical = math.sqrt(height * width / max(num_faces, 1))
    return min(max(round((2.5 if at_once else 4) * typical), 2), 8)


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
    at_once = schedule == "at_once" or (schedule is None and jax.default_backend() != "cpu")
    window = default_window(num_faces, (height, width), at_once) if window is None else window
    if window < 1:
        raise BadInputError("window", f"{window}", "at least 1 pixel")
    if schedule not in ("in_turn", "at_once", None):
        raise BadInputError("schedule", repr(schedule), "'in_turn', 'at_once' or None")
    return RasterSettings(
        (height, width), float(near), float(pixel_center), cull_backfaces, window, at_once,
        min(os.cpu_count() or 1, _MOST_LOOPS),
    )  # fmt: skip
