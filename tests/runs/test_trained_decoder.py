"""A run that keeps another's decoder: what it takes from it, what it refuses, and the whole job."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from configs import general_demo, tiny
from data_prep import sources
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from dhm.export.package import load_model, save_model
from dhm.formats.hand_template import read_template, write_template
from dhm.formats.mano_pickle import write_mano
from dhm.runs import config as configuration
from dhm.runs import tasks, trained_decoder
from tests.references.mano import random_mano


@pytest.fixture(scope="module")
def export(toy_model, tmp_path_factory):
    """An exported model, as a personal run leaves it."""
    settings, model, variables = toy_model
    folder = tmp_path_factory.mktemp("personal") / "export"
    save_model(folder, variables, model.template, settings, {})
    return folder


@pytest.fixture
def config(toy_prepared, export):
    """A small run on the toy's records with another encoder before the exported decoder."""
    config = tiny.get_config()
    config.prepared = str(toy_prepared)
    config.decoder.trained = str(export)
    config.data.image_size = 32
    config.encoder.width = 8
    config.train.epochs = 2
    config.train.lr_drop_epochs = ()
    config.train.checkpoint_every_epochs = 1
    config.eval.mesh_stride = 6
    config.export.num_poses = 1
    return config


def _leaves(tree):
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def test_the_decoder_s_sizes_are_those_of_the_export(config, toy_model):
    settings, _, _ = toy_model
    found = trained_decoder.network_settings(config)
    assert (found.skin_hidden, found.skeleton_hidden, found.identity_size) == (8, 8, 4)
    assert found.width == 8 and found.head_hidden == (512,) and settings.width == 4
    config.decoder.trained = ""
    assert trained_decoder.network_settings(config) == configuration.model_settings(config)


def test_of_a_trained_model_all_but_the_encoder_is_taken(config, export):
    _, trained = load_model(export)
    new = jax.tree.map(lambda x: x + 1, trained)
    mixed = trained_decoder.with_trained_decoder(new, config)
    for name, part in mixed["params"].items():
        expected = (new if name == "encoder" else trained)["params"][name]
        jax.tree.map(np.testing.assert_array_equal, part, expected)
    assert mixed["batch_stats"] is new["batch_stats"]
    np.testing.assert_array_equal(mixed["identity"]["code"], trained["identity"]["code"])
    config.decoder.trained = ""
    assert trained_decoder.with_trained_decoder(new, config) is new


@pytest.fixture
def copy(export, config, tmp_path):
    """A copy of the export that a test may change."""
    folder = shutil.copytree(export, tmp_path / "copy" / "export")
    config.decoder.trained = str(folder)
    return folder


@pytest.mark.mistake("train, a trained decoder", "the export of a linear model", "refused")
def test_a_linear_decoder_is_refused(config, copy):
    write_mano(copy / "linear.pkl", random_mano(0))
    with pytest.raises(BadInputError, match=r"config\.decoder\.trained: found .* a linear decoder"):
        trained_decoder.network_settings(config)


@pytest.mark.parametrize("change", ["name", "order", "parent"])
@pytest.mark.mistake(
    "train, a trained decoder",
    "data with other joints, another order or other parents",
    "refused, with both",
)
def test_a_decoder_of_other_joints_is_refused(config, copy, toy_prepared, change):
    template = read_template(copy / "template.npz")
    names, parents = list(template.joint_names), list(template.parents)
    if change == "name":
        names[names.index("thumb0")] = "thumb_base"
    elif change == "order":
        names[0], names[1] = names[1], names[0]
    else:
        parents[names.index("index1")] = names.index("middle1")
    other = dataclasses.replace(template, joint_names=tuple(names), parents=tuple(parents))
    write_template(copy / "template.npz", other)
    with pytest.raises(BadInputError, match=r"template\.npz: found (joint_names|parents) .*data"):
        trained_decoder.decoder_template(config, PreparedData(toy_prepared).template)


def test_an_export_has_the_decoder_s_own_hand(
    config, copy, toy_model, toy_prepared, tmp_path, monkeypatch
):
    """The data's may be another: other vertices would move the mesh, or not fit at all."""
    settings, model, variables = toy_model
    larger = dataclasses.replace(model.template, v_template=1.25 * model.template.v_template)
    save_model(copy, variables, larger, settings, {})
    monkeypatch.setattr(tasks, "trained_variables", lambda *_: (1, variables))
    monkeypatch.setattr(tasks, "noted_config", lambda _: {})
    config.export.num_poses = 0
    folder = tasks.export_task(config, tmp_path / "run", PreparedData(toy_prepared), sources)
    found = read_template(folder / "template.npz")
    np.testing.assert_array_equal(found.v_template, larger.v_template)


