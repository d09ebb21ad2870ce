"""What a real depth sensor and a real joint detector do to perfect data."""

import numpy as np
from jaxtyping import Bool, Float

_GRAZING = 0.35  # cosine between ray and normal, below which a sensor begins to see nothing


def noisy_depth(
    depth: Float[np.ndarray, "h w"],
    K: Float[np.ndarray, "3 3"],
    sigma_mm: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "h w"]:
    """Returns a depth map with noise, and holes where the surface is seen at a grazing angle.

    Args:
        depth: Depth along z in mm, 0 = background.
        K: Intrinsics of the map.
        sigma_mm: Standard deviation of the noise.
        rng: Draws it.
    """
    seen = depth > 0
    lost = rng.uniform(size=depth.shape) < np.clip(1.0 - _facing(depth, K) / _GRAZING, 0.0, 1.0)
    noise = rng.normal(0.0, sigma_mm, depth.shape)
    return np.where(seen & ~lost, depth + noise, 0.0).astype(np.float32)


def noisy_joints(
    joints: Float[np.ndarray, "j 3"], sigma_mm: float, rng: np.random.Generator
) -> Float[np.ndarray, "j 3"]:
    """Returns joints with independent noise along each axis."""
    return joints + rng.normal(0.0, sigma_mm, joints.shape)


def _facing(depth: np.ndarray, K: np.ndarray) -> Float[np.ndarray, "h w"]:
    """Cosine between each pixel's ray and the normal there; 0 where a neighbour is background."""
    rows, columns = np.indices(depth.shape)
    rays = np.stack(
        [(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones(depth.shape)]
    )
    points = rays * depth
    across, down = (np.gradient(points, axis=axis) for axis in (2, 1))
    normal = np.cross(across, down, axis=0)
    cosine = np.abs((normal * rays).sum(axis=0))
    cosine /= np.maximum(np.linalg.norm(normal, axis=0) * np.linalg.norm(rays, axis=0), 1e-9)
    return np.where(_inside(depth > 0), cosine, 0.0)


def _inside(seen: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    inside = seen.copy()
    for axis in (0, 1):
        for shift in (1, -1):
            inside &= np.roll(seen, shift, axis)
    return inside
