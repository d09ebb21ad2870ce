"""Colours, blurs, compression and patches against what they should do to known pictures."""

import colorsys

import cv2
import numpy as np
import pytest

from dhm.data.appearance import blurred, colour_matrix, occluded, packed_again, recoloured, streak
from dhm.data.augmentation import Augmentation
from dhm.data.backgrounds import Backgrounds

COLOURS = np.random.default_rng(1).integers(30, 190, (16, 16, 3)).astype(np.uint8)


def many(limits, picture=COLOURS, count=200):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        yield recoloured(picture, rng.uniform(-1, 1), limits, rng).astype(float)


def test_brightness_scales_all_colours_alike_and_saturates():
    one = COLOURS[3, 4].astype(float)
    ratios = np.array([picture[3, 4] / one for picture in many(Augmentation(brightness=0.3))])
    assert 0.69 < ratios.min() < 0.75 and 1.25 < ratios.max() < 1.31
    assert np.ptp(ratios, axis=1).max() < 0.03
    assert (
        recoloured(COLOURS, 1.0, Augmentation(brightness=9.0), np.random.default_rng(0)).max()
        == 255
    )


def test_contrast_keeps_the_mean_and_changes_the_spread():
    spreads = []
    for picture in many(Augmentation(contrast=0.2)):
        assert picture.mean() == pytest.approx(COLOURS.mean(), abs=0.6)
        spreads.append(picture.std() / COLOURS.std())
    assert 0.79 < min(spreads) < 0.83 and 1.17 < max(spreads) < 1.21


def test_gamma_keeps_black_and_white_and_the_order():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    exponents = []
    for picture in many(Augmentation(gamma=0.5), ramp):
        assert picture[0, 0, 0] == 0 and picture[0, 255, 0] == 255
        assert (np.diff(picture[0, :, 0]) >= 0).all()
        exponents.append(np.log(picture[0, 128, 0] / 255) / np.log(128 / 255))
    assert 0.66 < min(exponents) < 0.7 and 1.43 < max(exponents) < 1.51


def test_channel_gains_are_independent():
    gains = np.array(
        [(p / COLOURS).mean(axis=(0, 1)) for p in many(Augmentation(channel_gain=0.2))]
    )
    assert (gains.min(axis=0) < 0.83).all() and (gains.max(axis=0) > 1.17).all()
    assert np.abs(np.corrcoef(gains.T) - np.eye(3)).max() < 0.25


def test_grey_stays_grey_under_any_hue_and_saturation():
    for hue in np.linspace(-3, 3, 13):
        for saturation in (0.0, 0.5, 2.0):
            M = colour_matrix(hue, saturation)
            np.testing.assert_allclose(M @ [90, 90, 90], [90, 90, 90], atol=1e-9)
            np.testing.assert_allclose(M.sum(axis=0), 1, atol=1e-9)  # and the mean of a colour


def test_a_third_of_a_turn_makes_red_green_and_it_is_a_turn():
    np.testing.assert_allclose(colour_matrix(2 * np.pi / 3, 1.0) @ [9, 1, 1], [1, 9, 1], atol=1e-9)
    M = colour_matrix(0.7, 1.0)
    np.testing.assert_allclose(M @ M.T, np.eye(3), atol=1e-12)
    before = colorsys.rgb_to_hsv(0.7, 0.4, 0.3)[0]
    after = colorsys.rgb_to_hsv(*colour_matrix(np.radians(20), 1.0) @ [0.7, 0.4, 0.3])[0]
    assert 360 * (after - before) == pytest.approx(20, abs=3)  # HSV's circle is a hexagon


def test_no_saturation_is_grey():
    picture = cv2.transform(COLOURS, colour_matrix(0.0, 0.0))
    assert np.ptp(picture.astype(int), axis=2).max() == 0


def spot(side=41):
    picture = np.zeros((side, side, 3), np.uint8)
    picture[side // 2, side // 2] = 255
    return picture


def spread_of(kernel):
    """Standard deviations of a picture of light, along its own axes."""
    light = kernel.astype(float) / kernel.sum()
    rows, columns = np.indices(light.shape)
    middle = np.array([(light * rows).sum(), (light * columns).sum()])
    r, c = rows - middle[0], columns - middle[1]
    covariance = [[(light * r * r).sum(), (light * r * c).sum()],
                  [(light * r * c).sum(), (light * c * c).sum()]]  # fmt: skip
    return np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0)), middle


@pytest.mark.parametrize("length", [1.5, 4.0, 9.3])
@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2, 2.5])
def test_a_streak_is_a_line_about_the_middle(length, angle):
    kernel = streak(length, angle)
    assert kernel.sum() == pytest.approx(1) and kernel.min() >= 0
    (across, along), middle = spread_of(kernel)
    np.testing.assert_allclose(middle, (len(kernel) - 1) / 2, atol=1e-6)
    assert across < 0.6
    assert along == pytest.approx(length / np.sqrt(12), abs=0.45)  # of an even line


def test_blurs_keep_the_light_and_reach_their_limits():
    flat = np.full((32, 32, 3), 77, np.uint8)
    sigmas = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        np.testing.assert_array_equal(blurred(flat, 2.0, 5.0, rng), flat)
        soft = blurred(spot(), 2.0, 0.0, np.random.default_rng(seed))[..., 0].astype(float)
        sigmas.append(spread_of(np.where(soft > 0, soft, 0))[0].mean())
    assert max(sigmas) < 2.1 and max(sigmas) > 1.5 and min(sigmas) == 0


def test_a_poor_jpeg_is_worse_than_a_good_one_and_keeps_the_size():
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (64, 48, 3)).astype(np.uint8), (0, 0), 1.0)
    errors = []
    for seed in range(30):
        packed = packed_again(picture, np.random.default_rng(seed))
        assert packed.shape == picture.shape and packed.dtype == np.uint8
        errors.append(np.abs(packed.astype(int) - picture).mean())
    assert 0.5 < min(errors) < max(errors) < 20 and max(errors) > 1.3 * min(errors)


def test_patches_cover_up_to_the_limit_and_leave_the_rest():
    picture = np.full((64, 64, 3), 111, np.uint8)
    covered, backgrounds = [], Backgrounds(64)
    for seed in range(200):
        after = occluded(picture, 0.5, np.random.default_rng(seed), backgrounds)
        differs = (after != picture).any(axis=2)
        covered.append(differs.mean())
        rows, columns = np.nonzero(differs)
        if len(rows):
            assert max(np.ptp(rows), np.ptp(columns)) <= 32 * np.sqrt(2) + 2
    assert 0 <= min(covered) < 0.01 and 0.15 < max(covered) <= 0.27
