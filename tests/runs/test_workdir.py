import json
import re
from contextlib import closing

import jax
import numpy as np
import optax
import pytest

from configs import tiny
from data_prep.toy.hand import make_toy_template
from dhm.errors import BadInputError, DhmError
from dhm.networks.build import build_model
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
    workdir.claim_data(config, trained, "a")
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
@pytest.mark.mistake("train", "gone on with for more epochs, other threads or logs", "understood")
def test_what_does_not_shape_the_training_may_change(trained, key, value):
    config = tiny.get_config()
    workdir.claim_data(config, trained, "a")
    config.update_from_flattened_dict({key: value})
    workdir.claim_workdir(config, trained)
    workdir.claim_data(config, trained, "a")
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
@pytest.mark.mistake(
    "train", "the workdir of another config", "refused, with the first setting that differs"
)
def test_another_training_is_refused(trained, key, value, found, now):
    config = tiny.get_config()
    workdir.claim_data(config, trained, "a")
    before = (trained / "config.json").read_bytes()
    config.update_from_flattened_dict({key: value})
    path = trained / "config.json"
    message = f"{path}: found config.{key} = {found}, expected {now} as asked for now"
    with pytest.raises(BadInputError, match=re.escape(message)):
        workdir.claim_workdir(config, trained)
    assert path.read_bytes() == before


@pytest.mark.mistake(
    "checkpoints", "a run of another version, whose config has other settings",
    "refused, with the first of them",
)  # fmt: skip
def test_a_field_that_only_one_of_them_has_is_refused(trained):
    config = tiny.get_config()
    workdir.claim_data(config, trained, "a")
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
            workdir.trained_variables(tmp_path, None)
        (tmp_path / "checkpoints").mkdir(exist_ok=True)


def test_a_workdir_that_does_not_exist_says_so_and_stays_away(tmp_path):
    with pytest.raises(DhmError, match="nowhere holds no checkpoint: train first"):
        workdir.trained_variables(tmp_path / "nowhere", None)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.mistake(
    "train", "records of another capture, template, split or size than the run was begun on",
    "refused; give another --workdir",
)  # fmt: skip
def test_a_run_keeps_to_the_data_it_was_begun_on(trained):
    config = tiny.get_config()
    workdir.claim_data(config, trained, "a" * 64)
    workdir.claim_data(config, trained, "a" * 64)
    config.train.log_every = 7
    with pytest.raises(BadInputError, match=r"data\.fingerprint: found records aaaaaaaaaaaa, exp"):
        workdir.claim_data(config, trained, "b" * 64)
    noted = json.loads((trained / "config.json").read_text())
    assert noted["train"]["log_every"] != 7


def test_before_the_first_checkpoint_the_data_may_change(tmp_path):
    workdir.claim_data(tiny.get_config(), tmp_path, "a" * 64)
    workdir.claim_data(tiny.get_config(), tmp_path, "b" * 64)
    assert (tmp_path / "data.fingerprint").read_text() == "b" * 64 + "\n"


@pytest.fixture
def saved(tmp_path, toy_model):
    """A workdir that holds a checkpoint of the toy model."""
    _, model, variables = toy_model
    with closing(Checkpoints(tmp_path / "checkpoints")) as checkpoints:
        checkpoints.save(create_train_state(model, variables, optax.sgd(0.1)))
    return tmp_path


@pytest.mark.mistake("checkpoints", "records of another template", "refused, with both sizes")
def test_a_model_of_another_template_is_refused(saved, toy_model):
    settings, model, variables = toy_model
    step, restored = workdir.trained_variables(saved, model)
    assert step == 0
    jax.tree.map(np.testing.assert_array_equal, restored, dict(variables))
    other = build_model(make_toy_template(300), settings)
    expected = f"{model.template.num_vertices} vertices, expected {other.template.num_vertices}, "
    with pytest.raises(BadInputError, match=f"found a model of {expected}"):
        workdir.trained_variables(saved, other)


@pytest.mark.mistake(
    "checkpoints", "copied into the workdir of a config with other networks",
    "refused, with the first array that differs",
)  # fmt: skip
def test_a_checkpoint_of_other_networks_is_refused(saved, toy_model):
    settings, model, _ = toy_model
    other = build_model(model.template, settings._replace(width=8))
    with pytest.raises(BadInputError, match=r"checkpoints/0: found float32.*the config's model"):
        workdir.trained_variables(saved, other)
    more = build_model(model.template, settings._replace(head_hidden=(8, 8)))
    with pytest.raises(BadInputError, match=r"checkpoints/0: found .* params/encoder/head"):
        workdir.trained_variables(saved, more)


