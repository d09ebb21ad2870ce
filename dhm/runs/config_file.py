"""Configs as files: Python files in configs/, and the JSON that a run keeps of its own."""

import importlib.util
import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dhm.errors import BadInputError, DhmError
from dhm.formats.json_file import flat_fields, read_json
from dhm.formats.paths import existing
from dhm.runs.folder import CONFIG_FILE

# Settings that are paths of files or folders.
_PATHS = ("capture", "prepared", "encoder.weights", "decoder.trained", "decoder.trained_by",
          "mano.path", "augment.backgrounds")  # fmt: skip
_OF_A_CLONE = ("configs", "data_prep")  # packages that an installation does not have
# Settings that configs of this version do not have, and the values that they are fixed to. The
# config of a run may still have them.
_FIXED = {
    "decoder.identity_size": 32,
    "loss.depth_beta": 1.0,
    "train.lr_drop_factor": 0.1,
    "train.muon_rate": 0.02,
}


def load_config(path: Path) -> ConfigDict:
    """Runs `get_config()` of a config file.

    Raises:
        BadInputError: If there is no such file, or it is no Python file, fails, or gives no config.
        ModuleNotFoundError: If it imports other configs, and this is no clone of the project.
    """
    expected = "a config file, e.g. configs/tiny.py"
    if not path.is_file():
        raise BadInputError(path, "a folder" if path.is_dir() else "no such file", expected)
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadInputError(path, "no Python file", expected)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise BadInputError(path, "no function get_config", expected)
        config = module.get_config()
    except DhmError:
        raise
    except Exception as error:  # whatever the file does
        if isinstance(error, ModuleNotFoundError) and error.name in _OF_A_CLONE:
            raise
        found = " ".join(f"{type(error).__name__}: {error}".split())
        line = _line(error, spec.origin)
        raise BadInputError(path, found, "a config file that runs", line) from error
    if not isinstance(config, ConfigDict):
        found = f"a {type(config).__name__} as the result of get_config"
        raise BadInputError(path, found, "a ConfigDict: `return config`")
    resolve_paths(config)
    return config


def _line(error: Exception, file: str | None) -> int | None:
    """Line of a config file that an error came from; None if it is not known."""
    if isinstance(error, SyntaxError):
        return error.lineno if error.filename == file else None
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
    return lines[-1] if lines else None


def resolve_paths(config: ConfigDict) -> None:
    """Puts the paths of the config as the disk has them: `~` expanded, in its Unicode form.

    Raises:
        BadInputError: If a path begins with `~user` of nobody, or several files have its name.
    """
    for key, value in flat_fields(config.to_dict()).items():
        if key in _PATHS and value and (path := existing(value)) != Path(value):
            config.update_from_flattened_dict({key: str(path)})


def plain_config(config: ConfigDict) -> dict[str, Any]:
    """Returns the config as JSON gives it back: with lists for tuples."""
    return json.loads(json.dumps(config.to_dict()))


def config_from_plain(plain: Mapping[str, Any]) -> ConfigDict:
    """Returns the config that `plain_config` was given: with tuples for lists."""
    config = ConfigDict()
    for key, value in plain.items():
        if isinstance(value, Mapping):
            config[key] = config_from_plain(value)
        else:
            config[key] = tuple(value) if isinstance(value, list) else value
    return config


def noted_config(workdir: Path) -> dict[str, Any]:
    """Returns the config that a run is trained with, as plain values.

    Raises:
        BadInputError: If it is missing or damaged, or has another value of a setting that is fixed
            in this version.
    """
    path = workdir / CONFIG_FILE
    noted = read_json(path, "the config of the run")
    for key, fixed in _FIXED.items():
        section, name = key.split(".")
        values = noted.get(section)
        if isinstance(values, dict) and values.pop(name, fixed) != fixed:
            found = f"config.{key} other than {fixed}"
            raise BadInputError(path, found, f"{fixed}, to which this version fixes it")
    return noted
