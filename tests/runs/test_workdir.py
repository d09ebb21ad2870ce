import json
import re
from contextlib import closing

import jax
import numpy as np
import optax
import pytest

from configs import tiny
from dhm.errors import BadInputError, DhmError
from dhm.runs import workdir
from dhm.training.checkpoint import Checkpoints
from dhm.training.state import create_train_state


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """A workdir that holds a checkpoint."""
    monkeypatch.setattr(workdir, "newest_step", lambda folder: 5)
    return tmp_path


def test_a_new_workdir_gets_the_config(tmp_path):
    config = tiny.get_config()
    workdir.claim_workdir(config, tmp_path / "a" / "run")
    written = json.loads((tmp_path / "a" / "run" / "config.json").read_text())
    assert written["train"]["lr_drop_epochs"] == list(config.train.lr_drop_epochs)
    assert written["encoder"]["width"] == 16
    assert written.keys() == config.to_dict().keys()


def test_the_same_config_resumes(trained):
    """Tuples come back from JSON as lists; that is no difference."""
    config = tiny.get_config()
    with config.ignore_type():
        config.data.test_sequences = ("0001_RT_fist",)
    workdir.claim_workdir(config, trained)
    before = (trained / "config.json").read_bytes()
    workdir.claim_workdir(config, trained)
    assert (trained / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.epochs", 99),
        ("train.log_every", 3),
        ("train.keep_checkpoints", 9),
        ("input.num_threads", 1),
        ("input.prefetch_batches", 9),
        ("eval.batch_size", 5),
        ("eval.mesh_stride", 7),
        ("export.num_poses", 0),
        ("profile.steps", (2, 3)),
    ],
)
def test_what_does_not_shape_the_training_may_change(trained, key, value):
    config = tiny.get_config()
    workdir.claim_workdir(config, trained)
    config.update_from_flattened_dict({key: value})
    workdir.claim_workdir(config, trained)
    group, name = key.split(".")
    noted = json.loads((trained / "config.json").read_text())[group][name]
    assert noted == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    ("key", "value", "found", "now"),
    [
        ("subject", 3, "1", "3"),
        ("capture", "elsewhere", "''", "'elsewhere'"),
        ("data.image_size", 128, "64", "128"),
        ("encoder.width", 8, "16", "8"),
        ("loss.laplacian", 5.0, "0.1", "5.0"),
        ("train.seed", 1, "0", "1"),
        ("train.batch_size", 8, "4", "8"),
        ("train.lr_drop_epochs", (1,), "[48, 55]", "[1]"),
        # The names of free fields are prefixes of whole words only.
        ("train.learning_rate", 0.5, "0.001", "0.5"),
    ],
)
def test_another_training_is_refused(trained, key, value, found, now):
    config = tiny.get_config()
    workdir.claim_workdir(config, trained)
    before = (trained / "config.json").read_bytes()
    config.update_from_flattened_dict({key: value})
    path = trained / "config.json"
    message = f"{path}: found config.{key} = {found}, expected {now} as asked for now"
    with pytest.raises(BadInputError, match=re.escape(message)):
        workdir.claim_workdir(config, trained)
    assert path.read_bytes() == before


def test_a_field_that_only_one_of_them_has_is_refused(trained):
    config = tiny.get_config()
    workdir.claim_workdir(config, trained)
    noted = json.loads((trained / "config.json").read_text())
    del noted["loss"]["skeleton"]
    (trained / "config.json").write_text(json.dumps(noted))
    message = r"found config\.loss\.skeleton = None, expected 0\.1 as asked for now"
    with pytest.raises(BadInputError, match=message):
        workdir.claim_workdir(config, trained)


def test_a_damaged_config_is_refused_and_kept(trained):
    (trained / "config.json").write_text('{"train": ')
    with pytest.raises(BadInputError, match=r"config\.json: found damaged JSON"):
        workdir.claim_workdir(tiny.get_config(), trained)
    assert (trained / "config.json").read_text() == '{"train": '


def test_before_the_first_checkpoint_another_config_may_take_over(tmp_path):
    config = tiny.get_config()
    workdir.claim_workdir(config, tmp_path)
    config.train.seed = 7
    workdir.claim_workdir(config, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["train"]["seed"] == 7


def test_a_workdir_without_checkpoints_says_train_first(tmp_path):
    for _ in ("no folder for them", "an empty one"):
        with pytest.raises(DhmError, match=rf"^{tmp_path} holds no checkpoint: train first"):
            workdir.trained_variables(tmp_path, 10)
        (tmp_path / "checkpoints").mkdir(exist_ok=True)


def test_a_workdir_that_does_not_exist_says_so_and_stays_away(tmp_path):
    with pytest.raises(DhmError, match="nowhere holds no checkpoint: train first"):
        workdir.trained_variables(tmp_path / "nowhere", 10)
    assert not (tmp_path / "nowhere").exists()


def test_a_run_keeps_to_the_data_it_was_begun_on(trained):
    workdir.claim_data(trained, "a" * 64)
    workdir.claim_data(trained, "a" * 64)
    with pytest.raises(BadInputError, match=r"data\.fingerprint: found records aaaaaaaaaaaa, exp"):
        workdir.claim_data(trained, "b" * 64)


def test_before_the_first_checkpoint_the_data_may_change(tmp_path):
    workdir.claim_data(tmp_path, "a" * 64)
    workdir.claim_data(tmp_path, "b" * 64)
    assert (tmp_path / "data.fingerprint").read_text() == "b" * 64 + "\n"


def test_a_model_of_another_template_is_refused(tmp_path, toy_model):
    _, model, variables = toy_model
    state = create_train_state(model, variables, optax.sgd(0.1))
    with closing(Checkpoints(tmp_path / "checkpoints")) as checkpoints:
        checkpoints.save(state)
    count = model.template.num_vertices
    step, restored = workdir.trained_variables(tmp_path, count)
    assert step == 0
    jax.tree.map(np.testing.assert_array_equal, restored, dict(variables))
    with pytest.raises(BadInputError, match=f"found a model of {count} vertices, expected 7, "):
        workdir.trained_variables(tmp_path, 7)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("decoder.trained", "run"),
        ("decoder.trained", "run/export"),
        ("prepared", "x/../run"),
        ("mano.path", "run/export/mano.pkl"),
        ("augment.backgrounds", "run/checkpoints/pictures"),
    ],
)
def test_a_run_does_not_write_over_what_it_is_made_of(key, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny.get_config()
    workdir.require_separate(config, tmp_path / "run")
    config.update_from_flattened_dict({key: value})
    with pytest.raises(BadInputError, match=r"--workdir: found .*run"):
        workdir.require_separate(config, tmp_path / "run")
    workdir.require_separate(config, tmp_path / "run2")
