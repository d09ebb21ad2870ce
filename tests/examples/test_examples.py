"""The scripts of examples/, each run as a newcomer would, on a tiny model."""

import runpy
import sys

import pytest

import dhm
from data_prep.studio.template.hand_template import hand_template
from dhm.export.package import save_model
from dhm.formats.hand_template import write_hand_model
from dhm.formats.mano_pickle import write_mano
from dhm.formats.obj import read_obj
from tests.conftest import REPOSITORY
from tests.references.mano import random_mano

FOLDER = REPOSITORY / "examples"
LINES = range(15, 41)


@pytest.fixture(scope="module")
def trained(toy_model, tmp_path_factory):
    """Folder of a run with an export."""
    settings, model, variables = toy_model
    folder = tmp_path_factory.mktemp("run")
    config = {"data": {"image_size": 32}}
    save_model(folder / "export", variables, model.template, settings, config)
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a script with arguments; returns what it prints."""

    def run_example(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(FOLDER / name), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def test_every_example_is_short_and_has_a_test():
    source = (REPOSITORY / "tests" / "examples" / "test_examples.py").read_text()
    scripts = sorted(FOLDER.glob("*.py"))
    assert len(scripts) == 8
    for script in scripts:
        assert len(script.read_text().splitlines()) in LINES, script
        assert f'run("{script.name}"' in source, script


def test_pose_a_hand(run, trained, tmp_path):
    printed = run("pose_a_hand.py", trained, tmp_path / "fist.obj")
    mesh, hand = read_obj(tmp_path / "fist.obj"), dhm.load(trained)
    assert f"{len(mesh.vertices)} vertices" in printed
    assert (mesh.faces == hand.faces).all()
    assert abs(mesh.vertices - hand.template.v_template).max() > 10  # it is bent


def test_render_depth(run):
    first, *_, last = run("render_depth.py").splitlines()
    assert "centre 21.260 mm off" in first
    assert float(last.split()[-3]) < 0.5


def test_fit_to_joints(run, trained):
    printed = run("fit_to_joints.py", trained)
    meshes = printed.split("meshes, mm: [")[1].split("]")[0]
    assert all(float(value) < 5 for value in meshes.split())
    assert "nan" not in printed


def test_animate(run, trained, tmp_path):
    run("animate.py", trained, tmp_path / "frames")
    frames = [read_obj(path).vertices for path in sorted((tmp_path / "frames").iterdir())]
    assert len(frames) == 40
    assert abs(frames[0] - frames[-1]).max() < 1e-3  # all fingers are straight again
    assert abs(frames[0] - frames[20]).max() > 10


def test_batched_kinematics(run):
    printed = run("batched_kinematics.py")
    assert "joints (10, 100, 4, 3) skin (10, 100, 60, 3)" in printed


def test_train_loop(run, trained, tmp_path):
    printed = run("train_loop.py", trained, tmp_path / "out")
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in printed.splitlines()]
    assert len(losses) == 10
    assert min(losses[5:]) < losses[0]
    dhm.load(tmp_path / "out")


def test_mano_forward(run, tmp_path):
    write_mano(tmp_path / "mano.pkl", random_mano(num_vertices=60))
    printed = run("mano_forward.py", tmp_path / "mano.pkl")
    assert "vertices (16, 60, 3) joints (16, 21, 3)" in printed
    assert "nan" not in printed


def test_released_template(run, tmp_path):
    template = hand_template("coarse")
    write_hand_model(template, tmp_path / "hand_model")
    run("released_template.py", tmp_path / "hand_model", tmp_path / "pointing.obj")
    moved = abs(read_obj(tmp_path / "pointing.obj").vertices - template.v_template).max(axis=1)
    assert moved.max() > 40
    assert (moved < 1e-2).mean() > 0.5  # all but the index finger stays
