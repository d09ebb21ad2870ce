"""The filter against its closed form, a slow twin, and what it is for."""

import numpy as np
import pytest

from dhm.photos.one_euro import OneEuroFilter


def _slow_twin(values, seconds, min_cutoff, beta, speed_cutoff):
    """One number at a time, as the paper's algorithm reads."""

    def alpha(cutoff):
        tau = 1 / (2 * np.pi * cutoff)
        return 1 / (1 + tau / seconds)

    out, last, last_speed = [], None, 0.0
    for x in values:
        if last is None:
            last = x
        else:
            speed = (x - last) / seconds
            last_speed = alpha(speed_cutoff) * speed + (1 - alpha(speed_cutoff)) * last_speed
            a = alpha(min_cutoff + beta * abs(last_speed))
            last = a * x + (1 - a) * last
        out.append(last)
    return out


def test_agrees_with_the_slow_twin():
    values = np.random.default_rng(0).normal(0, 1, (40, 3)).cumsum(axis=0)
    smooth = OneEuroFilter(1.2, 0.4, 0.8)
    found = np.array([smooth(value, 0.04) for value in values])
    for column in range(3):
        expected = _slow_twin(values[:, column], 0.04, 1.2, 0.4, 0.8)
        np.testing.assert_allclose(found[:, column], expected)


def test_without_beta_a_step_is_an_exponential():
    smooth, seconds, cutoff = OneEuroFilter(2.0, 0.0), 1e-4, 2.0
    smooth(np.zeros(1), seconds)
    for _ in range(1000):
        value = smooth(np.ones(1), seconds)
    assert value[0] == pytest.approx(1 - np.exp(-2 * np.pi * cutoff * 0.1), abs=1e-3)


def test_calm_at_rest_and_prompt_in_motion():
    rng, seconds = np.random.default_rng(1), 1 / 30
    still = 0.3 + rng.normal(0, 0.05, 300)
    smooth = OneEuroFilter()
    rest = np.array([smooth(np.array([x]), seconds)[0] for x in still])
    assert rest[30:].std() < 0.5 * still[30:].std()
    assert rest[30:].mean() == pytest.approx(0.3, abs=0.02)
    fast = np.clip((np.arange(60) - 20) * 0.1, 0, 1.5)  # a finger bent in half a second
    lag = {}
    for name, beta in (("calm", 0.0), ("euro", 1.0)):
        smooth = OneEuroFilter(beta=beta)
        lag[name] = np.abs(np.array([smooth(np.array([x]), seconds)[0] for x in fast]) - fast).max()
    assert lag["euro"] < 0.6 * lag["calm"]


def test_a_reset_forgets():
    smooth = OneEuroFilter()
    for value in (0.0, 5.0, 1.0):
        smooth(np.array([value]), 0.1)
    smooth.reset()
    assert smooth(np.array([9.0]), 0.1) == 9
    assert smooth(np.array([9.0]), 0.1) == 9
