"""The config of a command line: `--config FILE` and `--config.key=value`."""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dhm.cli.flags import CONFIG, SETTING, SETTINGS, UsageError
from dhm.cli.installation import has_clone
from dhm.errors import BadInputError, DhmError
from dhm.formats.paths import existing

if TYPE_CHECKING:
    from ml_collections import ConfigDict


class ConfigError(DhmError):
    """A config file that does not load, or a setting that it does not have."""


class GivenConfig(NamedTuple):
    """A config file with the settings of the command line.

    Attributes:
        config: The values.
        file: The file.
        settings: The words that changed it, "--config.key=value".
        keys: Names of the settings that they changed.
    """

    config: "ConfigDict"
    file: Path
    settings: tuple[str, ...]
    keys: tuple[str, ...]


def read_config(words: Sequence[str]) -> GivenConfig | None:
    """Reads the config that a command line names; the settings' types are ml_collections' matter.

    Args:
        words: Those of the config, "--config=FILE" first.

    Returns:
        The config, or None if the words are none.

    Raises:
        UsageError: If there are settings without a file.
        BadInputError: If there is no such file.
        ConfigError: If the file does not run, or a setting is unknown or of another type.
    """
    if not words:
        return None
    first, *settings = words
    if not first.startswith(f"{CONFIG}="):
        raise UsageError(f"{first}: {CONFIG} is missing, e.g. {CONFIG} configs/tiny.py")
    if any(word.startswith(f"{CONFIG}=") for word in settings):
        raise UsageError(f"{CONFIG} is given twice")
    # Slow to import, and not needed by the commands that take no config.
    from absl import flags
    from ml_collections import config_flags

    from dhm.formats.json_file import flat_fields
    from dhm.runs.config_file import load_config, resolve_paths

    has_clone()  # config files import others of configs/
    file = existing(first.partition("=")[2])
    values = flags.FlagValues()
    argv = ["dhm", *settings]
    try:
        config = load_config(file)
        _require_known(file, settings, flat_fields(config.to_dict()))
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        surplus = values(argv)[1:]
        keys = tuple(config_flags.get_override_values(values["config"]))
    except DhmError:
        raise
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{file}: {_message(error)}") from error
    if surplus:
        raise UsageError(f"{surplus[0]}: neither a flag nor the value of one")
    resolve_paths(config)
    return GivenConfig(config, file, tuple(settings), keys)


def _require_known(file: Path, settings: Sequence[str], known: Iterable[str]) -> None:
    """Refuses a setting that a config does not have; names one that may be meant.

    Raises:
        ConfigError: If there is such a setting.
    """
    for word in settings:
        prefix = next((one for one in SETTINGS if word.startswith(one)), None)
        key = re.split(r"[=\[]", word.removeprefix(prefix or ""))[0]
        if prefix is None or key in known or any(one.startswith(f"{key}.") for one in known):
            continue  # a value, a setting, or a section
        same_name = [one for one in known if one.split(".")[-1] == key.split(".")[-1]]
        near = same_name or difflib.get_close_matches(key, known, 1)
        meant = f"; did you mean {SETTING}{near[0]}?" if near else ""
        raise ConfigError(f"{file}: it has no setting {SETTING}{key}{meant}")


def _message(error: Exception) -> str:
    """The text of an error in a line."""
    text = str(error.args[0]) if error.args else type(error).__name__
    return " ".join(text.split())


def require_equal_signs(settings: Sequence[str]) -> None:
    """Refuses settings that other processes could not tell from files.

    Raises:
        UsageError: If one is not of the form --config.key=value.
    """
    for word in settings:
        if "=" not in word:
            raise UsageError(f"{word}: write it as --config.key=value")


def require_runnable(file: Path, settings: Sequence[str]) -> None:
    """Refuses a config, with settings, that a run would refuse: before others run for hours.

    Args:
        file: The config file.
        settings: "--config.key=value".

    Raises:
        DhmError: Names the file and the setting.
    """
    from dhm.runs.config import check_config, require_used

    given = read_config([f"{CONFIG}={file}", *settings])
    if given is None:
        return
    try:
        check_config(given.config)
        require_used(given.config, given.keys)
    except BadInputError as error:
        raise ConfigError(f"{file}: {error}") from error
