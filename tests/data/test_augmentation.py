"""Random changes of input images: their limits, and the camera that moves with an image."""

import colorsys
import logging

import cv2
import numpy as np
import pytest

from dhm.data import augmentation as module
from dhm.data.augmentation import (
    Augmentation,
    Backgrounds,
    InputView,
    augment,
    blur,
    change_colours,
    colour_matrix,
    motion_blur_kernel,
    move_camera,
    occlude,
    random_background,
    recompress,
    replace_background,
)
from dhm.errors import BadInputError

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


def test_moved_images_have_no_black_corners():
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
def test_points_project_onto_the_content_that_moved_with_them(seed, turn, zoom, shift):
    views, world = scene(seed)
    for before, point in zip(views, world, strict=True):
        after = move_camera(before, turn, zoom, shift)
        T = after.T_camera_world
        pixel = after.K @ (T[:3, :3] @ point + T[:3, 3])
        np.testing.assert_allclose(centre_of(after.image), pixel[:2] / pixel[2], atol=0.15)
        rows, columns = np.nonzero(after.mask)  # the mask goes along
        middle = [columns.mean(), rows.mean()]
        np.testing.assert_allclose(middle, pixel[:2] / pixel[2], atol=0.8)


def test_a_turn_is_a_rotation_of_the_target_and_keeps_the_focal_lengths():
    (before, *_), world = scene(0)
    after = move_camera(before, 0.5, 1.0, (0, 0))
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
    after = move_camera(before, 0.7, 1.0, (0, 0))
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


def test_the_mask_is_background_outside_the_image():
    view = view_of(np.full((64, 64, 3), 9, np.uint8), np.ones((64, 64), bool))
    after = move_camera(view, 0.0, 1.0, (0.25, 0.0))
    assert not after.mask[:, :15].any() and after.mask[:, 17:].all()


_LARGE = dict.fromkeys(("blur_px", "motion_px", "hue_deg", "rotation_deg"), 8.0) | {
    "background": 1.0, "jpeg": 1.0
}  # fmt: skip


def test_every_limit_alone_changes_images():
    mask = np.indices((64, 64))[1] < 40
    for name in Augmentation._fields[:-1]:
        limits = Augmentation(**{name: _LARGE.get(name, 0.4)})
        changed = [(change(blob(), limits, seed, mask) != blob()).any() for seed in range(8)]
        assert sum(changed) >= 6, name
    assert (change(blob(), Augmentation(background=1.0)) == blob()).all()


# Colours, blur, compression and occlusion --------------------------------------------------

COLOURS = np.random.default_rng(1).integers(30, 190, (16, 16, 3)).astype(np.uint8)


def recolour(limits, picture=COLOURS, count=200):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        yield change_colours(picture, rng.uniform(-1, 1), limits, rng).astype(float)


def test_brightness_scales_all_colours_alike_and_saturates():
    one = COLOURS[3, 4].astype(float)
    ratios = np.array([picture[3, 4] / one for picture in recolour(Augmentation(brightness=0.3))])
    assert 0.69 < ratios.min() < 0.75 and 1.25 < ratios.max() < 1.31
    assert np.ptp(ratios, axis=1).max() < 0.03
    assert (
        change_colours(COLOURS, 1.0, Augmentation(brightness=9.0), np.random.default_rng(0)).max()
        == 255
    )


def test_contrast_keeps_the_mean_and_changes_the_spread():
    spreads = []
    for picture in recolour(Augmentation(contrast=0.2)):
        assert picture.mean() == pytest.approx(COLOURS.mean(), abs=0.6)
        spreads.append(picture.std() / COLOURS.std())
    assert 0.79 < min(spreads) < 0.83 and 1.17 < max(spreads) < 1.21


