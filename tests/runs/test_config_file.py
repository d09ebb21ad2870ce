import json
from pathlib import Path

import pytest

from configs import demo, tiny
from dhm.errors import BadInputError
from dhm.runs.config_file import (
    config_from_plain,
    load_config,
    noted_config,
    plain_config,
    resolve_paths,
)
from tests.conftest import REPOSITORY


def test_a_config_file_is_run():
    found = load_config(REPOSITORY / "configs" / "demo.py")
    assert found.to_dict() == demo.get_config().to_dict()
    with pytest.raises(BadInputError, match=r"README\.md: found no Python file, expected a config"):
        load_config(REPOSITORY / "README.md")


@pytest.mark.mistake("config files", "a path that begins with `~`", "understood")
def test_paths_may_begin_with_the_home_of_the_user():
    config = tiny.get_config()
    config.capture, config.decoder.trained = "~/capture", "runs/~/export"
    config.data.test_sequences = "~fist"
    resolve_paths(config)
    assert config.capture == str(Path.home() / "capture")
    assert (config.decoder.trained, config.data.test_sequences) == ("runs/~/export", "~fist")


def test_a_config_comes_back_from_plain_values():
    config = demo.get_config()
    plain = json.loads(json.dumps(plain_config(config)))
    assert config_from_plain(plain).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("section", "name", "fixed"),
    [("decoder", "identity_size", 32), ("loss", "depth_beta", 1.0),
     ("train", "lr_drop_factor", 0.1), ("train", "muon_rate", 0.02)],
)  # fmt: skip
@pytest.mark.mistake(
    "config files",
    "the config.json of a run of an earlier version, with settings that are fixed by now",
    "understood; refused if the value was another",
)
def test_a_run_s_config_may_have_settings_that_are_fixed_now(tmp_path, section, name, fixed):
    plain = plain_config(tiny.get_config())
    plain[section][name] = fixed
    (tmp_path / "config.json").write_text(json.dumps(plain))
    assert noted_config(tmp_path) == plain_config(tiny.get_config())
    plain[section][name] = 2 * fixed
    (tmp_path / "config.json").write_text(json.dumps(plain))
    with pytest.raises(BadInputError, match=rf"config\.{section}\.{name} other than {fixed}"):
        noted_config(tmp_path)
