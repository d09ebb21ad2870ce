"""`fit` from end to end: evidence of a model's own hands in, the same hands out."""

import json
import logging

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
import trimesh

from dhm.errors import BadInputError
from dhm.evidence.fit import fit
from dhm.export.package import save_model
from dhm.formats.obj import read_obj
from dhm.networks.build import ModelSettings, build_linear_model
from dhm.training.state import initial_variables
from tests.launcher import launch_here
from tests.references.mano import random_mano

K = np.array([[800.0, 0, 160], [0, 800, 120], [0, 0, 1]])


@pytest.fixture(scope="module")
def hand(toy_model):
    """A posed hand of the model 600 mm before a camera: joints, vertices and template."""
    _, model, variables = toy_model
    theta = np.zeros((1, 28), np.float32)
    theta[0, 10::5] = 0.6
    output = model.apply(variables, jnp.asarray(theta), method="decode")
    R = np.array([[0, -1.0, 0], [0, 0, -1.0], [1.0, 0, 0]])
    place = [0, 0, 600] - np.asarray(output.joints[0]).mean(axis=0) @ R.T
    joints, vertices = (np.asarray(x[0]) @ R.T + place for x in (output.joints, output.vertices))
    return joints, vertices, model.template


def _named(names, rows):
    return {name: np.asarray(row, float).tolist() for name, row in zip(names, rows, strict=True)}


@pytest.mark.mistake(
    "fit, joints",
    "a left hand that nobody says is one",
    '`doubtful`: "As a left hand it is 0.0 mm ..."',
)
@pytest.mark.mistake("fit", "a run's `export/` as the workdir", "understood")
@pytest.mark.mistake(
    "fit", "`--left` for files of which some say another side", "understood: the file's side counts"
)
def test_files_of_evidence_become_hands_and_invalid_ones_are_refused(
    hand, exported_run, tmp_path, caplog
):
    joints, vertices, template = hand
    names, out = template.joint_names, tmp_path / "out"
    pixels = joints @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((240, 320, 3), 90, np.uint8))
    mirror = np.array([-1.0, 1, 1])
    contents = {
        "right.json": {
            "side": "right",
            "joints": _named(names, joints),
            "cameras": {"0": {"K": K.tolist(), "image": "photo.png",
                              "points": _named(names, pixels)}},
        },
        "left.json": {"joints": _named(names, joints * mirror)},
        "film.json": {
            "sequence": True,
            "frames": [{"joints": _named(names, joints + 3.0 * t)} for t in range(3)],
        },
        "bad.json": {"joints": {"nose": [0, 0, 0]}},
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content))
    files = [tmp_path / name for name in contents]
    export = exported_run / "export"
    with caplog.at_level(logging.INFO, "dhm"):
        assert fit(exported_run, [files[0], *files[2:]], out) == 1
        assert fit(exported_run, files[:2], out, left=True) == 0
        assert fit(export, files[1:2], tmp_path / "as_right") == 0
    assert "refused" in caplog.text
    assert "'nose'" in caplog.text
    assert "3 of 4 done" not in caplog.text
    assert "2 of 3 done" in caplog.text
    found = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    assert set(found) == {"right", "left", "film_0000", "film_0001", "film_0002"}
    # With one camera, in the origin, the world is that camera's frame.
    assert (found["right"]["frame"], found["left"]["frame"]) == ("camera", "world")
    assert found["right"]["K"] == K.tolist() and found["left"]["K"] is None
    for name, sign in (("right", 1), ("left", -1)):
        result = found[name]
        assert result["side"] == name
        assert result["joint_error_mm"] < 1
        assert result["verdict"] == "plausible" and result["notes"] == []
        error = np.array([result["joints"][n] for n in names]) - joints * [sign, 1, 1]
        assert np.linalg.norm(error, axis=1).max() < 2
        mesh = read_obj(out / f"{name}.obj")
        off = np.linalg.norm(mesh.vertices - vertices * [sign, 1, 1], axis=1)
        assert off.mean() < 2
        centred = trimesh.Trimesh(mesh.vertices - mesh.vertices.mean(axis=0), mesh.faces)
        assert centred.volume > 0  # faces outwards, mirrored or not
        assert (out / f"{name}.glb").is_file()
    as_right = json.loads((tmp_path / "as_right" / "left.json").read_text())
    assert as_right["verdict"] == "doubtful"
    assert "As a left hand it is 0." in as_right["notes"][-1]
    assert "DOUBTFUL: As a left hand" in caplog.text
    assert found["right"]["reprojection_error_px"] < 1
    assert found["left"]["reprojection_error_px"] is None
    overlay = cv2.imread(str(out / "right_overlay.png"))
    assert (overlay != 90).any(axis=-1).mean() > 0.02
    assert not (out / "left_overlay.png").exists()
    steps = [np.array(found[f"film_000{t}"]["joints"]["wrist"]) for t in range(3)]
    np.testing.assert_allclose(np.diff(steps, axis=0), 3, atol=0.1)