def test_gamma_keeps_black_and_white_and_the_order():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    exponents = []
    for picture in recolour(Augmentation(gamma=0.5), ramp):
        assert picture[0, 0, 0] == 0 and picture[0, 255, 0] == 255
        assert (np.diff(picture[0, :, 0]) >= 0).all()
        exponents.append(np.log(picture[0, 128, 0] / 255) / np.log(128 / 255))
    assert 0.66 < min(exponents) < 0.7 and 1.43 < max(exponents) < 1.51


def test_channel_gains_are_independent():
    gains = np.array(
        [(p / COLOURS).mean(axis=(0, 1)) for p in recolour(Augmentation(channel_gain=0.2))]
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
    kernel = motion_blur_kernel(length, angle)
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
        np.testing.assert_array_equal(blur(flat, 2.0, 5.0, rng), flat)
        soft = blur(spot(), 2.0, 0.0, np.random.default_rng(seed))[..., 0].astype(float)
        sigmas.append(spread_of(np.where(soft > 0, soft, 0))[0].mean())
    assert max(sigmas) < 2.1 and max(sigmas) > 1.5 and min(sigmas) == 0


def test_a_poor_jpeg_is_worse_than_a_good_one_and_keeps_the_size():
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (64, 48, 3)).astype(np.uint8), (0, 0), 1.0)
    errors = []
    for seed in range(30):
        packed = recompress(picture, np.random.default_rng(seed))
        assert packed.shape == picture.shape and packed.dtype == np.uint8
        errors.append(np.abs(packed.astype(int) - picture).mean())
    assert 0.5 < min(errors) < max(errors) < 20 and max(errors) > 1.3 * min(errors)


def test_occlusion_covers_at_most_its_limit():
    picture = np.full((64, 64, 3), 111, np.uint8)
    covered, backgrounds = [], Backgrounds(64)
    for seed in range(200):
        after = occlude(picture, 0.5, np.random.default_rng(seed), backgrounds)
        differs = (after != picture).any(axis=2)
        covered.append(differs.mean())
        rows, columns = np.nonzero(differs)
        if len(rows):
            assert max(np.ptp(rows), np.ptp(columns)) <= 32 * np.sqrt(2) + 2
    assert 0 <= min(covered) < 0.01 and 0.15 < max(covered) <= 0.27


# Backgrounds --------------------------------------------------------------------------------


def test_backgrounds_are_replaced_outside_the_mask():
    image, other = np.full((40, 40, 3), 200, np.uint8), np.full((40, 40, 3), 30, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    after = replace_background(image, mask, other)
    assert (after[13:27, 13:27] == 200).all()
    assert (after[:7] == 30).all() and (after[:, 33:] == 30).all()
    edge = after[20, 7:14, 0].astype(int)
    assert (np.diff(edge) >= 0).all() and 60 < edge[3] < 185


def test_random_backgrounds_differ_and_are_not_flat():
    pictures = [random_background(48, np.random.default_rng(seed)) for seed in range(50)]
    assert all(p.shape == (48, 48, 3) and p.dtype == np.uint8 for p in pictures)
    assert len({p.tobytes() for p in pictures}) == 50
    assert np.median([p.std() for p in pictures]) > 15
    means = np.array([p.mean() for p in pictures])
    assert means.min() < 90 and means.max() > 160
    np.testing.assert_array_equal(random_background(48, np.random.default_rng(7)), pictures[7])


def write_flat(path, colour, size=(60, 90)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), colour[::-1], np.uint8))


@pytest.mark.mistake("backgrounds", "pictures in folders of the folder, .PNG", "understood")
def test_backgrounds_are_pieces_of_all_pictures_below_a_folder(tmp_path):
    colours = [(250, 10, 10), (10, 250, 10), (10, 10, 250)]
    for i, colour in enumerate(colours):
        write_flat(tmp_path / f"{i}" / "picture.PNG", colour, ((60, 90), (20, 300), (500, 20))[i])
    (tmp_path / "readme.txt").write_text("no picture")
    (tmp_path / "0" / "._picture.PNG").write_text("no picture")
    write_flat(tmp_path / ".thumbnails" / "picture.PNG", (9, 9, 9), (60, 90))
    source = Backgrounds(32, tmp_path)
    drawn = [source.draw(np.random.default_rng(seed)) for seed in range(40)]
    assert all(d.shape == (32, 32, 3) for d in drawn)
    assert {tuple(d[16, 16]) for d in drawn} == set(colours)


