"""The compiled model against the model as training has it."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.studio.template.hand_template import hand_template
from dhm.errors import BadInputError
from dhm.networks.build import build_linear_model, build_model
from dhm.networks.compiled import compiled
from dhm.photos.predictor import Predictor
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


@pytest.mark.parametrize("correctives", [("skeleton", "identity", "pose"), ("identity",), ()])
def test_the_identity_corrective_is_in_the_mesh(toy_model, correctives):
    settings, model, _ = toy_model
    model = build_model(model.template, settings._replace(correctives=correctives))
    variables = initial_variables(model, seed=0, subject=1, image_size=32)
    # At the start the correctives are all but nothing.
    variables = jax.tree.map(lambda x: x + 0.02 * jnp.sin(jnp.arange(x.size)).reshape(x.shape),
                             variables)  # fmt: skip
    _agree(model, variables, 28)


def test_a_linear_model_is_compiled_as_it_is(toy_model):
    linear, rig = random_mano(num_vertices=60), hand_template("coarse")
    model = build_linear_model(linear, rig, toy_model[0])
    _agree(model, initial_variables(model, seed=0, subject=1, image_size=32), 45)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"config.json: found no such file, expected the config of the run, with data"),
        ({}, "found data.image_size = None"),
        ({"data": 3}, "found data.image_size = None"),
        ({"data": {"image_size": "64"}}, "found data.image_size = '64'"),
        ({"data": {"image_size": 1}}, "found data.image_size = 1, expected"),
    ],
)
def test_without_the_crops_size_nothing_is_predicted(workdir, tmp_path, content, message):
    export = shutil.copytree(workdir / "export", tmp_path / "export")
    (export / "config.json").unlink()
    if content is not None:
        (export / "config.json").write_text(json.dumps(content))
    with pytest.raises(BadInputError, match=message):
        Predictor(export)
