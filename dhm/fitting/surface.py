"""Observed skin: points of depth maps and scans, and which point of the model lies at each."""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dhm.fitting.rig import Skin
from dhm.fitting.terms import Matches
from dhm.geometry.transforms import matmul

# mm that two points with normals at a right angle are set apart, when the closest is looked for:
# of the two sides of a finger the one that faces the observer is meant.
_TURN = 20.0
_SAME_SIDE = 0.3  # smallest cosine between the normals of a match
# mm of depth between neighbouring pixels for each mm between them, beyond which a surface is seen
# at too grazing an angle, or ends.
_MAX_SLOPE = 3.0


@dataclass(frozen=True, eq=False)
class HandSurface:
    """A sample of the model's skin.

    Attributes:
        lbs_weights: Skinning weights.
        T_joint_model: Inverse bind pose.
        normals: Unit normals at zero pose.
        inner: Whether a point is not on the mesh's border; what matches the border may lie
            beyond it.
        refine: Zero-pose positions (mm) for a pose: template and correctives.
    """

    lbs_weights: Float[Array, "s j"]
    T_joint_model: Float[Array, "j 4 4"]
    normals: Float[Array, "s 3"]
    inner: Bool[np.ndarray, " s"]
    refine: Callable[[Float[Array, " d"]], Float[Array, "s 3"]]

    def skin(self, theta: Float[Array, " d"]) -> Skin:
        """The sample with the correctives of a pose."""
        return Skin(self.lbs_weights, self.T_joint_model, self.refine(theta), self.normals)


def match(
    position: Float[Array, "s 3"],
    normals: Float[Array, "s 3"],
    inner: Bool[np.ndarray, " s"],
    points: Float[Array, "n 3"],
    point_normals: Float[Array, "n 3"],
    weights: Float[Array, " n"],
    reach: Float[Array, ""] | float,
) -> Matches:
    """The model's point at each observed one: close by, and facing the same way.

    Args:
        position: The model's points, mm.
        normals: Their unit normals.
        inner: Which of them may be matched with.
        points: The observed points, mm.
        point_normals: Their unit normals.
        weights: Their weights.
        reach: Largest distance of a match, mm.
    """
    alike = matmul(point_normals, normals.T)
    squared = jnp.sum(position**2, axis=-1) - 2 * matmul(points, position.T)
    vertex = jnp.argmin(squared - _TURN**2 * alike, axis=1)
    offset = position[vertex] - points
    cosine = jnp.sum(normals[vertex] * point_normals, axis=-1)
    usable = (cosine > _SAME_SIDE) & (jnp.sum(offset**2, axis=-1) < reach**2)
    usable &= jnp.asarray(inner)[vertex]
    middle = normals[vertex] + point_normals
    length = jnp.maximum(jnp.linalg.norm(middle, axis=-1, keepdims=True), 1e-6)
    return Matches(vertex, middle / length, jnp.where(usable, weights, 0))


def depth_points(
    depth: Float[np.ndarray, "h w"],
    K: Float[np.ndarray, "3 3"],
    T_camera_world: Float[np.ndarray, "4 4"],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """World points and unit normals of a depth map, where the surface goes on around a pixel.

    Args:
        depth: Along the camera's z, mm; 0: background.
        K: Of the depth map.
        T_camera_world: Of its camera.
    """
    low, depth = _without_background(depth)
    rows, columns = np.indices(depth.shape).astype(float) + low[:, None, None]
    y = (rows - K[1, 2]) / K[1, 1]
    x = (columns - K[0, 2] - K[0, 1] * y) / K[0, 0]
    at = np.stack([x * depth, y * depth, depth], axis=-1)
    right, down = at[1:-1, 2:] - at[1:-1, :-2], at[2:, 1:-1] - at[:-2, 1:-1]
    around = np.stack(
        [depth[1:-1, 2:], depth[1:-1, :-2], depth[2:, 1:-1], depth[:-2, 1:-1], depth[1:-1, 1:-1]]
    )
    whole = (around > 0).all(axis=0)
    for step in (right, down):
        whole &= np.abs(step[..., 2]) < _MAX_SLOPE * np.linalg.norm(step[..., :2], axis=-1)
    normals = np.cross(down, right)[whole]  # towards the camera
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    points = at[1:-1, 1:-1][whole]
    R, t = T_camera_world[:3, :3], T_camera_world[:3, 3]
    return (points - t) @ R, normals @ R


def vertex_normals(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]
) -> Float[np.ndarray, "v 3"]:
    """Unit normals of a mesh's vertices, faces weighing by their area; 0 where it has none."""
    a, b, c = np.moveaxis(np.asarray(vertices, float)[faces], 1, 0)
    flat = np.cross(b - a, c - a)
    normals = np.zeros((len(vertices), 3))
    for corner in faces.T:
        np.add.at(normals, corner, flat)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals / np.where(length > 0, length, 1)


def spread_sample(
    points: Float[np.ndarray, "n 3"], count: int, seed: int = 0
) -> Int[np.ndarray, " m"]:
    """Indices of at most `count` points, evenly over the space that they take.

    Those of one small cube follow each other in a random order of cubes, and every k-th is taken.
    """
    if len(points) <= count:
        return np.arange(len(points))
    extent = np.ptp(points, axis=0).max()
    cell = max(extent / np.sqrt(count), 1e-6)
    cubes = np.floor((points - points.min(axis=0)) / cell).astype(np.int64)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(points))
    _, cube = np.unique(cubes[order], axis=0, return_inverse=True)
    order = order[np.argsort(cube.reshape(-1), kind="stable")]
    return np.sort(order[np.linspace(0, len(points) - 1, count).round().astype(int)])


def _without_background(
    depth: Float[np.ndarray, "h w"],
) -> tuple[Int[np.ndarray, " 2"], Float[np.ndarray, "h2 w2"]]:
    """The rectangle that has all depths, and its first row and column: much of a map is empty."""
    inside = depth > 0
    low, high = [], []
    for axis in (1, 0):
        filled = np.flatnonzero(inside.any(axis=axis))
        low.append(int(filled[0]) if len(filled) else 0)
        high.append(int(filled[-1]) + 1 if len(filled) else 0)
    return np.array(low), depth[low[0] : high[0], low[1] : high[1]]
