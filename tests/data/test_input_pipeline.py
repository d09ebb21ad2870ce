"""Streams of batches: order, slices of processes, target views, damage and augmentation."""

import itertools

import cv2
import numpy as np
import pytest

from dhm.data.augmentation import Augmentation
from dhm.data.input_pipeline import (
    PADDING,
    depth_views_by_frame,
    draw_views,
    global_position,
    make_dataset,
    num_batches,
    shuffled_record,
)
from dhm.data.prepared_data import PreparedData
from dhm.data.schema import SplitIndex
from dhm.errors import BadInputError, DamagedRecordError
from dhm.types import Batch, Camera

OPTIONS = {"batch_size": 4, "num_views": 2, "seed": 7, "shuffle": True, "num_threads": 2}


def leaves(batch):
    return [*batch[:4], *batch.target_camera, *batch[5:]]


def take(dataset, count):
    iterator = iter(dataset)
    batches = list(itertools.islice(iterator, count))
    iterator.close()
    return batches


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for a, b in zip(leaves(one), leaves(other), strict=True):
            np.testing.assert_array_equal(a, b)


def index_of(frame_id, has_depth):
    frame_id = np.asarray(frame_id)
    zeros = np.zeros(len(frame_id), int)
    return SplitIndex(frame_id, zeros, zeros, zeros, np.asarray(has_depth, bool))


