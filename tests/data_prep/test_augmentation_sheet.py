"""The sheet has a row for each change, and each row shows one."""

import re

import numpy as np
import pytest

from data_prep import augmentation_sheet as module
from data_prep.augmentation_sheet import _SHOWN_PX, _TITLE_PX, ROWS, main, sheet
from dhm.data.augmentation import Augmentation, Backgrounds
from dhm.data.prepared_data import PreparedData


def test_every_limit_has_a_row_that_changes_pictures(toy_prepared):
    shown = {name for limits in ROWS.values() for name in limits}
    assert shown == set(Augmentation._fields) - {"backgrounds"}
    picture = sheet(PreparedData(toy_prepared), [0, 2, 4], Backgrounds(32))
    assert picture.shape == (len(ROWS) * _SHOWN_PX, _TITLE_PX + 3 * _SHOWN_PX, 3)
    rows = picture[:, _TITLE_PX:].reshape(len(ROWS), _SHOWN_PX, -1).astype(int)
    for row, title in zip(rows[1:], list(ROWS)[1:], strict=True):
        assert np.abs(row - rows[0]).mean() > 0.3, title


@pytest.fixture
def no_filming(monkeypatch):
    monkeypatch.setattr(module, "_filmed", lambda folder: pytest.fail("filmed"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(
            ["sheet"],
            "OUT: found .*sheet, expected the name of a picture",
            marks=pytest.mark.mistake("augmentation_sheet", "OUT without .jpg", "refused at once"),
        ),
        pytest.param(
            ["missing/sheet.jpg"],
            "OUT: found .*expected a file in a folder that is there",
            marks=pytest.mark.mistake(
                "augmentation_sheet", "OUT in a folder that is not there", "refused at once"
            ),
        ),
        pytest.param(
            ["sheet.jpg", "--backgrounds", "missing"],
            "missing: found no picture, expected pictures for backgrounds",
            marks=pytest.mark.mistake(
                "augmentation_sheet", "--backgrounds without a picture", "refused at once"
            ),
        ),
        pytest.param(
            ["sheet.jpg", "--prepared", "capture"],
            "capture.*prepared",
            marks=pytest.mark.mistake(
                "augmentation_sheet", "--prepared: a capture that is not prepared", "refused"
            ),
        ),
    ],
)
def test_mistakes_are_refused_before_anything_is_drawn(
    tmp_path, monkeypatch, capsys, no_filming, words, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "capture" / "images").mkdir(parents=True)
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and re.search(said, error), error
    assert not (tmp_path / "sheet.jpg").exists()


def test_a_sheet_of_records_is_written(toy_prepared, tmp_path, no_filming):
    assert main([str(tmp_path / "sheet.png"), "--prepared", str(toy_prepared)]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000
