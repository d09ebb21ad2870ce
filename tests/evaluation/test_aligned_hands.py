"""The loop over evaluated images: what is decoded, in which order, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from dhm.data.input_pipeline import PADDING
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError, DhmError
from dhm.evaluation.aligned_hands import aligned_hands, all_records, first_views


@pytest.fixture(scope="module")
def data(toy_prepared):
    return PreparedData(toy_prepared)


def _joints(batch):
    """A decoder that returns the batch's own joints."""
    return jnp.asarray(batch.joints), jnp.ones(len(batch.joints), bool)


@pytest.mark.parametrize("num_threads", [0, 3])
def test_records_are_decoded_in_order_in_batches_of_one_size(data, num_threads):
    records = [5, 0, 3, 1, 4]
    batches = list(aligned_hands(_joints, data, records, batch_size=2, num_threads=num_threads))
    assert [batch.records for batch in batches] == [[5, 0], [3, 1], [4]]
    assert batches[-1].batch.record.tolist() == [4, PADDING]
    for batch in batches:
        for row, record in enumerate(batch.records):
            np.testing.assert_array_equal(batch.batch.image[row], data.image("test", record))
            np.testing.assert_array_equal(batch.hands[row], data.record("test", record).joints)
            assert batch.fields[row].sequence == data.sequence("test", record)
        np.testing.assert_array_equal(batch.joint_errors(batch.hands), 0)


def test_without_images_none_are_read(data, monkeypatch):
    monkeypatch.delattr(PreparedData, "decode_image")
    (batch,) = aligned_hands(_joints, data, all_records(data), batch_size=6, images=False)
    assert batch.batch.image.shape == (6, 0, 0, 3)


def test_joints_that_the_model_lacks_are_not_valid(data):
    known = np.arange(data.template.num_joints) != 2
    (batch,) = aligned_hands(_joints, data, [0], batch_size=1, joint_mask=known, images=False)
    expected = data.record("test", 0).joint_valid & known
    np.testing.assert_array_equal(batch.batch.joint_valid[0], expected)


def test_no_records_give_no_batches(data):
    assert list(aligned_hands(_joints, data, [], batch_size=2)) == []
    assert list(aligned_hands(_joints, data, [])) == []


def test_without_a_size_all_records_are_one_batch(data):
    (batch,) = aligned_hands(_joints, data, [2, 3, 1], images=False)
    assert batch.batch.record.tolist() == batch.records == [2, 3, 1]


def test_the_first_views_are_one_record_a_frame(data):
    frame_id = data.split_index("test").frame_id
    assert frame_id[first_views(data)].tolist() == sorted(set(frame_id.tolist()))


def test_a_record_that_cannot_be_read_is_refused_after_the_batches_before_it(data, monkeypatch):
    read = PreparedData.record

    def record(self, split, index):
        if index == 3:
            raise BadInputError("file", "damage", "a record")
        return read(self, split, index)

    monkeypatch.setattr(PreparedData, "record", record)
    batches = aligned_hands(_joints, data, all_records(data), batch_size=2)
    assert next(batches).records == range(2)
    with pytest.raises(BadInputError, match="damage"):
        next(batches)


@pytest.mark.parametrize("aligned", [True, False])
def test_an_aligned_hand_that_is_not_finite_is_refused(data, aligned):
    def decode(batch):
        hands = jnp.where(batch.record[:, None] == 4, jnp.inf, jnp.asarray(batch.joints[:, 0]))
        return {"one": hands, "other": batch.joints}, jnp.full(len(hands), aligned)

    batches = aligned_hands(decode, data, all_records(data), batch_size=6)
    if aligned:
        with pytest.raises(DhmError, match="the model gives NaN or infinity for test record 4"):
            next(batches)
    else:
        assert len(next(batches).records) == 6
