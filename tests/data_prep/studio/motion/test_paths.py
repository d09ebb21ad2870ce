"""Schedules, smooth paths, and the rules that a path obeys."""

import numpy as np
import pytest

from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.motion.paths import (
    EXCLUSION_RADIUS,
    acceptable_path,
    common_schedule,
    near_any,
    open_hand,
    own_schedules,
    random_hand,
    smooth_path,
)
from data_prep.studio.motion.spheres import sphere_hand

NUM_FRAMES = 3
OPEN = open_hand(np.random.default_rng(0))


@pytest.fixture(scope="module")
def schedule():
    return common_schedule(np.random.default_rng(1), NUM_FRAMES, 1, np.zeros(5))


def test_keys_that_always_break_a_rule_raise_an_error(schedule):
    hand = sphere_hand(subject(2))
    with pytest.raises(RuntimeError, match=r"frames \[0, 1, 2\] .* break a rule after 40 draws"):
        acceptable_path(hand, schedule, lambda *_: OPEN, NUM_FRAMES, 1, OPEN[None])


def test_key_that_breaks_a_rule_is_drawn_again(schedule):
    bent = OPEN.copy()
    bent[8:] = np.clip(bent[8:] + 0.5, None, 0.8)
    theta = acceptable_path(
        sphere_hand(subject(2)), schedule, lambda _, version: bent if version else OPEN,
        NUM_FRAMES, 1, OPEN[None],
    )  # fmt: skip
    assert not near_any(theta, OPEN[None], EXCLUSION_RADIUS).any()


def test_near_any_compares_the_largest_difference():
    others = np.zeros((1, 28))
    theta = np.zeros((3, 28))
    theta[1] = 0.29
    theta[2, 5] = 0.31
    np.testing.assert_array_equal(near_any(theta, others, 0.3), [True, True, False])
    assert not near_any(theta, np.zeros((0, 28)), 0.3).any()


def test_path_passes_its_keys_at_rest_and_does_not_overshoot():
    rng = np.random.default_rng(5)
    schedule = common_schedule(rng, 60, 1, np.zeros(5))
    keys = np.stack([random_hand(rng) for _ in range(schedule.times.shape[1])])
    np.testing.assert_array_equal(smooth_path(schedule, keys, 60)[0], keys[0])
    path = smooth_path(schedule, keys, 60)
    assert (path >= keys.min(axis=0)).all() and (path <= keys.max(axis=0)).all()
    at = schedule.times[0, 1]
    frame = round(at)
    assert np.abs(path[frame] - keys[1]).max() < 0.05 * np.abs(keys[0] - keys[2]).max()


@pytest.mark.parametrize("own", [False, True])
def test_path_does_not_depend_on_the_frame_step(own):
    def path(num_frames, frame_step):
        rng = np.random.default_rng(5)
        arguments = (rng, num_frames, frame_step)
        schedule = own_schedules(*arguments) if own else common_schedule(*arguments, np.arange(5))
        keys = np.stack([random_hand(rng) for _ in range(schedule.times.shape[1])])
        return smooth_path(schedule, keys, num_frames)

    np.testing.assert_allclose(path(10, 6), path(60, 1)[::6], atol=1e-9)


def test_own_schedules_cover_all_frames():
    fast = own_schedules(np.random.default_rng(1), 10, 4)
    assert (fast.times[:, 0] <= 0).all() and (fast.times[:, -1] > 10).all()
    schedule = own_schedules(np.random.default_rng(1), 37, 1)
    assert (schedule.times[:, 0] <= 0).all() and (schedule.times[:, -1] > 37).all()
    assert len(np.unique(schedule.times[:, 1])) == 5
    before, after = schedule.keys_around(20)
    for digit in range(5):
        assert schedule.times[digit, before[digit]] <= 20 < schedule.times[digit, after[digit]]
