"""Crops: the box around a hand, and the resampling of pictures, masks and depth maps."""

import numpy as np
import pytest

from dhm.data.crop import (
    MAX_DEPTH_STEP_MM,
    scale_matrix,
    warp_depth,
    warp_image,
    warp_mask,
)


def axis_aligned(sx, sy, tx, ty):
    return np.array([[sx, 0, tx], [0, sy, ty], [0, 0, 1.0]])


GROW = axis_aligned(0.37, 0.45, 3.3, 5.1)
SHRINK = axis_aligned(2.3, 1.6, 4.2, 8.9)


@pytest.mark.parametrize("M", [GROW, SHRINK], ids=["grow", "shrink"])
def test_warped_ramps_have_the_values_of_their_source_pixels(M):
    rows, columns = np.mgrid[:100, :120]
    image = np.stack([2 * columns, 2 * rows, columns + rows], axis=-1).astype(np.uint8)
    warped = warp_image(image, M, 40).astype(float)
    r, c = np.mgrid[:40, :40]
    x, y = M[0, 0] * c + M[0, 2], M[1, 1] * r + M[1, 2]
    expected = np.stack([2 * x, 2 * y, x + y], axis=-1)
    # Half a pixel off would be 1 grey level in the first two channels; rounding is 0.5 each in
    # the low-pass and in the warp, and unbiased.
    error = warped - expected
    assert np.abs(error).max() < 1.3
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.25


def test_shrinking_removes_frequencies_above_the_target_s():
    rows, columns = np.mgrid[:128, :128]
    checkers = np.repeat((((rows + columns) % 2) * 255)[..., None], 3, axis=-1).astype(np.uint8)
    shrunk = warp_image(checkers, axis_aligned(4, 4, 1.5, 1.5), 32)
    assert np.abs(shrunk.astype(float) - 127.5).max() < 8


def test_scaling_keeps_the_first_pixel_in_place():
    M = scale_matrix((10, 20), (25, 80))
    np.testing.assert_allclose(M @ [0, 0, 1], [0, 0, 1])
    np.testing.assert_allclose(M @ [19.5, 9.5, 1], [78, 23.75, 1])


@pytest.mark.parametrize("M", [GROW, SHRINK], ids=["grow", "shrink"])
def test_depth_of_planes_is_exact(M):
    def plane(x, y):
        return 1 / (1e-3 + 1e-6 * x - 1.5e-6 * y)

    rows, columns = np.mgrid[:100, :120]
    warped = warp_depth(plane(columns, rows), M, 40)
    r, c = np.mgrid[:40, :40]
    expected = plane(M[0, 0] * c + M[0, 2], M[1, 1] * r + M[1, 2])
    np.testing.assert_allclose(warped, expected, rtol=1e-10)


@pytest.mark.parametrize("scale", [0.27, 0.83, 1.7])
def test_depth_is_between_its_foreground_neighbours_or_the_nearest(scale):
    """Slow twin: each pixel is its nearest neighbour, or between four neighbours of one surface."""
    rng = np.random.default_rng(int(scale * 100))
    depth = 600 + 3 * rng.random((30, 25))
    depth[rng.random((30, 25)) < 0.1] += 40
    depth[rng.random((30, 25)) < 0.1] = 0
    M = axis_aligned(scale, scale * 0.9, -0.4, 0.3)
    warped = warp_depth(depth, M, 14)
    smooth = 0
    for r in range(14):
        for c in range(14):
            x, y = M[0, 0] * c + M[0, 2], M[1, 1] * r + M[1, 2]
            columns = np.clip([np.floor(x), np.floor(x) + 1], 0, 24).astype(int)
            rows = np.clip([np.floor(y), np.floor(y) + 1], 0, 29).astype(int)
            four = depth[np.ix_(rows, columns)]
            if four.min() > 0 and np.ptp(four) <= MAX_DEPTH_STEP_MM:
                smooth += 1
                assert four.min() - 1e-9 <= warped[r, c] <= four.max() + 1e-9
            else:
                nearest = np.clip([np.floor(y + 0.5), np.floor(x + 0.5)], 0, [29, 24]).astype(int)
                assert warped[r, c] == depth[tuple(nearest)]
    assert 0 < smooth < 14 * 14


@pytest.mark.parametrize("M", [GROW, SHRINK], ids=["grow", "shrink"])
def test_the_edge_of_a_mask_moves_with_the_map(M):
    rows, columns = np.mgrid[:100, :120]
    warped = warp_mask(columns + 0.5 * rows > 61.3, M, 40)
    r, c = np.mgrid[:40, :40]
    beyond = (M[0, 0] * c + M[0, 2]) + 0.5 * (M[1, 1] * r + M[1, 2]) - 61.3
    assert warped.dtype == bool
    assert warped[beyond > 1.2].all() and not warped[beyond < -1.2].any()
