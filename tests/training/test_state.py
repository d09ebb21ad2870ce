"""Updates of the optimisers against an SVD and against Adam."""

import jax
import numpy as np
import optax
import pytest

from dhm.training.state import encoder_only, make_optimiser

RATE, KERNEL_RATE = 0.002, 10.0


def _tree(seed: int) -> dict:
    """Parameters of an encoder with convolutions wide and tall, and of a decoder."""
    rng = np.random.default_rng(seed)
    shapes = {
        "encoder": {"stem": (7, 7, 3, 8), "wide": (1, 1, 4, 32), "scale": (8,), "head": (32, 28)},
        "skin": {"first": (16, 8), "grid": (2, 2, 3, 4)},
    }
    return {
        part: {name: rng.normal(size=shape).astype(np.float32) for name, shape in group.items()}
        for part, group in shapes.items()
    }


def _updates(name: str, schedule, gradients: list[dict]) -> list[dict]:
    optimiser, params, updates = make_optimiser(name, schedule, KERNEL_RATE), _tree(0), []
    state = optimiser.init(params)
    for gradient in gradients:
        update, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, update)
        updates.append(update)
    return updates


def test_the_first_adam_update_is_the_sign_of_the_gradient():
    gradient = _tree(1)
    (update,) = _updates("adam", lambda step: RATE, [gradient])
    for part, group in gradient.items():
        for name, value in group.items():
            np.testing.assert_allclose(update[part][name], -RATE * np.sign(value), rtol=1e-3)


@pytest.mark.parametrize("name", ["stem", "wide"])
def test_muon_updates_a_convolution_by_a_nearly_semi_orthogonal_matrix(name):
    gradient = _tree(1)
    (update,) = _updates("muon", lambda step: RATE, [gradient])
    outputs = gradient["encoder"][name].shape[-1]
    given = gradient["encoder"][name].reshape(-1, outputs).astype(float)
    found = np.asarray(update["encoder"][name], float).reshape(-1, outputs)
    # In the gradient's singular vectors the step is diagonal, all entries about the rate.
    left, _, right = np.linalg.svd(given, full_matrices=False)
    rate = RATE * KERNEL_RATE * max(1.0, outputs / given.shape[0]) ** 0.5
    core = -(left.T @ found @ right.T) / rate
    np.testing.assert_allclose(core, np.diag(np.diag(core)), atol=1e-3)
    assert np.all((np.diag(core) > 0.5) & (np.diag(core) < 1.3)), np.diag(core)
    np.testing.assert_allclose(-left @ core @ right * rate, found, atol=1e-3 * rate)


def test_muon_updates_other_parameters_by_nadam():
    """As optax pairs it with Muon: Adam with Nesterov's momentum."""
    gradients = [_tree(seed) for seed in (1, 2, 3)]
    schedule = optax.linear_schedule(RATE, 0.0, 5)
    params, nadam = _tree(0), optax.nadam(schedule)
    state = nadam.init(params)
    for gradient, found in zip(gradients, _updates("muon", schedule, gradients), strict=True):
        expected, state = nadam.update(gradient, state)
        for part, name in (
            ("encoder", "scale"), ("encoder", "head"), ("skin", "first"), ("skin", "grid"),
        ):  # fmt: skip
            np.testing.assert_allclose(found[part][name], expected[part][name], rtol=1e-5)
        difference = found["encoder"]["stem"] - expected["encoder"]["stem"]
        assert np.abs(difference).max() > 0.1 * RATE


def test_the_learning_rate_of_muon_follows_the_schedule():
    gradient = _tree(1)
    schedule = optax.piecewise_constant_schedule(RATE, {1: 0.25})
    first, second = _updates("muon", schedule, [gradient, gradient])
    np.testing.assert_allclose(
        second["encoder"]["stem"], 0.25 * first["encoder"]["stem"], rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_encoder_only_updates_the_encoder_as_before_and_leaves_the_others(name):
    gradients, params = [_tree(seed) for seed in (1, 2)], _tree(0)
    optimiser = encoder_only(make_optimiser(name, lambda step: RATE, KERNEL_RATE))
    state = optimiser.init(params)
    for gradient, expected in zip(
        gradients, _updates(name, lambda step: RATE, gradients), strict=True
    ):
        update, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, update)
        jax.tree.map(np.testing.assert_array_equal, update["encoder"], expected["encoder"])
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(update["skin"]))
    jax.tree.map(np.testing.assert_array_equal, params["skin"], _tree(0)["skin"])
