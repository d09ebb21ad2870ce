"""Prepared folders: what is read, and damage that is found and named."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.prepare import PrepareOptions, prepare_views
from data_prep.records import hand_dataset
from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from tests.data_prep import synthetic


@pytest.fixture
def copy(prepared, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(prepared, tmp_path / "copy")


def shard(folder):
    return next((folder / "records").glob("*array_record*"))


def test_sizes_names_and_template(prepared):
    data = PreparedData(prepared)
    assert (data.num_train, data.image_size) == (15, 24)
    assert data.template.joint_names == synthetic.template().joint_names
    names = {data.sequence("train", i) for i in range(15)}
    assert names == set(synthetic.FRAMES)


def test_records_read_at_random(prepared):
    data = PreparedData(prepared)
    record = data.record("train", 8)
    assert (record.sequence, record.frame, record.camera) == ("0002_RT_wave", 3, "400003")
    assert record.subject == 4
    assert data.depth("train", 8).max() > 400
    # Its view has no depth map.
    assert not data.depth("train", 1).any()


def test_records_equal_those_that_tensorflow_datasets_reads(prepared):
    data = PreparedData(prepared)
    builder = tfds.builder_from_directory(prepared / "records")
    source = builder.as_data_source("train", decoders={"image": tfds.decode.SkipDecoding()})
    assert len(source) == data.num_train
    for index in range(len(source)):
        found, expected = data.record("train", index)._asdict(), source[index]
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            value = value.decode() if name in ("sequence", "camera") else value
            np.testing.assert_array_equal(found[name], value, strict=isinstance(value, np.ndarray))


def test_no_module_that_the_folder_names_is_imported(copy, tmp_path, monkeypatch):
    """tensorflow_datasets imports it."""
    (tmp_path / "hostile.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    path, info = copy / "records" / "features.json", copy / "prepared.json"
    path.write_text(re.sub(r'"tensorflow_datasets[^"]*"', '"hostile.Feature"', path.read_text()))
    fields = json.loads(info.read_text())
    fields["files"]["records/features.json"] = path.stat().st_size
    info.write_text(json.dumps(fields))
    assert PreparedData(copy).image("train", 0).any()
    assert not (tmp_path / "was_here").exists()
    with pytest.raises(ValueError, match="hostile"):
        tfds.builder_from_directory(copy / "records")
    assert (tmp_path / "was_here").exists()


def test_another_number_of_records_than_the_index_has_is_refused(copy):
    path = copy / "index.npz"
    with np.load(path) as file:
        arrays = {name: values[:-1] if "/" in name else values for name, values in file.items()}
    np.savez(path, **arrays)
    info = copy / "prepared.json"
    fields = json.loads(info.read_text())
    fields["files"]["index.npz"] = path.stat().st_size
    info.write_text(json.dumps(fields))
    with pytest.raises(BadInputError, match="found 15 records of train, expected 14 by the index"):
        PreparedData(copy)


def test_a_record_outside_the_split_is_an_index_error(prepared):
    with pytest.raises(IndexError, match="record 15 of 15"):
        PreparedData(prepared).record("train", 15)


def test_an_unknown_split_is_refused(prepared):
    with pytest.raises(BadInputError, match=r"found no split 'test', expected one of \['train'\]"):
        PreparedData(prepared).record("test", 0)


@pytest.mark.parametrize("size", [0, 100, 1 << 16])
@pytest.mark.mistake(
    "prepared data", "copied in part, or cut short", "refused, with the file and both sizes"
)
def test_a_truncated_file_is_refused(copy, size):
    path = shard(copy)
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadInputError, match=rf"{path}: found {size} bytes, expected {whole}"):
        PreparedData(copy)


@pytest.mark.mistake(
    "prepared data",
    "damaged bytes in a record",
    "refused, with the record; a training passes over a share of them",
)
def test_a_flipped_bit_is_found_and_named(copy):
    """Flipped bits are named, or lie where they change nothing."""
    path = shard(copy)
    original = PreparedData(copy)
    records = [original.record("train", i) for i in range(15)]
    content = path.read_bytes()
    used = np.flatnonzero(np.frombuffer(content, np.uint8))
    refused = 0
    for position in np.random.default_rng(0).choice(used, 30):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        path.write_bytes(flipped)
        data = PreparedData(copy)
        for i, record in enumerate(records):
            try:
                found = data.record("train", i)
            except BadInputError as error:
                refused += 1
                assert f"{path}, record {i}: found unreadable bytes" in str(error)
            else:
                assert (found.image, found.depth) == (record.image, record.depth)
                np.testing.assert_array_equal(found.joints, record.joints)
    assert refused >= 15


@pytest.mark.parametrize("name", ["index.npz", "template.npz", "records/dataset_info.json"])
@pytest.mark.mistake("prepared data", "a file that is missing", "refused")
def test_a_missing_file_is_refused(copy, name):
    (copy / name).unlink()
    with pytest.raises(BadInputError, match=f"{copy / name}: found no such file, expected"):
        PreparedData(copy)


@pytest.mark.mistake(
    "prepared data", "a file that does not belong to it, such as one of notes", "refused"
)
def test_an_unexpected_file_is_refused(copy):
    (copy / "records" / "more").write_text("x")
    with pytest.raises(BadInputError, match="more: found 1 bytes, expected no such file"):
        PreparedData(copy)


@pytest.mark.mistake(
    "prepared data", "files of the system, such as .DS_Store", "understood: they are passed over"
)
def test_files_that_systems_leave_are_no_part_of_the_folder(copy):
    name = f"._{shard(copy).name}"
    for path in (".DS_Store", "records/.nfs000000000001", f"records/{name}", ".Trashes/a"):
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_bytes(b"x")
    assert len(PreparedData(copy).split_index("train").frame) == 15
    assert PreparedData(copy).image("train", 0).any()
    info = copy / "prepared.json"
    fields = json.loads(info.read_text())
    fields["files"][".DS_Store"] = 6148  # there when the folder was made
    info.write_text(json.dumps(fields))
    assert PreparedData(copy).num_train == 15


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("encode_image", "record 2: found a picture that does not decode"),
        ("encode_depth", "record 2: found damaged depth data"),
    ],
)
def test_damaged_contents_name_the_record(tmp_path, monkeypatch, codec, message):
    capture = synthetic.write_capture(tmp_path / "capture")
    monkeypatch.setattr(hand_dataset, codec, lambda *_: b"nonsense")
    prepare_views(capture, tmp_path / "capture", tmp_path / "out", PrepareOptions(4, image_size=24))
    data = PreparedData(tmp_path / "out")
    with pytest.raises(BadInputError, match=message):
        data.image("train", 2) if codec == "encode_image" else data.depth("train", 2)