def test_backgrounds_are_pieces_of_all_parts_of_a_picture(tmp_path):
    rows, columns = np.indices((100, 200))
    ramp = np.stack([columns, 2 * rows, np.full_like(rows, 9)], axis=2).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp[..., ::-1])
    source = Backgrounds(32, tmp_path)
    drawn = np.array([source.draw(np.random.default_rng(seed))[..., :2] for seed in range(200)])
    assert drawn[..., 0].min() < 10 and drawn[..., 0].max() > 190
    assert drawn[..., 1].min() < 10 and drawn[..., 1].max() > 190
    flipped = drawn[:, 16, 0, 0].astype(int) > drawn[:, 16, -1, 0]
    assert 0.35 < flipped.mean() < 0.65


@pytest.mark.mistake(
    "backgrounds",
    "a folder of thousands of pictures",
    "understood: 200 spread over it are used, which is said",
)
def test_large_pictures_are_kept_small_and_many_are_thinned(tmp_path, monkeypatch, caplog):
    for i in range(7):
        write_flat(tmp_path / f"{i}.jpg", (30 * i, 0, 0), (400, 800))
    monkeypatch.setattr(module, "MAX_BACKGROUNDS", 3)
    caplog.set_level(logging.INFO)
    source = Backgrounds(64, tmp_path)
    assert [p.shape for p in source._pictures] == [(96, 192, 3)] * 3
    reds = {int(source.draw(np.random.default_rng(seed))[0, 0, 0]) for seed in range(30)}
    assert len(reds) == 3 and max(reds) > 170 and min(reds) < 5
    assert "of the 7 backgrounds" in caplog.text


@pytest.mark.mistake(
    "backgrounds", "a missing folder, one of videos, one picture instead of a folder", "refused"
)
def test_folders_without_a_picture_are_refused(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"video")
    write_flat(tmp_path / "one.jpg", (9, 9, 9))
    for folder in ("missing", "videos", "one.jpg"):
        with pytest.raises(
            BadInputError, match=f"{folder}: found no picture, expected pictures for"
        ):
            Backgrounds(32, tmp_path / folder)


@pytest.mark.mistake(
    "backgrounds",
    "pictures smaller than the crops, grey or with transparency",
    "understood: scaled, in colour, opaque",
)
def test_small_grey_and_transparent_pictures_are_used(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((20, 30), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "clear.png"), np.full((20, 30, 4), (77, 77, 77, 0), np.uint8))
    source = Backgrounds(64, tmp_path)
    for seed in range(8):
        assert (source.draw(np.random.default_rng(seed)) == 77).all()


def test_empty_missing_and_damaged_folders_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BadInputError, match=f"{folder}: found no picture"):
            Backgrounds(32, folder)
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(BadInputError, match=r"a\.jpg: found a picture that does not decode"):
        Backgrounds(32, tmp_path)


@pytest.mark.mistake(
    "backgrounds", "damaged pictures", "left out with a warning; more than half of them are refused"
)
def test_backgrounds_that_cannot_be_read_are_left_out_up_to_half_of_them(tmp_path, caplog):
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((90, 90, 3), 50, np.uint8))
    (tmp_path / "2.jpg").write_bytes(b"damaged")
    assert (Backgrounds(64, tmp_path).draw(np.random.default_rng(0)) == 50).all()
    assert "1 of 3 backgrounds" in caplog.text and "2.jpg: found" in caplog.text
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(b"damaged")
    with pytest.raises(BadInputError, match=r"found 3 of 5 pictures .*0.jpg.*at most half"):
        Backgrounds(64, tmp_path)
