import dataclasses

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.template_npz import read_template, write_template
from tests.data_prep import synthetic


def assert_same(found, expected):
    for field in dataclasses.fields(expected):
        assert type(getattr(found, field.name)) is type(getattr(expected, field.name))
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


def test_template_comes_back_exactly(tmp_path):
    template = synthetic.template()
    write_template(tmp_path / "template.npz", template)
    back = read_template(tmp_path / "template.npz")
    assert_same(back, template)
    assert all(type(parent) is int for parent in back.parents)


@pytest.mark.parametrize("keep", [0, 40, 0.5, 0.98])
def test_a_truncated_file_is_refused(tmp_path, keep):
    write_template(tmp_path / "template.npz", synthetic.template())
    path = tmp_path / "template.npz"
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(BadInputError, match=r"template\.npz: found a damaged file"):
        read_template(tmp_path / "template.npz")


def test_any_flipped_byte_of_the_arrays_is_noticed_or_harmless(tmp_path):
    write_template(tmp_path / "template.npz", synthetic.template())
    path = tmp_path / "template.npz"
    data = path.read_bytes()
    refused = 0
    for position in range(0, len(data), 13):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            back = read_template(tmp_path / "template.npz")
        except BadInputError:
            refused += 1
        else:
            assert_same(back, synthetic.template())
    assert refused > 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("faces", lambda a: a + 3, "found faces from 3 to 5, expected indices below 3"),
        ("faces_uv", lambda a: a[:0], r"found faces_uv as int32 \[0, 3\]"),
        ("parents", lambda a: a * 0 - 1, "found 4 roots"),
        ("parents", lambda a: np.array([1, 0, -1, 2]), "found a cycle"),
        ("lbs_weights", lambda a: a[:, :3], r"found lbs_weights as float32 \[3, 3\], expected"),
        ("v_template", lambda a: a * np.nan, "found v_template with NaN or infinity"),
        ("uvs", lambda a: a.astype(str), "found uvs as <U32"),
    ],
)
def test_arrays_that_are_no_hand_are_refused(tmp_path, name, change, message):
    path = tmp_path / "template.npz"
    write_template(path, synthetic.template())
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {name: change(arrays[name])})
    with pytest.raises(BadInputError, match=rf"template\.npz: {message}"):
        read_template(path)


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "template.npz", joint_names=np.array([{"a": 1}], object))
    with pytest.raises(BadInputError, match=r"template\.npz: found a damaged file"):
        read_template(tmp_path / "template.npz")
