import re
from itertools import count
from types import SimpleNamespace

import flax.linen as nn
import jax
import pytest

from configs import demo, subject1, tiny
from dhm.errors import BadInputError
from dhm.formats.json_file import write_json
from dhm.runs import train_task
from dhm.runs.config_file import plain_config


@pytest.mark.parametrize("module", [demo, tiny])
def test_nothing_is_said_of_a_short_training(module, monkeypatch):
    monkeypatch.setattr(train_task, "encoder_seconds", lambda config: pytest.fail("measured"))
    config = module.get_config()
    num_train = (config.studio.frames or 24) * config.studio.pictures
    assert train_task.long_training_notice(config, num_train) is None


def test_nothing_is_said_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert train_task.long_training_notice(subject1.get_config(), 24000) is None


@pytest.mark.mistake(
    "train",
    "the paper's sizes on a machine without a GPU, or without jax's packages for it",
    "warning, with the time that it takes",
)
def test_a_long_training_is_announced_with_the_demo_s_name(monkeypatch):
    monkeypatch.setattr(train_task, "encoder_seconds", lambda config: 0.5)
    message = train_task.long_training_notice(subject1.get_config(), 24000)
    assert "35 epochs of 24000 images" in message and "configs/demo.py" in message
    assert f"more than {0.5 * 32 * 35 * 750 / 86400:.0f} days" in message


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "59 seconds"), (600, "10 minutes"), (7200, "2 hours"), (86400 * 9.4, "9 days")],
)
def test_times_are_readable(seconds, text):
    assert train_task._readable(seconds) == text


class _Encoder(nn.Module):
    depth: int
    width: int

    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(self.width)(images.mean((1, 2)))


def test_the_encoder_s_time_is_the_mean_of_a_few_repeats(monkeypatch):
    """By a clock that goes on by six seconds between two looks at it."""
    monkeypatch.setattr(train_task, "ImageEncoder", _Encoder)
    monkeypatch.setattr(train_task, "time", SimpleNamespace(perf_counter=count(0.0, 6.0).__next__))
    assert train_task.encoder_seconds(tiny.get_config()) == 1.0  # three repeats of two images


def _records(num_train: int = 24, without_depth: int = 0) -> SimpleNamespace:
    info = SimpleNamespace(num_without_depth={"train": without_depth})
    return SimpleNamespace(num_train=num_train, info=info)


@pytest.mark.parametrize("module", [demo, tiny, subject1])
def test_nothing_is_said_of_settings_that_take_effect(module):
    assert train_task.settings_notes(module.get_config(), _records(24000)) == []


@pytest.mark.parametrize(
    ("change", "note"),
    [
        pytest.param(
            {"train.epochs": 40}, r"rate does not drop at \[48, 55\] .*: there are 40 epochs",
            marks=pytest.mark.mistake(
                "train", "fewer epochs, and drops of the learning rate behind them", "warning"
            ),
        ),
        pytest.param(
            {"train.warmup_steps": 360}, "warmup_steps = 360 of 360 steps",
            marks=pytest.mark.mistake("train", "a warm-up longer than the training", "warning"),
        ),
    ],
)  # fmt: skip
def test_what_will_not_happen_is_said(change, note):
    config = tiny.get_config()
    config.update_from_flattened_dict(change)
    (found,) = train_task.settings_notes(config, _records())
    assert re.search(note, found)


@pytest.mark.mistake(
    "train", "fewer epochs than the run in the workdir has behind it", "refused, with its step"
)
def test_a_run_that_is_past_its_end_is_refused(tmp_path):
    config = tiny.get_config()
    for step in (None, 0, 360):
        train_task.require_steps(config, _records(), tmp_path, step)
    message = f"config.train.epochs: found 60, which end at step 360, expected more, as {tmp_path}"
    with pytest.raises(BadInputError, match=message):
        train_task.require_steps(config, _records(), tmp_path, 361)


@pytest.mark.mistake("train", "a hand from records without depth maps", "warning")
def test_a_hand_without_depth_maps_is_said_to_learn_from_joints():
    config = tiny.get_config()
    (found,) = train_task.settings_notes(config, _records(24, without_depth=24))
    assert "no training record has a depth map" in found
    assert train_task.settings_notes(config, _records(24, without_depth=23)) == []
    config.decoder.trained = "x"
    assert train_task.settings_notes(config, _records(24, without_depth=24)) == []


@pytest.mark.mistake(
    "train, --replay", "other settings than the run's", "warning, with the settings"
)  # fmt: skip
def test_a_step_with_other_settings_than_its_run_is_said_to_have_them(
    tmp_path, monkeypatch, caplog
):
    config = tiny.get_config()
    write_json(tmp_path / "config.json", plain_config(config))
    for name in ("make_training_model", "open_records", "_step_spec"):
        monkeypatch.setattr(train_task, name, lambda *_: None)
    for name in ("format_terms", "step_terms", "describe", "find_non_finite"):
        monkeypatch.setattr(train_task, name, lambda *_: "")
    monkeypatch.setattr(train_task, "read_replay", lambda path: SimpleNamespace(step=7, samples=()))
    path = tmp_path / "replay" / "step_7.msgpack"
    config.eval.batch_size = 1
    train_task.replay(config, path, None)
    assert not caplog.records
    config.loss.depth, config.train.encoder_dtype = 2.0, "bfloat16"
    train_task.replay(config, path, None)
    (record,) = caplog.records
    assert "other values of config.loss.depth, config.train.encoder_dtype" in record.getMessage()