def test_each_epoch_holds_every_record_once_and_epochs_differ():
    epochs = [[shuffled_record(3, 15 * e + k, 15) for k in range(15)] for e in range(4)]
    assert all(sorted(epoch) == list(range(15)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert epochs[0] != [shuffled_record(4, k, 15) for k in range(15)]


def test_slices_of_processes_concatenate_to_the_batch():
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
def test_views_repeat_only_if_there_are_too_few(count):
    views = np.array([4, 9, 2])
    drawn = draw_views(views, count, seed=1, position=5)
    assert len(drawn) == count
    times = np.array([np.sum(drawn == view) for view in views])
    assert times.sum() == count
    assert times.max() - times.min() <= 1


def test_views_are_uniform_and_depend_on_position_and_seed():
    views = np.arange(5)
    draws = np.array([draw_views(views, 2, 7, i) for i in range(600)])
    np.testing.assert_array_equal(draws[17], draw_views(views, 2, 7, 17))
    assert np.any(draws != np.array([draw_views(views, 2, 8, i) for i in range(600)]))
    # 240 expected of each, standard deviation 12.
    assert np.all(np.abs(np.bincount(draws.ravel()) - 240) < 60)


def test_no_views_are_drawn_of_none():
    assert len(draw_views(np.array([], int), 3, 0, 0)) == 0


def test_shapes_and_types(prepared):
    (batch,) = take(make_dataset(prepared, "train", **OPTIONS), 1)
    assert isinstance(batch, Batch)
    found = [(leaf.shape, leaf.dtype.name) for leaf in leaves(batch)]
    assert found == [
        ((4, 24, 24, 3), "uint8"),
        ((4, 4, 3), "float32"),
        ((4, 4), "bool"),
        ((4, 2, 24, 24), "float32"),
        ((4, 2, 3, 3), "float32"),
        ((4, 2, 4, 4), "float32"),
        ((4,), "int32"),
        ((4,), "int32"),
    ]


@pytest.mark.parametrize("batch_size", [4, 32])
def test_batches_may_span_epochs(prepared, batch_size):
    options = OPTIONS | {"batch_size": batch_size, "num_views": 0}
    batches = take(make_dataset(prepared, "train", **options), 120 // batch_size + 1)
    records = np.concatenate([batch.record for batch in batches])
    epochs = records[:120].reshape(8, 15)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(15), (8, 1)))


def test_four_processes_see_the_batches_of_one(prepared):
    options = OPTIONS | {"batch_size": 8}
    whole = take(make_dataset(prepared, "train", **options), 5)
    slices = [
        take(make_dataset(prepared, "train", process_index=p, process_count=4, **options), 5)
        for p in range(4)
    ]
    for step, batch in enumerate(whole):
        parts = zip(*(leaves(slices[p][step]) for p in range(4)), strict=True)
        for leaf, part in zip(leaves(batch), parts, strict=True):
            np.testing.assert_array_equal(np.concatenate(part), leaf)


def test_a_stream_can_start_at_any_step(prepared):
    whole = take(make_dataset(prepared, "train", **OPTIONS), 9)
    assert_same(take(make_dataset(prepared, "train", start_step=6, **OPTIONS), 3), whole[6:])


@pytest.mark.parametrize("num_threads", [0, 1, 5])
def test_the_number_of_threads_does_not_matter(prepared, num_threads):
    whole = take(make_dataset(prepared, "train", **OPTIONS), 4)
    options = OPTIONS | {"num_threads": num_threads}
    assert_same(take(make_dataset(prepared, "train", **options), 4), whole)


def test_another_seed_gives_another_stream(prepared):
    one, other = (
        take(make_dataset(prepared, "train", **OPTIONS | {"seed": seed}), 4) for seed in (7, 8)
    )
    assert any(np.any(a.record != b.record) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("num_views", [1, 2, 3, 5])
def test_targets_are_views_of_the_same_frame_with_depth(prepared, num_views):
    data = PreparedData(prepared)
    index = data.split_index("train")
    depths = [data.depth("train", r) for r in range(15)]
    records = [data.record("train", r) for r in range(15)]
    for batch in take(make_dataset(data, "train", **OPTIONS | {"num_views": num_views}), 8):
        for i, own in enumerate(batch.record):
            allowed = np.flatnonzero(index.has_depth & (index.frame_id == index.frame_id[own]))
            drawn = [
                r
                for j in range(num_views)
                for r in allowed
                if np.array_equal(batch.target_depth[i, j], depths[r])
                and np.array_equal(batch.target_camera.K[i, j], records[r].K)
                and np.array_equal(
                    batch.target_camera.T_camera_world[i, j], records[r].T_camera_world
                )
            ]
            assert len(drawn) == num_views
            assert len(set(drawn)) == min(num_views, len(allowed))
            np.testing.assert_array_equal(batch.joints[i], records[own].joints)
            np.testing.assert_array_equal(batch.image[i], data.image("train", own))
            assert batch.frame[i] == index.frame[own]


def test_a_frame_without_depth_gets_background(prepared):
    data = PreparedData(prepared)
    splits = data.index.splits
    no_depth = splits["train"]._replace(has_depth=np.zeros(15, bool))
    data.index = data.index._replace(splits={"train": no_depth})
    # Its own map is empty, as that of a record without depth is.
    record_without = 1
    options = OPTIONS | {"shuffle": False, "batch_size": 15}
    (batch,) = take(make_dataset(data, "train", **options), 1)
    assert not batch.target_depth[record_without].any()
    own = data.record("train", record_without)
    np.testing.assert_array_equal(batch.target_camera.K[record_without], [own.K, own.K])


def test_an_ordered_pass_ends_with_marked_padding(prepared):
    batches = take(make_dataset(prepared, "train", **OPTIONS | {"shuffle": False}), 100)
    assert len(batches) == num_batches(15, 4) == 4
    records = np.concatenate([batch.record for batch in batches])
    np.testing.assert_array_equal(records, [*range(15), PADDING])
    np.testing.assert_array_equal(batches[-1].image[3], batches[-1].image[2])


def test_slices_of_an_ordered_pass_are_equally_long(prepared):
    options = OPTIONS | {"shuffle": False, "batch_size": 8}
    slices = [
        take(make_dataset(prepared, "train", process_index=p, process_count=4, **options), 100)
        for p in range(4)
    ]
    records = [np.concatenate([s[i].record for s in slices]) for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(records), [*range(15), PADDING])
    assert {len(s) for s in slices} == {2}


def test_an_ordered_pass_may_start_later(prepared):
    options = OPTIONS | {"shuffle": False, "start_step": 3}
    (batch,) = take(make_dataset(prepared, "train", **options), 100)
    np.testing.assert_array_equal(batch.record, [12, 13, 14, PADDING])


def test_without_target_views_no_depth_is_read(prepared):
    (batch,) = take(make_dataset(prepared, "train", **OPTIONS | {"num_views": 0}), 1)
    assert batch.target_depth.shape == (4, 0, 24, 24)
    assert batch.target_camera.K.shape == (4, 0, 3, 3)


def test_only_the_first_sample_of_each_stride_has_target_views(prepared, monkeypatch):
    whole = take(make_dataset(prepared, "train", **OPTIONS), 3)
    data = PreparedData(prepared)
    reads, read = [], data.depth_codes
    monkeypatch.setattr(data, "depth_codes", lambda *args: reads.append(args[1]) or read(*args))
    options = OPTIONS | {"target_stride": 2, "num_threads": 0}
    some = take(make_dataset(data, "train", **options), 3)
    assert len(reads) <= 3 * 2 * OPTIONS["num_views"]
    for batch, full in zip(some, whole, strict=True):
        assert_same(
            [batch],
            [
                full._replace(
                    target_depth=full.target_depth[::2],
                    target_camera=Camera(*(x[::2] for x in full.target_camera)),
                )
            ],
        )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"batch_size": 0}, "batch_size: found 0"),
        ({"process_count": 3}, "batch_size: found 4, expected a positive multiple of 3"),
        ({"process_index": 1}, "process_index: found 1 of 1"),
        ({"num_views": -1}, "num_views: found -1"),
        ({"seed": -1}, "seed: found -1, expected 0 or more"),
        ({"start_step": -1}, "start_step: found -1"),
        ({"target_stride": 3}, "target_stride: found 3, expected a divisor of the 4 samples"),
        ({"target_stride": 0}, "target_stride: found 0"),
    ],
)
def test_impossible_arguments_are_refused(prepared, option, message):
    with pytest.raises(BadInputError, match=message):
        make_dataset(prepared, "train", **OPTIONS | option)


