"""Smooth pseudo-random irregularities that depend on a position and a seed alone."""

import numpy as np
from jaxtyping import Float

# Odd constants of an integer hash; any large odd numbers would do.
_MULTIPLIERS = np.array([73856093, 19349663, 83492791], np.uint32)
_SEED_MULTIPLIER, _MIX = 2654435761, np.uint32(1274126177)


def value_noise(
    points: Float[np.ndarray, "n 3"], wavelength: float, seed: int
) -> Float[np.ndarray, " n"]:
    """Returns noise in [-1, 1], smoothly interpolated between random values on a grid.

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
