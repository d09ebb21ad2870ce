"""The small files of a prepared folder, written, read and refused."""

import json

import numpy as np
import pytest

from dhm.data.schema import (
    SCHEMA_VERSION,
    Index,
    PreparedInfo,
    SplitIndex,
    read_index,
    read_info,
    read_scan,
    write_index,
    write_info,
    write_scan,
)
from dhm.errors import BadInputError

INFO = PreparedInfo(SCHEMA_VERSION, "ab", 4, 24, "test", {"train": 2}, {}, {"x": 1}, {}, {})


def test_a_written_info_is_read_back(tmp_path):
    write_info(tmp_path, INFO)
    assert read_info(tmp_path) == INFO


def change_version(fields):
    return fields | {"version": "0.1.0"}


def lose_a_field(fields):
    return {key: value for key, value in fields.items() if key != "subject"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_version, r"found version '0\.1\.0', expected .*prepare it again"),
        (lose_a_field, r"found the fields .*expected .*subject"),
        (lambda fields: [fields], "found JSON of a list"),
    ],
)
@pytest.mark.mistake("prepared data", "of another version", "refused: prepare again")
def test_infos_of_other_versions_or_fields_are_refused(tmp_path, change, message):
    write_info(tmp_path, INFO)
    path = tmp_path / "prepared.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(BadInputError, match=rf"prepared\.json: {message}"):
        read_info(tmp_path)


@pytest.mark.mistake(
    "prepared data", "the capture, or another folder, in place of the prepared one", "refused"
)
def test_a_folder_without_or_with_damaged_info_is_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"found no such file, expected a folder written by"):
        read_info(tmp_path)
    (tmp_path / "prepared.json").write_text("{")
    with pytest.raises(BadInputError, match="found damaged JSON"):
        read_info(tmp_path)


def test_a_written_index_is_read_back(tmp_path):
    columns = SplitIndex(*(np.arange(3) for _ in range(4)), np.array([True, False, True]))
    index = Index({"train": columns}, ("a", "b", "c"), ("400001", "400002", "400003"))
    write_index(tmp_path, index)
    back = read_index(tmp_path)
    assert (back.sequences, back.cameras) == (index.sequences, index.cameras)
    for found, expected in zip(back.splits["train"], columns, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_written_scan_is_read_back_and_may_be_missing(tmp_path):
    vertices, faces = np.random.default_rng(0).random((3, 3)), np.array([[0, 1, 2]])
    write_scan(tmp_path, "0001_RT", 12, (vertices, faces))
    found = read_scan(tmp_path, "0001_RT", 12)
    np.testing.assert_allclose(found[0], vertices, rtol=1e-6)
    np.testing.assert_array_equal(found[1], faces)
    assert read_scan(tmp_path, "0001_RT", 13) is None


def test_a_missing_file_or_array_is_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"index\.npz: found no such file"):
        read_index(tmp_path)
    np.savez(tmp_path / "index.npz", splits=np.array([], str), sequences=np.array([], str))
    with pytest.raises(BadInputError, match=r"index\.npz: found no array 'cameras'"):
        read_index(tmp_path)