def test_a_damaged_record_is_named_while_iterating(prepared, monkeypatch):
    data = PreparedData(prepared)
    good = data.record("train", 0)
    monkeypatch.setattr(data, "record", lambda *_: good._replace(image=b"nonsense"))
    with pytest.raises(BadInputError, match=r"record [0-9]+: found a picture that does not decode"):
        take(make_dataset(data, "train", **OPTIONS), 1)


def _damage(monkeypatch, records: set[int]) -> None:
    """Makes some training records unreadable for every reader."""
    read = PreparedData.record

    def record(self, split, index):
        fields = read(self, split, index)
        return fields._replace(image=b"", depth=b"nonsense") if index in records else fields

    monkeypatch.setattr(PreparedData, "record", record)


def test_damaged_records_are_replaced_in_the_same_way_every_time(prepared, monkeypatch, caplog):
    before = take(make_dataset(prepared, "train", **OPTIONS), 12)
    bad = {int(before[0].record[0]), int(before[1].record[2])}
    _damage(monkeypatch, bad)
    options = OPTIONS | {"damaged_share": 0.5}
    streams = [
        take(make_dataset(prepared, "train", **options | {"num_threads": threads}), 12)
        for threads in (0, 3)
    ]
    assert_same(*streams)
    assert_same(streams[0][5:], take(make_dataset(prepared, "train", start_step=5, **options), 7))
    index = PreparedData(prepared).split_index("train")
    for batch, old in zip(streams[0], before, strict=True):
        assert not bad & set(batch.record.tolist())
        same = ~np.isin(old.record, list(bad))
        np.testing.assert_array_equal(batch.record[same], old.record[same])
        np.testing.assert_array_equal(batch.frame, index.frame[batch.record])
    for record in bad:
        lines = [line for line in caplog.messages if f"record {record}: found" in line]
        assert len(lines) == 3 and "another record replaces it" in lines[0]  # once for each stream


def test_more_damaged_records_than_tolerated_end_the_stream(prepared, monkeypatch):
    _damage(monkeypatch, {0, 1})
    count = PreparedData(prepared).num_train
    for share in (0.0, 1.5 / count):
        dataset = make_dataset(prepared, "train", **OPTIONS | {"damaged_share": share})
        with pytest.raises(DamagedRecordError, match=r"record [01]: found"):
            take(dataset, 50)
    take(make_dataset(prepared, "train", **OPTIONS | {"damaged_share": 2 / count}), 50)
    ordered = OPTIONS | {"damaged_share": 1.0, "shuffle": False}
    with pytest.raises(DamagedRecordError, match="record 0: found"):
        take(make_dataset(prepared, "train", **ordered), 1)


def test_augmentation_changes_the_input_pictures_alone_and_depends_on_the_position(prepared):
    limits = {"augmentation": Augmentation(30.0, 0.1, 0.1, 0.2)}
    plain = take(make_dataset(prepared, "train", **OPTIONS), 5)
    changed = take(make_dataset(prepared, "train", **OPTIONS | limits), 5)
    for one, other in zip(plain, changed, strict=True):
        assert (one.image != other.image).any(axis=(1, 2, 3)).mean() > 0.9
        assert_same([one._replace(image=0)], [other._replace(image=0)])
    again = take(make_dataset(prepared, "train", start_step=3, **OPTIONS | limits), 2)
    assert_same(again, changed[3:])


def test_backgrounds_of_a_folder_replace_what_the_depth_map_leaves_out(prepared, tmp_path):
    cv2.imwrite(str(tmp_path / "green.png"), np.full((50, 50, 3), (0, 255, 0), np.uint8))
    data, limits = PreparedData(prepared), Augmentation(background=1.0, backgrounds=str(tmp_path))
    with_depth = data.split_index("train").has_depth
    for batch in take(make_dataset(data, "train", **OPTIONS | {"augmentation": limits}), 5):
        for image, record in zip(batch.image, batch.record, strict=True):
            off = np.abs(image - np.array([0, 255, 0])).max(axis=2)
            hand = (data.depth("train", record) > 0).astype(np.uint8)
            if with_depth[record]:
                far = cv2.dilate(hand, np.ones((3, 3))) == 0
                assert far.sum() > 4 and off[far].mean() < 40 and off[hand > 0].mean() > 100
            else:
                assert off.min() > 60


def test_a_folder_without_pictures_is_refused_at_once_if_it_is_needed(prepared, tmp_path):
    limits = Augmentation(background=0.5, backgrounds=str(tmp_path))
    with pytest.raises(BadInputError, match="found no picture, expected pictures for"):
        make_dataset(prepared, "train", **OPTIONS | {"augmentation": limits})
    unused = limits._replace(background=0.0)
    take(make_dataset(prepared, "train", **OPTIONS | {"augmentation": unused}), 1)
