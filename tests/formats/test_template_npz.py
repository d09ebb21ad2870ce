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


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "template.npz", joint_names=np.array([{"a": 1}], object))
    with pytest.raises(BadInputError, match=r"template\.npz: found a damaged file"):
        read_template(tmp_path / "template.npz")
