"""The compiled encoder and decoder against the model in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.studio.template.hand_template import hand_template
from dhm.networks.build import build_linear_model, build_model
from dhm.networks.compiled import compiled
from dhm.training.state import initial_variables
from tests.references.mano import random_mano


def _agree(model, variables, num_angles):
    rng = np.random.default_rng(0)
    encode, decode = compiled(model, variables)
    image = jnp.asarray(rng.integers(0, 255, (1, 32, 32, 3), np.uint8))
    theta = jnp.asarray(rng.normal(0, 0.4, (1, num_angles)), jnp.float32)
    expected = jax.jit(lambda: model.apply(variables, theta, method="decode"))()
    angles = jax.jit(lambda: model.apply(variables, image, method="encode"))()
    np.testing.assert_allclose(encode(image), angles, atol=1e-5)
    vertices, joints = decode(theta)
    np.testing.assert_allclose(vertices, expected.vertices, atol=1e-3)
    np.testing.assert_allclose(joints, expected.joints, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "correctives",
    [("skeleton", "identity", "pose"), pytest.param(("identity",), marks=pytest.mark.slow), ()],
)
def test_the_identity_corrective_is_folded_into_the_template(toy_model, correctives):
    settings, model, _ = toy_model
    model = build_model(model.template, settings._replace(correctives=correctives))
    variables = initial_variables(model, seed=0, subject=1, image_size=32)
    # Initial correctives are nearly zero.
    variables = jax.tree.map(lambda x: x + 0.02 * jnp.sin(jnp.arange(x.size)).reshape(x.shape),
                             variables)  # fmt: skip
    _agree(model, variables, 28)


def test_a_linear_model_is_compiled_unchanged(toy_model):
    linear, rig = random_mano(num_vertices=60), hand_template("coarse")
    model = build_linear_model(linear, rig, toy_model[0])
    _agree(model, initial_variables(model, seed=0, subject=1, image_size=32), 45)
