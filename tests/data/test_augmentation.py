"""Turns, shifts, sizes and brightness against what they should do to known pictures."""

import numpy as np
import pytest

from dhm.data.augmentation import Augmentation, augment


def blob(at=(40, 20), side=64):
    """A Gaussian spot on a grey ground, at column and row."""
    rows, columns = np.indices((side, side))
    spot = np.exp(-((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / 18.0)
    return np.rint(20 + 200 * spot[:, :, None] * [1.0, 0.5, 0.25]).astype(np.uint8)


def centre_of(picture):
    light = picture[:, :, 0].astype(float) - picture[:, :, 0].min()
    rows, columns = np.indices(light.shape)
    return np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()


def many(limits, count=200):
    return [augment(blob(), limits, np.random.default_rng(seed)) for seed in range(count)]


def test_nothing_is_changed_without_limits():
    picture = blob()
    assert augment(picture, Augmentation(), np.random.default_rng(0)) is picture


def test_the_same_draw_gives_the_same_picture():
    limits = Augmentation(30.0, 0.1, 0.05, 0.2)
    one, same = (augment(blob(), limits, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one.astype(int) - augment(blob(), limits, np.random.default_rng(5))).max() > 10


def test_turns_are_about_the_middle_and_reach_the_limit():
    middle = np.array([31.5, 31.5])
    away = centre_of(blob()) - middle
    angles = []
    for picture in many(Augmentation(rotation_deg=40.0)):
        turned = centre_of(picture) - middle
        assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(away), abs=0.5)
        cross, dot = away[0] * turned[1] - away[1] * turned[0], away @ turned
        angles.append(np.degrees(np.arctan2(cross, dot)))
    assert -41 < min(angles) < -36 and 36 < max(angles) < 41


def test_shifts_reach_the_limit_along_both_axes():
    moves = np.array([centre_of(p) - centre_of(blob()) for p in many(Augmentation(shift=0.1))])
    assert np.abs(moves).max() < 6.6
    assert (moves.max(axis=0) > 5.8).all() and (moves.min(axis=0) < -5.8).all()


def test_sizes_reach_the_limit():
    def area(picture):
        return (picture[:, :, 0] > 100).sum()

    ratio = np.sqrt([area(p) / area(blob()) for p in many(Augmentation(scale=0.2))])
    assert 0.75 < ratio.min() < 0.87 and 1.13 < ratio.max() < 1.25


def test_brightness_scales_all_colours_alike_and_saturates():
    means = np.array([p[20, 40] / blob()[20, 40] for p in many(Augmentation(brightness=0.3))])
    assert 0.69 < means[:, 1].min() < 0.75 and 1.25 < means[:, 1].max() < 1.31
    np.testing.assert_allclose(means[:, 1], means[:, 2], atol=0.03)
    assert means[:, 0].max() <= 255 / blob()[20, 40, 0]


def test_no_black_corners_come_in():
    white = np.full((32, 32, 3), 200, np.uint8)
    for seed in range(20):
        picture = augment(white, Augmentation(45.0, 0.3, 0.2), np.random.default_rng(seed))
        np.testing.assert_array_equal(picture, white)
