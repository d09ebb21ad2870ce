"""A trained model as a folder of plain files, and back.

    params.msgpack   every variable of the model, by flax.serialization
    template.npz     the hand template
    model.json       sizes of the networks
    config.json      the config of the run, for the record

That is enough to rebuild the model without the training data.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
from flax import serialization

from dhm.errors import BadInputError
from dhm.formats.template_npz import read_template, write_template
from dhm.networks.build import ModelSettings, build_model
from dhm.networks.hand_model import HandModel
from dhm.types import HandTemplate

PARAMS_FILE = "params.msgpack"
TEMPLATE_FILE = "template.npz"
MODEL_FILE = "model.json"
CONFIG_FILE = "config.json"


def save_model(
    folder: Path,
    variables: Mapping[str, Any],
    template: HandTemplate,
    settings: ModelSettings,
    config: Mapping[str, Any],
) -> None:
    """Writes a model into a folder, which is made if need be.

    Args:
        folder: Where to.
        variables: "params", "batch_stats" and "identity" of the model.
        template: Its hand.
        settings: Sizes of its networks.
        config: The run's config as plain values, for the record.
    """
    folder.mkdir(parents=True, exist_ok=True)
    host = jax.tree.map(np.asarray, jax.device_get(dict(variables)))
    (folder / PARAMS_FILE).write_bytes(serialization.msgpack_serialize(host))
    write_template(folder / TEMPLATE_FILE, template)
    for name, values in ((MODEL_FILE, settings._asdict()), (CONFIG_FILE, config)):
        (folder / name).write_text(json.dumps(values, indent=1) + "\n")


def load_model(folder: str | Path) -> tuple[HandModel, dict[str, Any]]:
    """Rebuilds a model from the files that `save_model` wrote.

    Returns:
        The model and its variables; `model.apply(variables, images, method="encode")`.

    Raises:
        BadInputError: If a file is missing or damaged, or the parameters do not fit the model.
    """
    folder = Path(folder)
    settings = _read_settings(folder / MODEL_FILE)
    model = build_model(read_template(folder / TEMPLATE_FILE), settings)
    variables = _read_params(folder / PARAMS_FILE)
    _check_fit(model, variables, folder / PARAMS_FILE)
    return model, variables


def _read_settings(path: Path) -> ModelSettings:
    try:
        fields = json.loads(path.read_text())
        return ModelSettings(**{**fields, "head_hidden": tuple(fields["head_hidden"])})
    except FileNotFoundError as error:
        raise BadInputError(path, "no such file", "an exported model") from error
    except (ValueError, TypeError, KeyError) as error:
        raise BadInputError(path, f"{error}", f"JSON with {ModelSettings._fields}") from error


def _read_params(path: Path) -> dict[str, Any]:
    try:
        variables = serialization.msgpack_restore(path.read_bytes())
    except FileNotFoundError as error:
        raise BadInputError(path, "no such file", "an exported model") from error
    except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException) as error:
        raise BadInputError(path, f"damaged data ({error})", "an exported model") from error
    if not isinstance(variables, dict):
        raise BadInputError(path, f"a {type(variables).__name__}", "a tree of variables")
    return variables


def _check_fit(model: HandModel, variables: dict[str, Any], path: Path) -> None:
    keys = {"params": jax.random.key(0), "identity": jax.random.key(0)}
    # The encoder is fully convolutional: any input size has the same variables.
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    wanted = _shapes(jax.eval_shape(model.init, keys, image))
    found = _shapes(variables)
    for name in wanted.keys() | found.keys():
        if wanted.get(name) != found.get(name):
            raise BadInputError(
                path, f"{name} of shape {found.get(name)}", f"{wanted.get(name)} by {MODEL_FILE}"
            )
    for key, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if not np.isfinite(leaf).all():
            raise BadInputError(path, f"{_name(key)} with NaN or infinity", "finite numbers")


def _name(path: tuple) -> str:
    return "/".join(str(entry.key) for entry in path)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): tuple(leaf.shape) for path, leaf in leaves}
