"""Backgrounds of a folder and made up; what is put behind a mask."""

import logging

import cv2
import numpy as np
import pytest

from dhm.data import backgrounds as module
from dhm.data.backgrounds import Backgrounds, made_up, replaced
from dhm.errors import BadInputError


def test_a_background_comes_behind_the_mask_alone():
    image, other = np.full((40, 40, 3), 200, np.uint8), np.full((40, 40, 3), 30, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    after = replaced(image, mask, other)
    assert (after[13:27, 13:27] == 200).all()
    assert (after[:7] == 30).all() and (after[:, 33:] == 30).all()
    edge = after[20, 7:14, 0].astype(int)
    assert (np.diff(edge) >= 0).all() and 60 < edge[3] < 185


def test_made_up_ones_differ_and_are_not_flat():
    pictures = [made_up(48, np.random.default_rng(seed)) for seed in range(50)]
    assert all(p.shape == (48, 48, 3) and p.dtype == np.uint8 for p in pictures)
    assert len({p.tobytes() for p in pictures}) == 50
    assert np.median([p.std() for p in pictures]) > 15
    means = np.array([p.mean() for p in pictures])
    assert means.min() < 90 and means.max() > 160
    np.testing.assert_array_equal(made_up(48, np.random.default_rng(7)), pictures[7])


def write(path, colour, size=(60, 90)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), colour[::-1], np.uint8))


def test_pieces_of_all_pictures_of_a_folder_and_its_folders_are_drawn(tmp_path):
    colours = [(250, 10, 10), (10, 250, 10), (10, 10, 250)]
    for i, colour in enumerate(colours):
        write(tmp_path / f"{i}" / "picture.PNG", colour, ((60, 90), (20, 300), (500, 20))[i])
    (tmp_path / "readme.txt").write_text("no picture")
    source = Backgrounds(32, tmp_path)
    drawn = [source.draw(np.random.default_rng(seed)) for seed in range(40)]
    assert all(d.shape == (32, 32, 3) for d in drawn)
    assert {tuple(d[16, 16]) for d in drawn} == set(colours)


def test_pieces_come_from_everywhere_in_a_picture(tmp_path):
    rows, columns = np.indices((100, 200))
    ramp = np.stack([columns, 2 * rows, np.full_like(rows, 9)], axis=2).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "ramp.png"), ramp[..., ::-1])
    source = Backgrounds(32, tmp_path)
    drawn = np.array([source.draw(np.random.default_rng(seed))[..., :2] for seed in range(200)])
    assert drawn[..., 0].min() < 10 and drawn[..., 0].max() > 190
    assert drawn[..., 1].min() < 10 and drawn[..., 1].max() > 190
    flipped = drawn[:, 16, 0, 0].astype(int) > drawn[:, 16, -1, 0]
    assert 0.35 < flipped.mean() < 0.65


def test_large_pictures_are_kept_small_and_many_are_thinned(tmp_path, monkeypatch, caplog):
    for i in range(7):
        write(tmp_path / f"{i}.jpg", (30 * i, 0, 0), (400, 800))
    monkeypatch.setattr(module, "MAX_PICTURES", 3)
    caplog.set_level(logging.INFO)
    source = Backgrounds(64, tmp_path)
    assert [p.shape for p in source._pictures] == [(96, 192, 3)] * 3
    reds = {int(source.draw(np.random.default_rng(seed))[0, 0, 0]) for seed in range(30)}
    assert len(reds) == 3 and max(reds) > 170 and min(reds) < 5
    assert "of the 7 backgrounds" in caplog.text


def test_empty_missing_and_damaged_folders_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BadInputError, match=f"{folder}: found no picture"):
            Backgrounds(32, folder)
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(BadInputError, match=r"a\.jpg: found a picture that does not decode"):
        Backgrounds(32, tmp_path)
