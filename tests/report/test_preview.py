import imageio.v3 as iio
import jax.numpy as jnp
import numpy as np
import pytest

from dhm.data.prepared_data import PreparedData
from dhm.report import pictures
from dhm.report.pictures import TILE, write_preview
from dhm.types import HandOutput


@pytest.fixture(scope="module")
def data(toy_prepared):
    return PreparedData(toy_prepared)


def _true_step(data, record):
    """Stands in for eval_step: the frame's true hand."""
    surface, joints = data.scan("test", record)[0], data.record("test", record).joints
    vertices, posed = jnp.float32(surface[None]), jnp.float32(joints[None])
    output = HandOutput(vertices, posed, vertices, posed)
    return lambda model, variables, batch: (output, jnp.ones(1, bool))


@pytest.fixture
def true_tile(data, toy_model, tmp_path, monkeypatch):
    """Renders the first mesh tile of a record's true hand."""

    def draw(record):
        monkeypatch.setattr(pictures, "eval_step", _true_step(data, record))
        return _tile(_preview(tmp_path / "p.png", data, toy_model[1], {}, [record]), 1)

    return draw


def _preview(path, data, model, variables, records):
    write_preview(path, model, variables, data, records)
    return iio.imread(path)


def _tile(picture, column, row=0):
    return picture[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]


def _mask(tile):
    """Skin is much brighter than the background."""
    return tile.max(axis=-1) > 75


def test_one_row_a_record_and_several_tiles_a_row(data, toy_model, tmp_path):
    _, model, variables = toy_model
    picture = _preview(tmp_path / "p.png", data, model, variables, [0, 4, 5])
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert picture.shape[0] == 3 * TILE
    assert picture.shape[1] % TILE == 0 and picture.shape[1] >= 2 * TILE
    factor = TILE // data.image_size
    for row, record in enumerate([0, 4, 5]):
        given = _tile(picture, 0, row)[factor // 2 :: factor, factor // 2 :: factor]
        np.testing.assert_array_equal(given, data.image("test", record))


@pytest.mark.parametrize("record", range(6))
def test_the_true_hand_covers_the_true_foreground(data, true_tile, record):
    tile = true_tile(record)
    factor = TILE // data.image_size
    share = _mask(tile).reshape(data.image_size, factor, data.image_size, factor).mean((1, 3))
    drawn, seen = share > 0.5, data.depth("test", record) > 0
    assert 0.05 < drawn.mean() < 0.8
    assert (drawn & seen).sum() / (drawn | seen).sum() > 0.95


@pytest.mark.parametrize("record", [0, 5])
def test_the_background_is_dark_and_joints_lie_on_the_hand(data, true_tile, record):
    tile = true_tile(record)
    fields, mask = data.record("test", record), _mask(tile)
    assert tile[~mask].max() < 60 and tile[mask].mean() > 100
    T, factor = fields.T_camera_world, TILE / data.image_size
    pixels = (fields.joints[fields.joint_valid] @ T[:3, :3].T + T[:3, 3]) @ fields.K.T
    # The centre of a crop's pixel is the centre of the block of tile pixels that shows it.
    column, row = ((pixels[:, :2] / pixels[:, 2:] + 0.5) * factor - 0.5).round().astype(int).T
    assert len(row) == 21
    assert mask[row, column].mean() > 0.95


def test_no_record_gives_no_file(data, toy_model, tmp_path):
    _, model, variables = toy_model
    write_preview(tmp_path / "preview.png", model, variables, data, [])
    assert not any(tmp_path.iterdir())
