"""The sheet has a row for each change, and each row shows one."""

import numpy as np

from data_prep.augmentation_sheet import _SHOWN_PX, _TITLE_PX, ROWS, sheet
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
