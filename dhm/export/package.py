"""The files of an exported hand model: a folder of plain files, and back.

    params.msgpack   every variable of the model, by flax.serialization
    template.npz     the hand template
    linear.pkl       the linear model, where the decoder is one
    config.json      the config of the run
    model.json       format, version, sizes of the networks, SHA-256 digests of all of these

Together they rebuild the model without the training data. `dhm.load` reads them into a `Hand`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
from flax import serialization

from dhm.errors import BadInputError
from dhm.formats.hand_template import read_template, write_template
from dhm.formats.json_file import read_json, write_json
from dhm.formats.mano_pickle import read_mano, write_mano
from dhm.formats.mano_side import RIGHT
from dhm.networks.build import ModelSettings, build_linear_model, build_model
from dhm.networks.hand_model import CORRECTIVES, HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.networks.resnet import STAGES
from dhm.types import HandTemplate, ManoModel

FORMAT, VERSION = "dhm hand model", 1
"""What model.json calls itself. Version 0 has neither, and the digest of the parameters alone."""
PARAMS_FILE = "params.msgpack"
TEMPLATE_FILE = "template.npz"
LINEAR_FILE = "linear.pkl"
MODEL_FILE = "model.json"
CONFIG_FILE = "config.json"

_REQUIRED = {PARAMS_FILE, TEMPLATE_FILE, CONFIG_FILE, MODEL_FILE}
_DIGESTS = "sha256"
_PARAMS_DIGEST = "params_sha256"  # of version 0
_MAX_SIZE = 1 << 16  # no layer is wider


class Description(NamedTuple):
    """The content of model.json.

    Attributes:
        settings: Sizes of the networks.
        digests: SHA-256 of each file by its name.
    """

    settings: ModelSettings
    digests: dict[str, str]


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
        config: The run's config as plain values.
        linear: The linear model, where its decoder is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    host = jax.tree.map(np.asarray, jax.device_get(dict(variables)))
    (folder / PARAMS_FILE).write_bytes(serialization.msgpack_serialize(host))
    write_template(folder / TEMPLATE_FILE, template)
    write_json(folder / CONFIG_FILE, config)
    files = [PARAMS_FILE, TEMPLATE_FILE, CONFIG_FILE]
    (folder / LINEAR_FILE).unlink(missing_ok=True)  # of an earlier export
    if linear is not None:
        write_mano(folder / LINEAR_FILE, linear)
        files.append(LINEAR_FILE)
    description = {"format": FORMAT, "version": VERSION, "settings": settings._asdict()}
    digests = {name: _digest((folder / name).read_bytes()) for name in files}
    digests[MODEL_FILE] = _digest_of_description(description)
    # Last: an export that is interrupted before has files that do not match their digests.
    write_json(folder / MODEL_FILE, {**description, _DIGESTS: digests})


def load_model(folder: str | Path) -> tuple[HandModel | LinearHandModel, dict[str, Any]]:
    """Rebuilds a model from the files that `save_model` wrote.

    Returns:
        The model and its variables; `model.apply(variables, images, method="encode")`.

    Raises:
        BadInputError: If a file is missing, damaged, or of another format or a newer version, or
            the parameters do not fit the model.
    """
    folder = Path(folder)
    settings, digests = read_description(folder / MODEL_FILE)
    for name in sorted(digests.keys() - {MODEL_FILE, PARAMS_FILE}):
        _read_checked(folder / name, digests[name])
    template, linear = read_template(folder / TEMPLATE_FILE), folder / LINEAR_FILE
    if linear.exists():
        model = build_linear_model(read_mano(linear, RIGHT), template, settings)
    else:
        model = build_model(template, settings)
    variables = read_params(folder / PARAMS_FILE, digests[PARAMS_FILE])
    check_fit(model, variables, folder / PARAMS_FILE, MODEL_FILE)
    return model, jax.tree.map(jnp.asarray, variables)


def read_description(path: Path) -> Description:
    """Reads a model.json: the sizes of the networks, and the digests of the files beside it.

    Raises:
        BadInputError: If it is missing or damaged, or of another format or a newer version.
    """
    content = read_json(path, "an exported model")
    if "format" not in content and _PARAMS_DIGEST in content:
        return Description(_settings(path, content), {PARAMS_FILE: str(content[_PARAMS_DIGEST])})
    if content.get("format") != FORMAT:
        found = f"format {content['format']!r}" if "format" in content else "no format"
        raise BadInputError(path, found, f"{FORMAT!r}, an exported model")
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise BadInputError(path, f"version {version!r}", f"a version from 1 to {VERSION}")
    if version > VERSION:
        expected = f"{VERSION} or less: a newer dhm wrote it, update this one"
        raise BadInputError(path, f"version {version}", expected)
    return Description(_settings(path, content), _digests(path, content))


def _settings(path: Path, content: dict[str, Any]) -> ModelSettings:
    try:
        fields = content["settings"]
        lists = {"head_hidden": tuple(fields["head_hidden"])}
        if "correctives" in fields:  # where they are not listed, the model has all
            lists["correctives"] = tuple(fields["correctives"])
        settings = ModelSettings(**{**fields, **lists})
    except (TypeError, KeyError) as error:
        expected = f"the settings {', '.join(ModelSettings._fields)}"
        raise BadInputError(path, f"{type(error).__name__} {error}", expected) from error
    for name, value in settings._asdict().items():
        if not _is_possible(name, value):
            raise BadInputError(path, f"{name} = {value!r}", "a size that a network can have")
    return settings


def _digests(path: Path, content: dict[str, Any]) -> dict[str, str]:
    digests = content.get(_DIGESTS)
    names = set(digests) if isinstance(digests, dict) else set()
    if not _REQUIRED <= names <= _REQUIRED | {LINEAR_FILE}:
        found = f"digests of {', '.join(sorted(names)) or 'no files'}"
        raise BadInputError(path, found, f"those of {', '.join(sorted(_REQUIRED))}")
    description = {key: content[key] for key in ("format", "version", "settings")}
    if (found := _digest_of_description(description)) != digests[MODEL_FILE]:
        raise BadInputError(path, f"damaged data (SHA-256 {found})", f"{digests[MODEL_FILE]}")
    if LINEAR_FILE not in names and (path.parent / LINEAR_FILE).exists():
        expected = f"no such file, as {MODEL_FILE} does not list it"
        raise BadInputError(path.parent / LINEAR_FILE, "a linear model", expected)
    return {name: str(digest) for name, digest in digests.items()}


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
    """Reads the variables of a model, whether they fit it or not.

    Raises:
        BadInputError: If the file is missing, or other than the digest says, or no variables.
    """
    data = _read_checked(path, digest)
    try:
        variables = serialization.msgpack_restore(data)
    except (ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException) as error:
        raise BadInputError(path, f"no variables ({error})", "an exported model") from error
    if not isinstance(variables, dict):
        raise BadInputError(path, f"a {type(variables).__name__}", "a tree of variables")
    return variables


def check_fit(
    model: HandModel | LinearHandModel, variables: dict[str, Any], path: Path, source: str
) -> None:
    """Compares the variables of a file with those that a model has.

    Args:
        model: The model.
        variables: Those of the file.
        path: The file.
        source: What the model was built by, for the message.

    Raises:
        BadInputError: If one is missing, superfluous, of another shape or type, or not finite.
    """
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
                f"{wanted.get(name, 'nothing')} by {source}",
            )
    for key, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if not np.isfinite(leaf).all():
            raise BadInputError(path, f"NaN or infinity in {_name(key)}", "finite numbers")


def _read_checked(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise BadInputError(path, "no such file", "an exported model") from error
    if (found := _digest(data)) != digest:
        raise BadInputError(path, f"damaged data (SHA-256 {found})", f"{digest} by {MODEL_FILE}")
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of_description(description: Mapping[str, Any]) -> str:
    return _digest(json.dumps(description, sort_keys=True).encode())


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _arrays(tree: Any) -> dict[str, str]:
    """Type and shape of every leaf, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): _kind(leaf) for path, leaf in leaves}


def _kind(leaf: Any) -> str:
    is_array = isinstance(leaf, np.ndarray | jax.ShapeDtypeStruct)
    return f"{leaf.dtype}{list(leaf.shape)}" if is_array else f"a {type(leaf).__name__}"
