import time

import jax
import pytest

from configs import demo, subject1, tiny
from dhm.runs import estimate


@pytest.mark.parametrize("module", [demo, tiny])
def test_nothing_is_said_of_a_short_training(module, monkeypatch):
    monkeypatch.setattr(estimate, "encoder_seconds", lambda config: pytest.fail("measured"))
    config = module.get_config()
    assert estimate.warning(config, (config.studio.frames or 24) * config.studio.pictures) is None


def test_nothing_is_said_on_an_accelerator(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert estimate.warning(subject1.get_config(), 24000) is None


def test_a_long_training_is_announced_with_the_demo_s_name(monkeypatch):
    monkeypatch.setattr(estimate, "encoder_seconds", lambda config: 0.5)
    message = estimate.warning(subject1.get_config(), 24000)
    assert "35 epochs of 24000 images" in message and "configs/demo.py" in message
    assert f"more than {0.5 * 32 * 35 * 750 / 86400:.0f} days" in message


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "59 seconds"), (600, "10 minutes"), (7200, "2 hours"), (86400 * 9.4, "9 days")],
)
def test_times_are_readable(seconds, text):
    assert estimate._readable(seconds) == text


def test_the_encoder_s_time_is_that_of_running_it():
    """It lies within the time of the call, and 64 times the pixels take several times as long."""
    config = tiny.get_config()
    config.data.image_size = 32
    start = time.perf_counter()
    small = estimate.encoder_seconds(config)
    assert 0 < small < time.perf_counter() - start
    config.data.image_size *= 8
    assert estimate.encoder_seconds(config) > 5 * small
