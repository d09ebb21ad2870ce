"""`launch.py fit` as a user runs it."""

import json

import numpy as np
import pytest

from tests.launcher import launch


def test_the_launcher_fits_what_it_can_and_says_what_it_refuses(workdir, predictor, tmp_path):
    joints = predictor.decode(np.full(28, 0.2, np.float32))[1]
    named = zip(predictor.template.joint_names, joints.tolist(), strict=True)
    (tmp_path / "good.json").write_text(json.dumps({"joints": dict(named)}))
    (tmp_path / "poor.json").write_text(json.dumps({"joints": {"wrist": [0, 0, 0]}}))
    done = launch(
        tmp_path, "fit", "--workdir", str(workdir), "--evidence", "*.json", "--out", "out"
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
        (("--evidence", "*.json"), "--out is missing"),
        (("--evidence", "*.json", "--out", "o"), "--evidence: found '*.json', expected files"),
    ],
)
def test_wrong_commands_say_what_is_missing(workdir, tmp_path, arguments, message):
    refused = launch(tmp_path, "fit", "--workdir", str(workdir), *arguments)
    assert refused.returncode == 1
    assert message in refused.stderr + refused.stdout
    assert not (tmp_path / "o").exists()
