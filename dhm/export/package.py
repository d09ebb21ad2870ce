"""A trained model as a folder of plain files, and back.

    params.msgpack   every variable of the model, by flax.serialization
    template.npz     the hand template
    linear.pkl       only with a linear model as decoder: that model
    model.json       sizes of the networks, and the SHA-256 of params.msgpack
    config.json      the config of the run, for the record

That is enough to rebuild the model without the training data.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
from flax import serialization

from dhm.errors import BadInputError
from dhm.formats.hand_template import read_template, write_template
from dhm.formats.json_file import read_json, write_json
from dhm.formats.mano_pickle import read_mano, write_mano
from dhm.networks.build import ModelSettings, build_linear_model, build_model
from dhm.networks.hand_model import CORRECTIVES, HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.networks.resnet import STAGES
from dhm.types import HandTemplate, ManoModel

PARAMS_FILE = "params.msgpack"
TEMPLATE_FILE = "template.npz"
LINEAR_FILE = "linear.pkl"
MODEL_FILE = "model.json"
CONFIG_FILE = "config.json"

_MAX_SIZE = 1 << 16  # no layer is wider


def save_model(
    folder: Path,
    variables: Mapping[str, Any],
    template: HandTemplate,
    settings: ModelSettings,
    config: Mapping[str, Any],
    linear: ManoModel | None = None,
) -> None:
    """Writes a model into a folder, which is made if need be.

    Args:
        folder: Where to.
        variables: "params", "batch_stats" and "identity" of the model.
        template: Its hand.
        settings: Sizes of its networks.
        config: The run's config as plain values, for the record.
        linear: The linear model that its decoder is, if it is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    host = jax.tree.map(np.asarray, jax.device_get(dict(variables)))
    params = serialization.msgpack_serialize(host)
    (folder / PARAMS_FILE).write_bytes(params)
    write_template(folder / TEMPLATE_FILE, template)
    (folder / LINEAR_FILE).unlink(missing_ok=True)  # of an earlier export
    if linear is not None:
        write_mano(folder / LINEAR_FILE, linear)
    description = {"settings": settings._asdict(), "params_sha256": _digest(params)}
    for name, values in ((MODEL_FILE, description), (CONFIG_FILE, config)):
        write_json(folder / name, values)


def load_model(folder: str | Path) -> tuple[HandModel | LinearHandModel, dict[str, Any]]:
    """Rebuilds a model from the files that `save_model` wrote.

    Returns:
        The model and its variables; `model.apply(variables, images, method="encode")`.

    Raises:
        BadInputError: If a file is missing or damaged, or the parameters do not fit the model.
    """
    folder = Path(folder)
    settings, digest = read_description(folder / MODEL_FILE)
    template, linear = read_template(folder / TEMPLATE_FILE), folder / LINEAR_FILE
    if linear.exists():
        model = build_linear_model(read_mano(linear), template, settings)
    else:
        model = build_model(template, settings)
    variables = read_params(folder / PARAMS_FILE, digest)
    _check_fit(model, variables, folder / PARAMS_FILE)
    return model, jax.tree.map(jnp.asarray, variables)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadInputError(path, "no such file", "an exported model") from error


def read_description(path: Path) -> tuple[ModelSettings, str]:
    """The sizes of the networks, and the digest of their parameters.

    Raises:
        BadInputError: If the file is missing or damaged.
    """
    description = read_json(path, "an exported model")
    try:
        fields, digest = description["settings"], str(description["params_sha256"])
        lists = {"head_hidden": tuple(fields["head_hidden"])}
        if "correctives" in fields:  # older exports have all
            lists["correctives"] = tuple(fields["correctives"])
        settings = ModelSettings(**{**fields, **lists})
    except (TypeError, KeyError) as error:
        expected = f"params_sha256 and the settings {', '.join(ModelSettings._fields)}"
        raise BadInputError(path, f"{type(error).__name__} {error}", expected) from error
    for name, value in settings._asdict().items():
        if not _is_possible(name, value):
            raise BadInputError(path, f"{name} = {value!r}", "a size that a network can have")
    return settings, digest


def _is_possible(name: str, value: Any) -> bool:
    if name in ("imagenet_normalisation", "stop_pose_gradient"):
        return isinstance(value, bool)
    if name == "correctives":
        return all(one in CORRECTIVES for one in value)
    if name == "pose_corrective_input":
        return value in ("enabled", "all")
    sizes = value if name == "head_hidden" else (value,)
    possible = STAGES if name == "depth" else range(1, _MAX_SIZE)
    return all(type(size) is int and size in possible for size in sizes)


def read_params(path: Path, digest: str) -> dict[str, Any]:
    """The variables of a model, whether they fit it or not.

    Raises:
        BadInputError: If the file is missing, or other than the digest says, or no variables.
    """
    data = _read(path)
    if (found := _digest(data)) != digest:
        raise BadInputError(path, f"damaged data (SHA-256 {found})", f"{digest} by {MODEL_FILE}")
    try:
        variables = serialization.msgpack_restore(data)
    except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException) as error:
        raise BadInputError(path, f"no variables ({error})", "an exported model") from error
    if not isinstance(variables, dict):
        raise BadInputError(path, f"a {type(variables).__name__}", "a tree of variables")
    return variables


def _check_fit(model: HandModel | LinearHandModel, variables: dict[str, Any], path: Path) -> None:
    keys = {"params": jax.random.key(0), "identity": jax.random.key(0)}
    # The encoder is fully convolutional: any input size has the same variables.
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    wanted = _arrays(jax.eval_shape(model.init, keys, image))
    found = _arrays(variables)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name, "nothing") != found.get(name, "nothing"):
            raise BadInputError(
                path,
                f"{found.get(name, 'nothing')} for {name}",
                f"{wanted.get(name, 'nothing')} by {MODEL_FILE}",
            )
    for key, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if not np.isfinite(leaf).all():
            raise BadInputError(path, f"NaN or infinity in {_name(key)}", "finite numbers")


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _arrays(tree: Any) -> dict[str, str]:
    """Type and shape of every leaf, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): _kind(leaf) for path, leaf in leaves}


def _kind(leaf: Any) -> str:
    is_array = isinstance(leaf, np.ndarray | jax.ShapeDtypeStruct)
    return f"{leaf.dtype}{list(leaf.shape)}" if is_array else f"a {type(leaf).__name__}"