@pytest.mark.mistake("checkpoints", "copied without the config.json beside them", "refused")
def test_checkpoints_without_their_config_are_refused(trained):
    with pytest.raises(BadInputError, match=r"config\.json: found no such file, expected the conf"):
        workdir.claim_workdir(tiny.get_config(), trained)
    assert not (trained / "config.json").exists()


@pytest.mark.mistake(
    "train", "data that moved since the run was begun",
    "understood: named anew, the same records are gone on with",
)  # fmt: skip
def test_a_run_goes_on_with_records_that_moved(trained):
    config = tiny.get_config()
    old, new = trained / "old", trained / "new"
    old.mkdir()
    config.prepared = str(old)
    workdir.claim_data(config, trained, "a")
    config.prepared = str(new)
    with pytest.raises(BadInputError, match=r"config\.prepared = .*old"):
        workdir.claim_workdir(config, trained)
    old.rename(new)
    workdir.claim_workdir(config, trained)
    before = (trained / "config.json").read_bytes()
    with pytest.raises(BadInputError, match=r"data\.fingerprint: found records a, expected b"):
        workdir.claim_data(config, trained, "b")
    assert (trained / "config.json").read_bytes() == before
    workdir.claim_data(config, trained, "a")
    assert json.loads((trained / "config.json").read_text())["prepared"] == str(new)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param(
            "model.json", "{}", "model.json: found an exported model, expected a folder for the",
            marks=pytest.mark.mistake("train", "an export/ as --workdir", "refused"),
        ),
        pytest.param(
            "prepared.json", "{}", "prepared.json: found prepared records, expected a folder",
            marks=pytest.mark.mistake("train", "a prepared folder as --workdir", "refused"),
        ),
        pytest.param(
            "config.json", '{"theme": "dark"}', "config.json: found no config of a run, expected",
            marks=pytest.mark.mistake(
                "train", "a folder with a config.json of something else as --workdir", "refused"
            ),
        ),
        pytest.param("config.json", "{", "config.json: found damaged JSON"),
    ],
)  # fmt: skip
def test_the_folder_of_something_else_is_no_workdir(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInputError, match=message):
        workdir.require_run_folder(tiny.get_config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == content


@pytest.mark.mistake("train", "a link to a folder as --workdir", "understood")
def test_a_workdir_may_be_a_link(saved, tmp_path, toy_model):
    link = tmp_path / "link [a] ü"
    link.symlink_to(saved, target_is_directory=True)
    workdir.require_run_folder(tiny.get_config(), link)
    assert workdir.trained_variables(link, toy_model[1])[0] == 0


@pytest.mark.mistake(
    "evaluate", "records that moved since the training, named by config.prepared", "understood"
)
def test_a_model_may_be_measured_on_records_in_another_place(trained):
    config = tiny.get_config()
    workdir.claim_data(config, trained, "a")
    config.prepared = "elsewhere"
    workdir.require_same_model(config, trained)
    config.encoder.width = 8
    with pytest.raises(BadInputError, match=r"config\.encoder\.width = 16, expected 8"):
        workdir.require_same_model(config, trained)


def test_processes_may_differ_in_paths_and_threads_alone():
    config = tiny.get_config()
    common = workdir.common_settings(config)
    config.input.num_threads, config.capture = 1, "elsewhere"
    assert workdir.common_settings(config) == common
    config.train.learning_rate = 0.5
    assert workdir.common_settings(config) != common


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
@pytest.mark.mistake(
    "train", "a workdir that is or holds the capture, records, weights or decoder",
    "refused before anything is written",
)  # fmt: skip
def test_a_run_does_not_write_over_what_it_is_made_of(key, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny.get_config()
    workdir.require_run_folder(config, tmp_path / "run")
    config.update_from_flattened_dict({key: value})
    with pytest.raises(BadInputError, match=r"--workdir: found .*run"):
        workdir.require_run_folder(config, tmp_path / "run")
    workdir.require_run_folder(config, tmp_path / "run2")
