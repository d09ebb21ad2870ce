"""Vector products, interpolation and noise on arrays of many points."""

import numpy as np
from jaxtyping import Float

# Odd constants of an integer hash; any large odd numbers would do.
_MULTIPLIERS = np.array([73856093, 19349663, 83492791], np.uint32)
_SEED_MULTIPLIER, _MIX = 2654435761, np.uint32(1274126177)


def row_norms(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Returns the length of each row, several times faster than `np.linalg.norm`."""
    return np.sqrt(np.einsum("ni,ni->n", vectors, vectors))


def unit_rows(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Returns each row divided by its length; rows of zeros stay zero."""
    return vectors / np.maximum(row_norms(vectors), 1e-12)[:, None]


def cross(one: Float[np.ndarray, "*n 3"], other: Float[np.ndarray, "*n 3"]) -> np.ndarray:
    """Returns cross products along the last axis, several times faster than `np.cross`."""
    after, before = [1, 2, 0], [2, 0, 1]
    return one[..., after] * other[..., before] - one[..., before] * other[..., after]


def smoothstep(x: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Returns 0 below 0, 1 above 1 and 3 x^2 - 2 x^3 between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def value_noise(
    points: Float[np.ndarray, "n 3"], wavelength: float, seed: int
) -> Float[np.ndarray, " n"]:
    """Returns noise in [-1, 1], smoothly interpolated between random values on a grid.

    The noise depends on the position and the seed alone.

    Args:
        points: Positions in mm.
        wavelength: Spacing of the grid, mm.
        seed: Different seeds give independent noise.
    """
    scaled = np.asarray(points, np.float32) / np.float32(wavelength)
    corner = np.floor(scaled)
    share = scaled - corner
    share = share * share * (3.0 - 2.0 * share)
    # Two's complement wraps negative cells around, which the hash does not mind.
    low = corner.astype(np.int32).view(np.uint32) * _MULTIPLIERS
    sides = np.stack([low, low + _MULTIPLIERS])
    salt = np.uint32(seed * _SEED_MULTIPLIER % 2**32)
    noise = np.zeros(len(scaled), np.float32)
    for i in (0, 1):
        x = share[:, 0] if i else 1.0 - share[:, 0]
        for j in (0, 1):
            xy = x * (share[:, 1] if j else 1.0 - share[:, 1])
            for k in (0, 1):
                weight = xy * (share[:, 2] if k else 1.0 - share[:, 2])
                noise += weight * _hash(sides[i, :, 0] ^ sides[j, :, 1] ^ sides[k, :, 2] ^ salt)
    return noise


def _hash(key: np.ndarray) -> Float[np.ndarray, " n"]:
    key = (key ^ (key >> np.uint32(13))) * _MIX
    key ^= key >> np.uint32(16)
    return (key & np.uint32(0xFFFF)).astype(np.float32) * np.float32(2.0 / 65535.0) - 1.0