@pytest.mark.mistake("train, a trained decoder", "a damaged export", "refused")
def test_a_damaged_export_is_refused(config, copy):
    data = bytearray((copy / "params.msgpack").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "params.msgpack").write_bytes(bytes(data))
    with pytest.raises(BadInputError, match="damaged data"):
        trained_decoder.with_trained_decoder({"params": {"encoder": {}}}, config)


@pytest.mark.mistake("train, a trained decoder", "together with the linear decoder", "refused")
def test_a_linear_run_takes_no_trained_decoder(config):
    config.decoder.kind = "linear"
    with pytest.raises(BadInputError, match="expected nothing with the linear decoder"):
        configuration.check_config(config)


def _unwanted(*arguments):
    raise AssertionError(f"called with {arguments}")


@pytest.mark.parametrize(("folder", "maker"), [("gone/export", ""), ("gone", "configs/demo.py")])
@pytest.mark.mistake(
    "train, a trained decoder",
    "a run that is not there, or not exported",
    "refused, with the command that makes it; made first where `decoder.trained_by` says how",
)
def test_a_missing_export_says_how_to_make_it(config, tmp_path, folder, maker):
    config.decoder.trained, config.decoder.trained_by = str(tmp_path / folder), maker
    message = r"gone(/export)?, no model, expected .*launch\.py --config configs/demo\.py --workdir"
    with pytest.raises(BadInputError, match=message):
        trained_decoder.make_missing_decoder(config, _unwanted)
    with pytest.raises(BadInputError, match="no model, expected an exported model"):
        trained_decoder.network_settings(config)


def test_a_missing_export_is_made_first_where_its_config_is_named(config, tmp_path, caplog):
    maker = tmp_path / "other.py"
    maker.write_text("from configs import tiny\n\n\ndef get_config():\n    c = tiny.get_config()\n"
                     "    c.train.seed = 77\n    return c\n")  # fmt: skip
    config.decoder.trained = str(tmp_path / "run" / "export")
    config.decoder.trained_by = str(maker)
    calls = []
    caplog.set_level("INFO")
    trained_decoder.make_missing_decoder(config, lambda *call: calls.append(call))
    ((made, workdir),) = calls
    assert made.train.seed == 77 and workdir == tmp_path / "run"
    assert "run/export is missing:" in caplog.text and "other.py trains in" in caplog.text


def test_nothing_is_made_where_nothing_is_missing(config):
    config.decoder.trained_by = "configs/demo.py"
    trained_decoder.make_missing_decoder(config, _unwanted)
    config.decoder.trained = ""
    trained_decoder.make_missing_decoder(config, _unwanted)


def test_the_general_demo_keeps_the_demo_s_decoder():
    config = general_demo.get_config()
    configuration.check_config(config)
    assert (config.decoder.trained, config.decoder.trained_by) == (
        "runs/demo/export", "configs/demo.py",
    )  # fmt: skip
    assert configuration.num_views(config) == 0 and configuration.mesh_stride(config, 1) == 1


@pytest.mark.slow
def test_the_whole_job(config, export, tmp_path, capsys):
    """Trains, stops, goes on, measures both encoders, exports; the decoder stays bit for bit."""
    workdir = tmp_path / "general"
    config.train.epochs = 1
    tasks.run(("train",), config, workdir, sources)
    config.train.epochs = 2
    tasks.run(("train", "evaluate", "export"), config, workdir, sources)
    before, after = (load_model(folder)[1] for folder in (export, workdir / "export"))
    assert before["params"].keys() == after["params"].keys()
    for name in before["params"].keys() - {"encoder"}:
        old, new = _leaves(before["params"][name]), _leaves(after["params"][name])
        assert all(old[key].tobytes() == new[key].tobytes() for key in old), name
    np.testing.assert_array_equal(before["identity"]["code"], after["identity"]["code"])
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert metrics["encoders"].keys() == {"new", "former"}
    new = metrics["encoders"]["new"]["overall"]
    assert new["P_err"] == pytest.approx(metrics["errors"]["overall"]["P_err"], abs=1e-3)
    assert metrics["encoders"]["former"]["overall"]["adjusted"] != new["adjusted"]
    assert "P_err in mm of the new encoder" in capsys.readouterr().out


@pytest.mark.mistake(
    "train, a trained decoder", "gone on with after that decoder was trained anew", "refused"
)
def test_a_run_does_not_go_on_with_another_decoder(config, copy, toy_model, tmp_path):
    settings, model, variables = toy_model
    trained_decoder.require_same_decoder(variables, config, tmp_path)
    changed = variables | {"identity": {"code": variables["identity"]["code"] + 1}}
    save_model(copy, changed, model.template, settings, {})
    with pytest.raises(BadInputError, match="the decoder of another training than"):
        trained_decoder.require_same_decoder(variables, config, tmp_path)
