import numpy as np
import pytest

from dhm.data.sampling import (
    depth_views_by_frame,
    draw_views,
    global_position,
    shuffled_record,
)
from dhm.data.schema import SplitIndex


def index_of(frame_id, has_depth):
    frame_id = np.asarray(frame_id)
    zeros = np.zeros(len(frame_id), int)
    return SplitIndex(frame_id, zeros, zeros, zeros, np.asarray(has_depth, bool))


def test_each_epoch_holds_every_record_once_and_epochs_differ():
    epochs = [[shuffled_record(3, 15 * e + k, 15) for k in range(15)] for e in range(4)]
    assert all(sorted(epoch) == list(range(15)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert epochs[0] != [shuffled_record(4, k, 15) for k in range(15)]


def test_slices_of_processes_make_up_the_batch_in_order():
    slices = [global_position(2, k, 8, p, 4) for p in range(4) for k in range(2)]
    assert slices == list(range(16, 24))


def test_views_of_a_frame_are_its_records_with_depth():
    rng = np.random.default_rng(0)
    frame_id, has_depth = rng.permutation(np.arange(40) % 7), rng.random(40) < 0.4
    has_depth[frame_id == 5] = False
    views = depth_views_by_frame(index_of(frame_id, has_depth))
    expected = [
        [r for r in range(40) if frame_id[r] == frame and has_depth[r]] for frame in range(7)
    ]
    assert [v.tolist() for v in views] == expected
    assert len(views[5]) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
def test_drawn_views_repeat_only_when_there_are_too_few(count):
    views = np.array([4, 9, 2])
    drawn = draw_views(views, count, seed=1, position=5)
    assert len(drawn) == count
    times = np.array([np.sum(drawn == view) for view in views])
    assert times.sum() == count
    assert times.max() - times.min() <= 1


def test_drawn_views_depend_on_position_and_seed_and_favour_none():
    views = np.arange(5)
    draws = np.array([draw_views(views, 2, 7, i) for i in range(600)])
    np.testing.assert_array_equal(draws[17], draw_views(views, 2, 7, 17))
    assert np.any(draws != np.array([draw_views(views, 2, 8, i) for i in range(600)]))
    # 240 expected of each, standard deviation 12.
    assert np.all(np.abs(np.bincount(draws.ravel()) - 240) < 60)


def test_no_views_gives_none():
    assert len(draw_views(np.array([], int), 3, 0, 0)) == 0
