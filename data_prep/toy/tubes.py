"""Tubes of rings: the surfaces of the toy hand's digits and of its palm."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy.array_math import smoothstep
from data_prep.studio.anatomy.proportions import Proportions

_FOREARM_X = -38.0
_CAP = 9.0
_SQUARENESS = 0.77  # exponent of the cross-section: 1 is an ellipse, towards 0 a rectangle
# Places at which the section is given, as a share of the way from the forearm to the knuckles.
_SHARES = (0.0, 0.3, 0.48, 0.72, 1.0)


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
    """A digit's centre line: joint frames from its root to its tip, and radii at the joints, mm."""

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
    """Returns frames on the centre line whose direction changes smoothly at the joints."""
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


def palm_profile(proportions: Proportions) -> tuple[np.ndarray, np.ndarray]:
    """Returns x along the palm's middle and the mean radius there, 0 at the knuckles' end."""
    end, _ = _knuckle_line(proportions)
    body, cap = np.linspace(_FOREARM_X, end, 200), np.sin(np.linspace(0.0, np.pi / 2, 100))[1:]
    x = np.concatenate([body, end + _CAP * cap])
    half_y, half_z, _, _ = _section(proportions, x)
    return x, (half_y + half_z) / 2


def palm_surface(proportions: Proportions, grid: TubeGrid) -> Float[np.ndarray, "v 3"]:
    """Returns the palm's vertices in the hand's frame."""
    x, _ = even_rings(*palm_profile(proportions), rings=grid.rings + 1)
    half_y, half_z, middle_y, middle_z = (row[:, None] for row in _section(proportions, x))
    angle = 2 * np.pi * np.arange(grid.columns) / grid.columns
    cos, sin = np.cos(angle), np.sin(angle)
    y = middle_y + half_y * np.sign(cos) * np.abs(cos) ** _SQUARENESS
    z = middle_z + half_z * np.sign(sin) * np.abs(sin) ** _SQUARENESS
    end, slope = _knuckle_line(proportions)
    share = np.clip((x - _FOREARM_X) / (end - _FOREARM_X), 0.0, 1.0)[:, None]
    slanted = x[:, None] + slope * smoothstep(share) * (z - middle_z)
    y = y + np.maximum(cos, 0.0) * _relief(slanted, z)
    points = np.stack([slanted, y, z], axis=2)
    return np.concatenate([points[:-1].reshape(-1, 3), points[-1, :1]])


def _knuckle_line(proportions: Proportions) -> tuple[float, float]:
    """Returns the palm's x where its end begins to round, and dx/dz along the knuckles."""
    x, _, z = np.array(proportions.roots[1:]).T
    slope, _ = np.polyfit(z, x, 1)
    return float(x.mean()) - 5.0, float(slope)


def _section(proportions: Proportions, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns half-thickness, half-width and middle (y, z) of the cross-section at each x."""
    roots = np.array(proportions.roots[1:])
    radial = roots[0, 2] + proportions.radii[1][0]
    ulnar = roots[-1, 2] - proportions.radii[-1][0]
    end, _ = _knuckle_line(proportions)
    share = (x - _FOREARM_X) / (end - _FOREARM_X)
    wide, middle = (radial - ulnar) / 2, (radial + ulnar) / 2
    half_z = np.interp(share, _SHARES, np.array([0.68, 0.69, 0.82, 0.96, 1.0]) * wide)
    half_y = np.interp(share, _SHARES, np.array([20.0, 17.5, 17.0, 15.5, 12.5]))
    middle_z = np.interp(share, _SHARES, np.array([0.0, 0.0, 0.3, 0.8, 1.0]) * middle)
    middle_y = np.interp(share, _SHARES, [0.0, 1.0, 1.5, 0.5, roots[:, 1].mean() + 0.5])
    cap = np.clip((x - end) / _CAP, 0.0, 1.0)
    return (
        half_y * proportions.thickness * np.sqrt(1.0 - cap**2),
        half_z * (1.0 - cap**4) ** 0.25,
        middle_y,
        middle_z,
    )


def _relief(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Returns the palm's relief in y: the ball on the little finger's side, and the hollow."""
    ball = 4.0 * np.exp(-(((x - 30.0) / 24.0) ** 2) - ((z + 26.0) / 13.0) ** 2)
    hollow = 3.0 * np.exp(-(((x - 52.0) / 20.0) ** 2) - ((z + 4.0) / 14.0) ** 2)
    return ball - hollow