@pytest.mark.mistake("fit, flags", "--workdir of no run, or of one not exported", "refused")
@pytest.mark.mistake("fit, flags", "the export itself as --workdir", "understood")
@pytest.mark.mistake("fit, flags", "a run of a linear model, which has other angles", "refused")
def test_a_missing_model_and_a_linear_model_are_refused(toy_model, tmp_path):
    with pytest.raises(BadInputError, match="an exported model"):
        fit(tmp_path, [], tmp_path / "out")
    _, model, _ = toy_model
    settings = ModelSettings(depth=18, width=4, head_hidden=(8,), identity_size=4)
    linear = random_mano(np.random.default_rng(0))
    other = build_linear_model(linear, model.template, settings)
    variables = initial_variables(other, seed=0, subject=1, image_size=32)
    save_model(tmp_path / "export", variables, model.template, settings, {}, linear)
    for workdir in (tmp_path, tmp_path / "export"):
        with pytest.raises(BadInputError, match="LinearHandModel"):
            fit(workdir, [], tmp_path / "out")


@pytest.mark.slow
def test_the_launcher_fits_files_and_reports_the_refused_ones(exported_run, predictor, tmp_path):
    joints = predictor.decode(np.full(28, 0.2, np.float32))[1]
    named = zip(predictor.template.joint_names, joints.tolist(), strict=True)
    (tmp_path / "good.json").write_text(json.dumps({"joints": dict(named)}))
    (tmp_path / "poor.json").write_text(json.dumps({"joints": {"wrist": [0, 0, 0]}}))
    done = launch_here(
        tmp_path, "fit", "--workdir", str(exported_run), "--evidence", "*.json", "--out", "out"
    )
    assert done.returncode == 1, done.stderr[-2000:]
    assert "1 of 2 done, in out" in done.stdout and "refused: poor.json" in done.stdout
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"good.obj", "good.glb", "good.json"}
    content = json.loads((tmp_path / "out" / "good.json").read_text())
    np.testing.assert_allclose(list(content["joints"].values()), joints, atol=1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "o"), "--evidence is missing"),
        pytest.param(
            ("--evidence", "*.json"),
            "--out is missing",
            marks=pytest.mark.mistake("fit", "no `--out` or `--evidence`", "refused"),
        ),
        pytest.param(
            ("--evidence", "*.json", "--out", "o"),
            "--evidence: found '*.json', expected files",
            marks=pytest.mark.mistake("fit", "a file or pattern that is not there", "refused"),
        ),
    ],
)
def test_missing_flags_and_files_are_refused(exported_run, tmp_path, arguments, message):
    refused = launch_here(tmp_path, "fit", "--workdir", str(exported_run), *arguments)
    assert refused.returncode in (1, 2)
    assert message in refused.stderr + refused.stdout
    assert not (tmp_path / "o").exists()


@pytest.mark.mistake(
    "fit",
    "`--out` in the folder of the evidence or in the run's export",
    "refused, nothing is written",
)
def test_results_replace_no_input_and_no_other_result(hand, exported_run, tmp_path, caplog):
    joints, _, template = hand
    named = _named(template.joint_names, joints)
    folder, scans = tmp_path / "in", tmp_path / "scans"
    folder.mkdir()
    scans.mkdir()
    film, other = folder / "a.json", folder / "a_0000.json"
    bad = {"joints": {"wrist": None}, "cameras": {"x": {"K": K.tolist(), "image": "none.png"}}}
    film.write_text(json.dumps({"frames": [{"joints": named}, None, bad, {"joints": named}]}))
    other.write_text(json.dumps({"joints": named}))
    (scans / "b.obj").write_text("mine")
    b = folder / "b.json"
    b.write_text(json.dumps({"joints": named, "scan": "../scans/b.obj"}))
    for path, out in ((other, folder), (b, scans), (other, folder / "x" / "..")):
        with pytest.raises(BadInputError, match=r"--out: found .* over the input"):
            fit(exported_run, [path], out)
    for workdir in (exported_run, exported_run / "export"):
        with pytest.raises(BadInputError, match="in the input"):
            fit(workdir, [other], exported_run / "export")
    assert (scans / "b.obj").read_text() == "mine" and len(list(folder.iterdir())) == 3
    with caplog.at_level(logging.INFO, "dhm"):
        assert fit(exported_run, [film, other], tmp_path / "out") == 1
    assert "a.json: 2 frames, " in caplog.text and "1 without evidence" in caplog.text
    assert "frame 2, camera x, " in caplog.text and "2 of 2 done" in caplog.text
    found = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    sources = {name: content["source"] for name, content in found.items()}
    assert sources == {"a_0000": str(film), "a_0003": str(film), "a_0000_json": str(other)}
