"""Points of depth maps, their matches with the model, and even samples of them."""

import jax.numpy as jnp
import numpy as np

from dhm.fitting.evidence import depth_points, spread_sample
from dhm.fitting.terms import match

K = np.array([[200.0, 3, 61.5], [0, 190, 44.0], [0, 0, 1]])
T = np.eye(4)
T[:3, :3] = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
T[:3, 3] = 10, -20, 500
RADIUS, CENTRE = 60.0, np.array([40.0, 15.0, -5.0])  # of the sphere, in the world


def _sphere_depth(shape=(90, 130)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    y = (rows - K[1, 2]) / K[1, 1]
    rays = np.stack([(columns - K[0, 2] - K[0, 1] * y) / K[0, 0], y, np.ones(shape)], axis=-1)
    centre = T[:3, :3] @ CENTRE + T[:3, 3]
    a, b = (rays**2).sum(-1), rays @ centre
    root = b**2 - a * (centre @ centre - RADIUS**2)
    return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 0)


def test_points_of_a_depth_map_lie_on_the_sphere_and_face_the_camera():
    points, normals = depth_points(_sphere_depth(), K, T)
    assert len(points) > 500
    outward = points - CENTRE
    np.testing.assert_allclose(np.linalg.norm(outward, axis=1), RADIUS, atol=1e-6)
    cosines = (outward / RADIUS * normals).sum(axis=1)
    assert cosines.min() > 0.97
    assert np.median(cosines) > 0.999
    eye = -T[:3, :3].T @ T[:3, 3]
    assert ((eye - points) * normals).sum(axis=1).min() > 0


def test_the_empty_part_of_a_depth_map_changes_nothing():
    depth, wide = _sphere_depth(), np.zeros((300, 400))
    wide[100:190, 200:330] = depth
    moved = K + np.array([[0, 0, 200], [0, 0, 100], [0, 0, 0]])
    for one, other in zip(depth_points(depth, K, T), depth_points(wide, moved, T), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_no_point_bridges_two_surfaces():
    depth = np.zeros((20, 20))
    depth[:, :10], depth[:, 10:] = 300, 400
    points, _ = depth_points(depth, K, np.eye(4))
    assert set(np.round(points[:, 2])) == {300, 400}
    assert depth_points(np.zeros((20, 20)), K, T)[0].shape == (0, 3)


def test_matches_take_the_side_that_faces_and_leave_out_borders():
    """A finger of 4 mm: what is observed in front belongs to the front, though the back is near."""
    front = np.stack([np.arange(10.0), np.zeros(10), np.full(10, 2.0)], axis=1)
    position = np.concatenate([front, front * [1, 1, -1]])
    normals = np.repeat([[0, 0, 1.0], [0, 0, -1.0]], 10, axis=0)
    inner = np.arange(20) != 3
    points = front - np.array([0, 0, 2.5])  # nearer to the back
    weights = np.ones(10)
    weights[7] = 0
    arrays = (jnp.float32(x) for x in (points, normals[:10], weights))
    found = match(jnp.float32(position), jnp.float32(normals), inner, *arrays, 10.0)
    np.testing.assert_array_equal(found.vertex, np.arange(10))
    np.testing.assert_array_equal(found.weight, (np.arange(10) != 3) & (np.arange(10) != 7))
    np.testing.assert_allclose(found.normal, normals[:10], atol=1e-6)
    arrays = (jnp.float32(x) for x in (points + 20, normals[:10], weights))
    assert float(match(jnp.float32(position), jnp.float32(normals), inner, *arrays, 10.0)
                 .weight.max()) == 0  # fmt: skip


def test_a_sample_is_even_over_points_that_are_not():
    rng = np.random.default_rng(0)
    dense = rng.uniform(0, 10, (9000, 3)) * [1, 1, 0]
    thin = rng.uniform(0, 10, (1000, 3)) * [1, 1, 0] + [10, 0, 0]
    points = np.concatenate([dense, thin])
    chosen = spread_sample(points, 400)
    assert len(chosen) == len(set(chosen.tolist())) == 400
    distance = np.linalg.norm(points[:, None, :2] - points[None, chosen, :2], axis=-1).min(axis=1)
    assert distance.max() < 3
    np.testing.assert_array_equal(spread_sample(points[:5], 9), np.arange(5))
