"""Turns, shifts and sizes of known pictures and their cameras; that nothing happens unasked."""

import cv2
import numpy as np
import pytest

from dhm.data.augmentation import Augmentation, InputView, augment, moved
from dhm.data.backgrounds import Backgrounds

SQUARE = np.array([[200.0, 0, 31.5], [0, 200.0, 31.5], [0, 0, 1]], np.float32)
ALL_ON = Augmentation(
    30.0, 0.1, 0.05, 0.2, 0.2, 0.2, 0.1, 0.3, 20.0, 1.5, 4.0, 0.5, 0.3, 0.5
)  # fmt: skip


def blob(at=(40, 20), side=64):
    """A Gaussian spot on a grey ground, at column and row."""
    rows, columns = np.indices((side, side))
    spot = np.exp(-((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / 18.0)
    return np.rint(20 + 200 * spot[:, :, None] * [1.0, 0.5, 0.25]).astype(np.uint8)


def view_of(image, mask=None, K=SQUARE):
    return InputView(image, mask, K, np.eye(4, dtype=np.float32))


def change(image, limits, seed=0, mask=None):
    rng = np.random.default_rng(seed)
    return augment(view_of(image, mask), limits, rng, Backgrounds(len(image))).image


def centre_of(picture):
    light = picture[:, :, 0].astype(float) - picture[:, :, 0].min()
    rows, columns = np.indices(light.shape)
    return np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()


def many(limits, count=200):
    return [change(blob(), limits, seed) for seed in range(count)]


def test_nothing_is_changed_without_limits():
    view = view_of(blob())
    limits = Augmentation(backgrounds="somewhere")
    assert augment(view, limits, np.random.default_rng(0), Backgrounds(64)) is view


def test_the_same_draw_gives_the_same_picture():
    mask = np.indices((64, 64))[0] > 20
    one, same, other = (change(blob(), ALL_ON, seed, mask) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one.astype(int) - other).max() > 10


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


def test_no_black_corners_come_in():
    white = np.full((32, 32, 3), 200, np.uint8)
    for seed in range(20):
        picture = change(white, Augmentation(45.0, 0.3, 0.2), seed)
        np.testing.assert_array_equal(picture, white)


# Pixels stretched by the crop, and a hand far from the lens's axis.
STRETCHED = np.array([[900.0, 2.0, -80.0], [0, 640.0, 190.0], [0, 0, 1]], np.float32)


def scene(seed, K=STRETCHED, side=128):
    """Five points in space at their own depths, and of each a picture that shows it as a spot."""
    rng = np.random.default_rng(seed)
    pixels = np.array([[64, 64], [35, 40], [90, 38], [38, 88], [92, 90]]) + rng.uniform(
        -4, 4, (5, 2)
    )
    rays = np.concatenate([pixels, np.ones((5, 1))], axis=1) @ np.linalg.inv(K).T
    in_camera = rays * rng.uniform(400, 700, (5, 1))
    T = np.eye(4, dtype=np.float32)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(rng.normal(size=3))[0], rng.uniform(-50, 50, 3)
    rows, columns = np.indices((side, side))
    views = []
    for u, v in pixels:
        spot = np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / 18.0)
        image = np.rint(200 * spot[..., None].repeat(3, axis=2)).astype(np.uint8)
        views.append(InputView(image, image[..., 0] > 100, K, T))
    return views, (in_camera - T[:3, 3]) @ T[:3, :3]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("turn", "zoom", "shift"),
    [(0.6, 1.0, (0, 0)), (-0.4, 1.0, (0, 0)), (0, 1.1, (0, 0)), (0, 1, (0.05, -0.04)),
     (0.3, 0.9, (-0.03, 0.05))],
)  # fmt: skip
def test_points_in_space_land_on_their_spots(seed, turn, zoom, shift):
    views, world = scene(seed)
    for before, point in zip(views, world, strict=True):
        after = moved(before, turn, zoom, shift)
        T = after.T_camera_world
        pixel = after.K @ (T[:3, :3] @ point + T[:3, 3])
        np.testing.assert_allclose(centre_of(after.image), pixel[:2] / pixel[2], atol=0.15)
        rows, columns = np.nonzero(after.mask)  # the mask goes along
        middle = [columns.mean(), rows.mean()]
        np.testing.assert_allclose(middle, pixel[:2] / pixel[2], atol=0.8)


def test_a_turn_is_a_rotation_of_the_target_and_keeps_the_focal_lengths():
    (before, *_), world = scene(0)
    after = moved(before, 0.5, 1.0, (0, 0))
    np.testing.assert_allclose(after.K, before.K, rtol=1e-6)
    R = after.T_camera_world[:3, :3] @ before.T_camera_world[:3, :3].T
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-5)
    assert np.arccos((np.trace(R) - 1) / 2) == pytest.approx(0.5, abs=1e-4)
    assert np.linalg.det(R) == pytest.approx(1, abs=1e-5)
    one, other = (
        world @ view.T_camera_world[:3, :3].T + view.T_camera_world[:3, 3]
        for view in (before, after)
    )
    np.testing.assert_allclose(one @ R.T, other, atol=1e-3)
    # It keeps the ray through the middle.
    middle = np.linalg.solve(before.K, [63.5, 63.5, 1])
    np.testing.assert_allclose(R @ middle, middle, atol=1e-5)


def test_a_turned_stretched_picture_is_not_sheared():
    """Four corners of a square that faces the camera stay a square of the same size in space."""
    (before, *_), _ = scene(1)
    after = moved(before, 0.7, 1.0, (0, 0))
    K, R = before.K.astype(float), after.T_camera_world[:3, :3] @ before.T_camera_world[:3, :3].T
    ray = np.linalg.solve(K, [63.5, 63.5, 1])
    H = K @ R @ np.linalg.inv(K)
    corners = np.array([[50, 50, 1], [77, 50, 1], [77, 77, 1], [50, 77, 1.0]])
    gone = corners @ H.T
    rays = [p / np.linalg.norm(p, axis=1, keepdims=True)
            for p in (corners @ np.linalg.inv(K).T, gone @ np.linalg.inv(K).T)]  # fmt: skip
    axis = ray / np.linalg.norm(ray)
    np.testing.assert_allclose(rays[0] @ axis, rays[1] @ axis, atol=1e-6)
    np.testing.assert_allclose(rays[0] @ rays[0].T, rays[1] @ rays[1].T, atol=1e-6)


def test_outside_of_the_picture_all_is_background():
    view = view_of(np.full((64, 64, 3), 9, np.uint8), np.ones((64, 64), bool))
    after = moved(view, 0.0, 1.0, (0.25, 0.0))
    assert not after.mask[:, :15].any() and after.mask[:, 17:].all()


_LARGE = dict.fromkeys(("blur_px", "motion_px", "hue_deg", "rotation_deg"), 8.0) | {
    "background": 1.0, "jpeg": 1.0
}  # fmt: skip


def test_every_limit_alone_changes_pictures_and_only_with_a_mask_the_background():
    mask = np.indices((64, 64))[1] < 40
    for name in Augmentation._fields[:-1]:
        limits = Augmentation(**{name: _LARGE.get(name, 0.4)})
        changed = [(change(blob(), limits, seed, mask) != blob()).any() for seed in range(8)]
        assert sum(changed) >= 6, name
    assert (change(blob(), Augmentation(background=1.0)) == blob()).all()
