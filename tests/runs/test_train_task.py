from itertools import count
from types import SimpleNamespace

import flax.linen as nn
import jax
import pytest

from configs import demo, subject1, tiny
from dhm.runs import train_task


@pytest.mark.parametrize("module", [demo, tiny])
def test_nothing_is_said_of_a_short_training(module, monkeypatch):
    monkeypatch.setattr(train_task, "encoder_seconds", lambda config: pytest.fail("measured"))
    config = module.get_config()
    num_train = (config.studio.frames or 24) * config.studio.pictures
    assert train_task.long_training_notice(config, num_train) is None


def test_nothing_is_said_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert train_task.long_training_notice(subject1.get_config(), 24000) is None


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
