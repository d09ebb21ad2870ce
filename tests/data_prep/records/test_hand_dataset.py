"""Records and their index."""

import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.captures.frames import MaskFile
from data_prep.records.crop import crop_view, plan_crop
from data_prep.records.hand_dataset import PlannedView, build_index, make_record, write_dataset
from dhm.data.depth_codec import DEPTH_STEP_MM, decode_depth
from dhm.data.schema import HandRecord
from tests.data_prep import synthetic

SIZE = 24


@pytest.fixture
def planned(tmp_path):
    views = synthetic.write_capture(tmp_path / "capture").views
    return [PlannedView(view, plan_crop(view, SIZE)) for view in views]


def test_a_record_holds_the_crop(planned):
    cropped = crop_view(*planned[0])
    record, written = make_record(planned[0], subject=4)
    assert written == (True, 0)
    codes = decode_depth(record.depth, (SIZE, SIZE), record.depth_offset, record.depth_step)
    depth = codes.depth()
    np.testing.assert_array_equal(depth == 0, cropped.depth == 0)
    np.testing.assert_allclose(depth, cropped.depth, atol=DEPTH_STEP_MM / 2 + 1e-4)
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(record.image, np.uint8), 1), cv2.COLOR_BGR2RGB)
    np.testing.assert_allclose(image.astype(int), cropped.image.astype(int), atol=2)
    np.testing.assert_allclose(record.K, cropped.K, rtol=1e-6)
    np.testing.assert_array_equal(record.T_camera_world, planned[0].view.T_camera_world)


def test_a_view_without_depth_map_has_no_depth(planned):
    record, written = make_record(planned[1], subject=4)
    assert not written.has_depth
    assert record.depth == b""


def test_masks_are_stored_only_without_a_depth_map(planned, tmp_path):
    labels = np.zeros(synthetic.K_SIZE, np.uint8)
    labels[:, 14:] = 5
    labels[:, 29:] = 9
    cv2.imwrite(str(tmp_path / "mask.png"), labels)
    mask = MaskFile(tmp_path / "mask.png", 3, 5)
    for (view, plan), expected in zip(planned[:2], (False, True), strict=True):
        planned_view = PlannedView(dataclasses.replace(view, mask=mask), plan)
        record, _ = make_record(planned_view, subject=4)
        assert bool(record.mask) == expected
    assert len(record.mask) < 200
    found = cv2.imdecode(np.frombuffer(record.mask, np.uint8), cv2.IMREAD_UNCHANGED) > 0
    x = (np.arange(SIZE) - plan.A_crop_view[0, 2]) / plan.A_crop_view[0, 0]
    np.testing.assert_array_equal(found, np.broadcast_to((x > 13.5) & (x < 28.5), (SIZE, SIZE)))


def test_a_depth_map_without_foreground_is_no_depth(planned, tmp_path):
    path = planned[0].view.depth_path
    synthetic.write_depth_pickle(path, np.zeros(synthetic.K_SIZE))
    record, written = make_record(planned[0], subject=4)
    assert not written.has_depth
    assert record.depth == b""


def test_dropped_pixels_are_counted(planned):
    view, plan = planned[0]
    nearer = plan._replace(nearest_mm=600.0)
    _, written = make_record(PlannedView(view, nearer), subject=4)
    assert written.dropped_pixels == np.count_nonzero(crop_view(view, plan).depth)
    assert not written.has_depth


def test_records_are_in_order_and_agree_with_the_index(planned, tmp_path):
    splits = {"train": planned[9:], "test": planned[:9]}
    counts = []
    done = write_dataset(tmp_path, splits, 4, 2, counts.append)
    assert sum(counts) == len(planned) and done.planned == splits
    index = build_index(*done)
    builder = tfds.builder_from_directory(tmp_path / "records")
    for split, views in splits.items():
        columns, source = index.splits[split], builder.as_data_source(split)
        assert len(source) == len(views)
        for i, ((view, _), fields) in enumerate(zip(views, source, strict=True)):
            assert set(fields) == set(HandRecord._fields)
            assert fields["frame"] == view.frame == columns.frame[i]
            assert fields["camera"].decode() == index.cameras[columns.camera_id[i]] == view.camera
            assert fields["sequence"].decode() == index.sequences[columns.sequence_id[i]]
            assert bool(fields["depth"]) == columns.has_depth[i]
            np.testing.assert_array_equal(fields["joints"], view.joints)
            np.testing.assert_array_equal(fields["joint_valid"], view.joint_valid)
            assert fields["image"].shape == (SIZE, SIZE, 3)


def test_the_same_frame_number_in_two_sequences_is_two_frames(planned, tmp_path):
    done = write_dataset(tmp_path, {"train": planned}, 4, 2, lambda _: None)
    columns = build_index(*done).splits["train"]
    keys = [(planned_view.view.sequence, planned_view.view.frame) for planned_view in planned]
    for i, key in enumerate(keys):
        for j, other in enumerate(keys):
            assert (columns.frame_id[i] == columns.frame_id[j]) == (key == other)
    assert set(columns.frame_id.tolist()) == set(range(5))
