"""Batch normalisation against Flax's, which automatic differentiation differentiates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dhm.networks.batch_norm import BatchNorm

SHAPE = (8, 4, 3, 5)


def _input(rng, mean=1.0, deviation=2.0):
    spread = rng.normal(mean, deviation, (5,)), rng.uniform(0.5, 1.5, 5) * deviation
    return jnp.float32(rng.normal(size=SHAPE) * spread[1] + spread[0])


def _variables(rng):
    scale, bias, mean = (jnp.float32(rng.normal(size=5)) for _ in range(3))
    return {
        "params": {"scale": scale, "bias": bias},
        "batch_stats": {"mean": mean, "var": jnp.float32(rng.uniform(0.5, 2, 5))},
    }


def _results(layer, variables, x, weights):
    """Output, new statistics and gradients of a weighted sum by the input and the parameters."""

    def loss(params, x):
        y, stats = layer.apply({**variables, "params": params}, x, mutable=["batch_stats"])
        return jnp.sum(y * weights), (y, stats)

    gradients, (y, stats) = jax.grad(loss, (0, 1), has_aux=True)(variables["params"], x)
    return y, stats, gradients


@pytest.mark.parametrize(("mean", "deviation"), [(1, 2), (0, 1e-3), (100, 1)])
def test_output_statistics_and_gradients_are_flaxs(mean, deviation):
    rng = np.random.default_rng(0)
    x, variables = _input(rng, mean, deviation), _variables(rng)
    weights = jnp.float32(rng.normal(size=SHAPE))
    flax = nn.BatchNorm(False, momentum=0.9, epsilon=1e-5, use_fast_variance=False)
    found = _results(BatchNorm(True), variables, x, weights)
    expected = _results(flax, variables, x, weights)
    _assert_alike(found, expected, 1e-5 * max(1, mean / deviation))


def _assert_alike(found, expected, tolerance):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=tolerance * np.abs(b).max())


def test_running_statistics_serve_where_it_does_not_train():
    rng = np.random.default_rng(1)
    x, variables = _input(rng), _variables(rng)
    flax = nn.BatchNorm(True, epsilon=1e-5)
    found = BatchNorm(False).apply(variables, x)
    np.testing.assert_allclose(found, flax.apply(variables, x), rtol=1e-5, atol=1e-5)
    assert jax.tree.map(jnp.shape, BatchNorm(True).init(jax.random.key(0), x)) == (
        jax.tree.map(jnp.shape, variables)
    )


@pytest.mark.parametrize("deviation", [1.0, 1e-3])
def test_devices_together_are_one_batch(deviation):
    """Also where the mean is a thousand times the deviation: nothing cancels."""
    rng = np.random.default_rng(2)
    x, variables = _input(rng, 1.0, deviation), _variables(rng)
    weights = jnp.float32(rng.normal(size=SHAPE))
    y, stats, (params, inputs) = _results(BatchNorm(True), variables, x, weights)
    many = jax.pmap(
        lambda x, w: _results(BatchNorm(True, "d"), variables, x, w), axis_name="d",
        devices=jax.devices()[:4],
    )  # fmt: skip
    split = (4, 2, *SHAPE[1:])
    y4, stats4, (params4, inputs4) = many(x.reshape(split), weights.reshape(split))
    tolerance = 2e-6 * max(1, 1 / deviation)
    _assert_alike((y4.reshape(SHAPE), inputs4.reshape(SHAPE)), (y, inputs), tolerance)
    _assert_alike(jax.tree.map(lambda s: s[0], stats4), stats, 2e-6)
    _assert_alike(jax.tree.map(lambda s: s.sum(0), params4), params, tolerance)


def test_bfloat16_in_and_out_statistics_in_float32():
    rng = np.random.default_rng(3)
    x, variables = _input(rng), _variables(rng)
    weights = jnp.float32(rng.normal(size=SHAPE))
    layer = BatchNorm(True, dtype=jnp.bfloat16)
    y, stats, (params, inputs) = _results(layer, variables, x.astype(jnp.bfloat16), weights)
    assert y.dtype == inputs.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((stats, params))} == {jnp.dtype("float32")}
    expected = _results(BatchNorm(True), variables, x, weights)
    _assert_alike((y.astype(jnp.float32), stats, params), (*expected[:2], expected[2][0]), 0.02)
