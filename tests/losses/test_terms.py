import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dhm.geometry.mesh import vertex_neighbours
from dhm.losses.objective import reduce_depth, reduce_joint
from dhm.losses.terms import depth_loss, joint_loss, laplacian_loss, skeleton_loss, smooth_l1
from tests.references import losses as twin


def test_joint_loss_agrees_with_the_loop_and_ignores_invalid_joints():
    rng = np.random.default_rng(0)
    joints, target = rng.normal(scale=30, size=(2, 22, 3))
    valid = rng.random(22) < 0.7
    ours = joint_loss(jnp.float32(joints), jnp.float32(target), jnp.array(valid))
    np.testing.assert_allclose(ours, twin.joint_loss(joints, target, valid), rtol=1e-5, atol=1e-4)
    spoilt = jnp.float32(target).at[np.flatnonzero(~valid)].set(jnp.nan)

    def loss(x):
        return joint_loss(x, spoilt, jnp.array(valid)).sum()

    value, gradient = jax.value_and_grad(loss)(jnp.float32(joints))
    assert np.isfinite(value)
    assert (np.asarray(gradient)[~valid] == 0).all()
    assert (np.abs(np.asarray(gradient)[valid]) == 1).all()
    mean = reduce_joint(ours[None], jnp.array(valid)[None])
    assert float(mean[0]) == pytest.approx(float(ours.sum()) / valid.sum(), rel=1e-6)
    assert float(reduce_joint(ours[None] * 0, jnp.zeros((1, 22), bool))[0]) == 0


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_depth_loss_agrees_with_the_loop(beta):
    rng = np.random.default_rng(1)
    rendered = rng.uniform(900, 910, size=(2, 8, 9)) * (rng.random((2, 8, 9)) < 0.6)
    target = rng.uniform(900, 910, size=(2, 8, 9)) * (rng.random((2, 8, 9)) < 0.6)
    loss, mask = depth_loss(jnp.float32(rendered), jnp.float32(target), beta)
    expected, expected_mask = twin.depth_loss(rendered, target, beta)
    np.testing.assert_array_equal(mask, expected_mask)
    np.testing.assert_allclose(loss, expected, atol=1e-3)
    foreground = reduce_depth(loss[None], mask[None], "foreground")
    assert float(foreground[0]) == pytest.approx(expected.sum() / expected_mask.sum(), rel=1e-4)
    image = reduce_depth(loss[None], mask[None], "image")
    assert float(image[0]) == pytest.approx(expected.mean(), rel=1e-4)


def test_depth_loss_without_common_foreground_is_zero_with_zero_gradient():
    rendered = jnp.zeros((1, 1, 4, 4)).at[..., 0].set(900.0)
    target = jnp.zeros((1, 1, 4, 4)).at[..., 3].set(900.0)

    def loss(x):
        return reduce_depth(*depth_loss(x, target), "foreground").sum()

    value, gradient = jax.value_and_grad(loss)(rendered)
    assert float(value) == 0
    assert float(jnp.abs(gradient).max()) == 0


def test_smooth_l1_is_continuous_with_its_slope():
    x = jnp.array([-1.0 - 1e-4, -1 + 1e-4, 1 - 1e-4, 1 + 1e-4])
    np.testing.assert_allclose(smooth_l1(x), [0.5, 0.5, 0.5, 0.5], atol=2e-4)
    np.testing.assert_allclose(jax.vmap(jax.grad(smooth_l1))(x), [-1, -1, 1, 1], atol=2e-4)


def test_laplacian_agrees_with_the_loop_in_value_and_gradient():
    rng = np.random.default_rng(2)
    vertices, faces = rng.normal(scale=10, size=(30, 3)), rng.integers(0, 28, size=(45, 3))
    neighbours = vertex_neighbours(faces, 30)  # vertices 28 and 29 have none
    ours = laplacian_loss(jnp.float32(vertices), neighbours)
    np.testing.assert_allclose(ours, twin.laplacian_loss(vertices, faces), rtol=1e-4, atol=1e-3)
    assert ours[28:].tolist() == [0, 0]
    weights = rng.normal(size=30)

    def loss(x):
        return jnp.sum(jnp.float32(weights) * laplacian_loss(x, neighbours))

    gradient = np.asarray(jax.jit(jax.grad(loss))(jnp.float32(vertices)))
    for _ in range(5):
        step = rng.normal(size=vertices.shape)
        ends = [weights @ twin.laplacian_loss(vertices + s * 1e-4 * step, faces) for s in (1, -1)]
        slope = (ends[0] - ends[1]) / 2e-4
        assert float(np.sum(gradient * step)) == pytest.approx(slope, rel=1e-3, abs=1e-2)


def test_laplacian_can_be_rematerialised():
    neighbours = vertex_neighbours(np.array([[0, 1, 2], [1, 3, 2]]), 4)
    vertices = jnp.float32(np.random.default_rng(3).normal(size=(4, 3)))

    def loss(x):
        return laplacian_loss(x, neighbours).sum()

    again = jax.jit(jax.grad(jax.checkpoint(loss)))(vertices)
    np.testing.assert_allclose(again, jax.grad(loss)(vertices), rtol=1e-5)


def test_laplacian_does_not_change_under_rigid_motion_and_vanishes_on_a_flat_grid():
    n = 7
    grid = np.stack([*np.meshgrid(np.arange(n), np.arange(n)), np.zeros((n, n))], -1).reshape(-1, 3)
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + 1, a + n], 1), np.stack([a + 1, a + n + 1, a + n], 1)])
    loss = np.asarray(laplacian_loss(jnp.float32(grid), vertex_neighbours(faces, n * n)))
    inner = loss.reshape(n, n)[1:-1, 1:-1]
    np.testing.assert_allclose(inner, 0, atol=1e-10)
    moved = jnp.float32(grid[:, [1, 2, 0]] + np.array([300.0, -200, 900]))
    np.testing.assert_allclose(
        laplacian_loss(moved, vertex_neighbours(faces, n * n)), loss, atol=1e-3
    )


def test_skeleton_loss_is_the_squared_length_of_each_change():
    change = np.array([[[0.0, 0, 0], [3, 0, -4], [1, 1, 1]]], np.float32)
    np.testing.assert_allclose(skeleton_loss(jnp.asarray(change)), [[0, 25, 3]])
    # No NaN where nothing changed.
    assert not jax.grad(lambda x: skeleton_loss(x).sum())(jnp.zeros((3, 3))).any()
