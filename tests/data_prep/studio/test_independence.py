"""The studio's template on a capture of a hand that is not the studio's."""

import shutil

import pytest

from configs import tiny
from data_prep import sources
from data_prep.studio.template.hand_template import hand_template
from dhm.formats.hand_template import write_hand_model
from dhm.runs import tasks


@pytest.fixture
def foreign_capture(release_mini, tmp_path):
    """A foreign capture with the studio's hand model instead of its own."""
    root = tmp_path / "capture"
    shutil.copytree(release_mini, root)
    shutil.rmtree(root / "hand_model")
    write_hand_model(hand_template("coarse"), root / "hand_model")
    return root


@pytest.mark.slow  # trains 100 epochs
def test_training_learns_a_hand_with_another_rig(foreign_capture, tmp_path):
    """The error decreases to a fraction of the template's own error on the capture."""
    config = tiny.get_config()
    config.capture, config.subject = str(foreign_capture), 4
    config.prepared = str(tmp_path / "prepared")
    config.encoder.width = 8
    config.train.epochs = 100
    config.train.lr_drop_epochs = (85, 95)
    config.train.checkpoint_every_epochs = 100
    tasks.run(("train",), config, tmp_path / "run", sources)
    result = tasks.evaluate_task(config, tmp_path / "run", sources.records(config), sources)
    before, after = result["errors_template"]["overall"], result["errors"]["overall"]
    fitted = result["errors_fitted"]["overall"]
    assert before["P_err"] > 5.0
    assert after["P_err"] < 0.4 * before["P_err"]
    assert fitted["P_err"] < 0.3 * before["P_err"]
