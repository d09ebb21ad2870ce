"""Units and camera conventions of evidence files, and their conversion to the project's.

The project has mm, cameras that look along +z with +y down (OpenCV), and transforms
T_camera_world. A file may say that it has others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dhm.errors import BadInputError
from dhm.formats.json_file import json_numbers

MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
"""Millimetres of each unit that a file may say."""

OPENCV, OPENGL = "opencv", "opengl"
UNIT_FIELDS = ("unit", "depth_unit_mm", "convention", "camera_to_world")
"""Fields that say units and conventions."""

_OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


class Units(NamedTuple):
    """Units and conventions of a frame or a camera.

    Attributes:
        mm: Millimetres of the unit of joints, scans, translations and starts.
        depth_mm: Millimetres of a step of the depth maps.
        convention: Axes of the cameras: OPENCV (+x right, +y down, +z forwards) or OPENGL
            (+x right, +y up, +z backwards).
        camera_to_world: Whether the extrinsics map camera points to the world.
    """

    mm: float = 1.0
    depth_mm: float = 1.0
    convention: str = OPENCV
    camera_to_world: bool = False

    def to_project(self, T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
        """Returns a rigid transform of a camera, as the file has it, as T_camera_world in mm."""
        T = T.copy()
        T[:3, 3] *= self.mm
        if self.camera_to_world:
            T = np.linalg.inv(T)
        return _OPENCV_FROM_OPENGL @ T if self.convention == OPENGL else T

    def from_project(self, T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
        """Returns T_camera_world, mm, as a file in these units has it."""
        T = _OPENCV_FROM_OPENGL @ T if self.convention == OPENGL else T.copy()
        if self.camera_to_world:
            T = np.linalg.inv(T)
        T[:3, 3] /= self.mm
        return T

    def __str__(self) -> str:
        unit = next((name for name, mm in MM_PER_UNIT.items() if mm == self.mm), "")
        return (
            f'"unit": "{unit}", "convention": "{self.convention}", '
            f'"camera_to_world": {str(self.camera_to_world).lower()}'
        )


def read_units(where: str | Path, entry: Mapping[str, Any], default: Units | None = None) -> Units:
    """Reads the fields UNIT_FIELDS of a frame or a camera.

    Args:
        where: The entry's place, for messages.
        entry: The entry.
        default: What holds for missing fields.

    Raises:
        BadInputError: If one has another value than those documented.
    """
    units = default or Units()
    if "unit" in entry:
        unit = _one_of(where, "unit", entry["unit"], tuple(MM_PER_UNIT))
        units = units._replace(mm=MM_PER_UNIT[unit])
    if "depth_unit_mm" in entry:
        expected = "depth_unit_mm: millimetres of a step of the depth map, above 0"
        step = float(json_numbers(where, entry["depth_unit_mm"], (), expected))
        if step <= 0:
            raise BadInputError(where, f"depth_unit_mm = {step:g}", expected)
        units = units._replace(depth_mm=step)
    if "convention" in entry:
        convention = _one_of(where, "convention", entry["convention"], (OPENCV, OPENGL))
        units = units._replace(convention=convention)
    if "camera_to_world" in entry:
        value = entry["camera_to_world"]
        if not isinstance(value, bool):
            raise BadInputError(where, f"camera_to_world = {value!r}", "true or false")
        units = units._replace(camera_to_world=value)
    return units


def _one_of(where: str | Path, key: str, value: Any, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise BadInputError(where, f"{key} = {value!r}", f"one of {', '.join(known)}")
    return value
