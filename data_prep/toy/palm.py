"""The made-up hand's palm and forearm: a flattened tube, open at the forearm."""

import numpy as np
from jaxtyping import Float

from data_prep.toy.rig import Proportions
from data_prep.toy.tubes import TubeGrid, even_rings, smoothstep

_FOREARM_X = -38.0
_CAP = 9.0
_SQUARENESS = 0.77  # exponent of the cross-section: 1 is an ellipse, towards 0 a rectangle
# Where the section is measured, as a share of the way from the forearm to the knuckles.
_SHARES = (0.0, 0.3, 0.48, 0.72, 1.0)


def palm_profile(proportions: Proportions) -> tuple[np.ndarray, np.ndarray]:
    """Returns x along the palm's middle and its mean half-measure, 0 at the knuckles' end."""
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
    """Returns what the palm's side adds to y: the ball at the little finger's side, the hollow."""
    ball = 4.0 * np.exp(-(((x - 30.0) / 24.0) ** 2) - ((z + 26.0) / 13.0) ** 2)
    hollow = 3.0 * np.exp(-(((x - 52.0) / 20.0) ** 2) - ((z + 4.0) / 14.0) ** 2)
    return ball - hollow
