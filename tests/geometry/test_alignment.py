import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dhm.geometry.alignment import nearest_rotation, rigid_alignment
from dhm.geometry.transforms import transform_points
from tests.references.geometry import random_rotation


def _points(rng, n=5):
    return rng.normal(scale=50, size=(n, 3))


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scipy_on_noisy_weighted_points(seed):
    rng = np.random.default_rng(seed)
    source, weights = _points(rng, 7), rng.uniform(0, 2, 7)
    target = source @ random_rotation(rng, 1)[0].T + rng.normal(scale=500, size=3)
    target += rng.normal(scale=4, size=target.shape)
    T = rigid_alignment(*map(jnp.float32, (source, target, weights)))
    mean = [np.average(x, axis=0, weights=weights) for x in (source, target)]
    expected, _ = Rotation.align_vectors(target - mean[1], source - mean[0], weights=weights)
    np.testing.assert_allclose(T[:3, :3], expected.as_matrix(), atol=1e-4)
    np.testing.assert_allclose(T[:3, 3], mean[1] - expected.apply(mean[0]), atol=0.02)


def test_recovers_a_motion_of_ten_metres_to_a_hundredth_of_a_millimetre():
    rng = np.random.default_rng(0)
    source, R = _points(rng), random_rotation(rng, 1)[0]
    target = source @ R.T + np.array([6000.0, -6400, 4800])
    T = rigid_alignment(jnp.float32(source), jnp.float32(target), jnp.ones(5))
    np.testing.assert_allclose(transform_points(T, jnp.float32(source)), target, atol=0.01)


def test_points_of_weight_zero_do_not_matter():
    rng = np.random.default_rng(1)
    source, target = jnp.float32(_points(rng)), jnp.float32(_points(rng))
    weights = jnp.array([1.0, 1, 1, 1, 0])
    moved = target.at[4].add(1e4)
    np.testing.assert_allclose(
        rigid_alignment(source, target, weights), rigid_alignment(source, moved, weights), atol=1e-3
    )


@given(st.integers(0, 10**6), st.sampled_from(["mirror", "plane", "line", "point", "two"]))
@settings(max_examples=40, deadline=None)
def test_never_a_reflection_and_gradients_stay_finite(seed, kind):
    rng = np.random.default_rng(seed)
    source, target, weights = _points(rng), _points(rng), np.ones(5)
    if kind == "mirror":
        target = source * np.array([-1, 1, 1])
    elif kind == "plane":
        source[:, 2] = target[:, 2] = 0
    elif kind == "line":
        source = np.outer(rng.normal(size=5), [1, 2, 3]) * 20
    elif kind == "point":
        source, target = np.zeros((5, 3)), np.ones((5, 3))
    else:
        weights = np.array([1.0, 1, 0, 0, 0])

    def loss(a, b):
        T = rigid_alignment(a, b, jnp.float32(weights))
        return jnp.sum(jnp.sin(T)), T

    gradients, T = jax.grad(loss, argnums=(0, 1), has_aux=True)(
        jnp.float32(source), jnp.float32(target)
    )
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-5)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("mirrored", [False, True])
def test_gradient_agrees_with_finite_differences(mirrored):
    rng = np.random.default_rng(3)
    source = _points(rng)
    target = source @ random_rotation(rng, 1)[0].T + rng.normal(scale=5, size=(5, 3))
    target = target * np.array([-1, 1, 1]) if mirrored else target
    cotangent, weights = rng.normal(size=(4, 4)), np.array([1.0, 1, 0.5, 2, 1])

    def loss64(a, b):
        mean_a, mean_b = (np.average(x, axis=0, weights=weights) for x in (a, b))
        R, _ = Rotation.align_vectors(b - mean_b, a - mean_a, weights=weights)
        R = R.as_matrix()
        return np.sum(cotangent[:3, :3] * R) + cotangent[:3, 3] @ (mean_b - R @ mean_a)

    def loss(a, b):
        return jnp.sum(jnp.float32(cotangent) * rigid_alignment(a, b, jnp.float32(weights)))

    ours = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.float32(source), jnp.float32(target))
    for argument, gradient in enumerate(ours):
        expected = np.zeros((5, 3))
        for index in np.ndindex(5, 3):
            values = []
            for step in (1e-3, -1e-3):
                inputs = [source.copy(), target.copy()]
                inputs[argument][index] += step
                values.append(loss64(*inputs))
            expected[index] = (values[0] - values[1]) / 2e-3
        np.testing.assert_allclose(gradient, expected, rtol=2e-3, atol=2e-3 * abs(expected).max())


def test_batches_like_vmap():
    rng = np.random.default_rng(4)
    matrices = jnp.float32(rng.normal(size=(6, 3, 3)))
    np.testing.assert_allclose(
        nearest_rotation(matrices), jax.vmap(nearest_rotation)(matrices), atol=1e-5
    )
