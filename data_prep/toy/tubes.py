"""Tubes of rings: the parts that the made-up hand consists of."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class TubeGrid(NamedTuple):
    """A tube's topology: rings of columns, closed by a pole at the end and perhaps at the start.

    Vertices are numbered ring by ring, then the end's pole, then the start's.
    """

    rings: int
    columns: int
    closed_start: bool

    @property
    def num_vertices(self) -> int:
        return self.rings * self.columns + 1 + self.closed_start


def tube_faces(grid: TubeGrid) -> Int[np.ndarray, "f 3"]:
    """Returns a tube's triangles, counter-clockwise seen from outside."""
    return _fill(grid, grid.columns, np.arange(grid.rings * grid.columns), 1, wrap=True)


def tube_uvs(grid: TubeGrid) -> tuple[Float[np.ndarray, "t 2"], Int[np.ndarray, "f 3"]]:
    """Returns texture coordinates that fill the unit square, cut along column 0."""
    around, along = np.meshgrid(
        np.arange(grid.columns + 1) / grid.columns, np.arange(1, grid.rings + 1) / (grid.rings + 1)
    )
    middles = (np.arange(grid.columns) + 0.5) / grid.columns
    poles = [np.stack([middles, np.full(grid.columns, v)], 1) for v in (1.0, 0.0)]
    uvs = np.concatenate([np.stack([around.ravel(), along.ravel()], 1), *poles])
    body = np.arange(grid.rings * (grid.columns + 1))
    return uvs, _fill(grid, grid.columns + 1, body, grid.columns, wrap=False)


def _fill(grid: TubeGrid, stride: int, body: np.ndarray, poles: int, wrap: bool) -> np.ndarray:
    """Fills quads and pole fans; `poles` is the number of copies of each pole."""
    table = body.reshape(grid.rings, stride)
    column = np.arange(grid.columns)
    right = (column + 1) % grid.columns if wrap else column + 1
    a, b = table[:-1, column].ravel(), table[:-1, right].ravel()
    c, d = table[1:, right].ravel(), table[1:, column].ravel()
    end = len(body) + (np.zeros_like(column) if poles == 1 else column)
    fans = [np.stack([table[-1, column], table[-1, right], end], 1)]
    if grid.closed_start:
        start = end + poles
        fans.append(np.stack([table[0, right], table[0, column], start], 1))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1), *fans]).astype(np.int32)


class Digit(NamedTuple):
    """A finger's centre line: joints from its root to its tip, and half-thickness at each."""

    frames: Float[np.ndarray, "k 4 4"]
    radii: tuple[float, ...]

    @property
    def stations(self) -> Float[np.ndarray, " k"]:
        """Arc length of each joint from the first, mm."""
        steps = np.linalg.norm(np.diff(self.frames[:, :3, 3], axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])


def digit_profile(digit: Digit) -> tuple[np.ndarray, np.ndarray]:
    """Returns arc length and radius along the digit, 0 at both rounded ends."""
    stations = digit.stations
    first, last = stations[0] - digit.radii[0], stations[-1] + 1.5
    arc = first + (last - first) * (1 - np.cos(np.linspace(0, np.pi, 400))) / 2
    radius = np.interp(arc, stations, digit.radii)
    # Joints are a little thicker than the bones between them.
    waist = np.min(np.abs(arc[:, None] - stations), axis=1)
    radius = radius * (1.0 - 0.06 * np.clip(waist / 10.0, 0.0, 1.0) ** 2)
    caps = (digit.radii[0], 1.3 * digit.radii[-1])
    inward = np.minimum((arc - first) / caps[0], (last - arc) / caps[1]).clip(0.0, 1.0)
    return arc, radius * np.sqrt(1.0 - (1.0 - inward) ** 2)


def digit_surface(
    digit: Digit, grid: TubeGrid
) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, " v"]]:
    """Returns the digit's vertices and the arc length of each along the centre line."""
    arc, radius = even_rings(*digit_profile(digit), rings=grid.rings + 2)
    frames = _frames_along(digit, arc)
    angle = 2 * np.pi * np.arange(grid.columns) / grid.columns
    # The back of a finger is flatter than its pad.
    y = np.cos(angle) * np.where(np.cos(angle) > 0, 1.0, 0.88)
    ring = np.stack([np.zeros_like(angle), y, np.sin(angle)], 1)
    points = np.einsum("rab,cb->rca", frames[:, :3, :3], ring) * radius[:, None, None]
    points = points + frames[:, None, :3, 3]
    body = points[1:-1].reshape(-1, 3)
    vertices = np.concatenate([body, points[-1, :1], points[0, :1]])
    return vertices, np.concatenate([np.repeat(arc[1:-1], grid.columns), arc[-1:], arc[:1]])


def _frames_along(digit: Digit, arc: np.ndarray) -> np.ndarray:
    """Returns frames on the centre line whose direction turns gently at the joints."""
    stations = digit.stations
    rotations = np.tile(digit.frames[0, :3, :3], (len(arc), 1, 1))
    for joint in range(1, len(stations) - 1):
        share = smoothstep((arc - stations[joint]) / 20.0 + 0.5)[:, None, None]
        rotations = rotations * (1 - share) + digit.frames[joint, :3, :3] * share
    x = rotations[:, :, 0] / np.linalg.norm(rotations[:, :, 0], axis=1, keepdims=True)
    y = rotations[:, :, 1] - x * np.sum(x * rotations[:, :, 1], axis=1, keepdims=True)
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    frames = np.tile(np.eye(4), (len(arc), 1, 1))
    frames[:, :3, :3] = np.stack([x, y, np.cross(x, y)], axis=2)
    inside = np.clip(arc, stations[0], stations[-1])
    line = [np.interp(inside, stations, digit.frames[:, axis, 3]) for axis in range(3)]
    frames[:, :3, 3] = np.stack(line, axis=1) + x * (arc - inside)[:, None]
    return frames


def even_rings(*profile: np.ndarray, rings: int) -> list[np.ndarray]:
    """Resamples a profile (coordinates of a curve) at equal steps of its own length."""
    length = profile_length(*profile)
    steps = np.linspace(0.0, length[-1], rings)
    return [np.interp(steps, length, coordinate) for coordinate in profile]


def profile_length(*profile: np.ndarray) -> Float[np.ndarray, " n"]:
    """Returns the length of a curve up to each of its points."""
    steps = np.linalg.norm(np.diff(np.stack(profile), axis=1), axis=0)
    return np.concatenate([[0.0], np.cumsum(steps)])


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Returns 0 below 0, 1 above 1 and 3x^2 - 2x^3 between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
