"""JSON files and the checks of their fields."""

from pathlib import Path

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.json_file import flat_fields, json_field, json_numbers, read_json, write_json

PATH = Path("some.json")


def test_a_written_file_is_read_back(tmp_path):
    write_json(tmp_path / "a.json", {"a": {"b": 1.5}})
    assert read_json(tmp_path / "a.json", "numbers") == {"a": {"b": 1.5}}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_content(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes('{"ä":\r\n1}'.encode(encoding))
    assert read_json(tmp_path / "a.json", "numbers") == {"ä": 1}


@pytest.mark.parametrize(
    ("content", "kind", "found"),
    [
        ("[1]", dict, "JSON of a list"),
        ("{}", list, "JSON of a dict"),
        ("{", dict, "damaged JSON"),
        ("[" * 100_000, list, "damaged JSON"),
        ("\xff", dict, "damaged JSON"),
    ],
)
def test_files_of_other_content_are_refused(tmp_path, content, kind, found):
    path = tmp_path / "a.json"
    path.write_bytes(content.encode("latin1"))
    with pytest.raises(BadInputError, match=rf"a\.json: found {found}.*, expected numbers"):
        read_json(path, "numbers", kind)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"a\.json: found no such file, expected numbers"):
        read_json(tmp_path / "a.json", "numbers")


def test_nested_dictionaries_become_dotted_names():
    assert flat_fields({"a": {"b": {"c": 1}, "d": 2}, "e": []}) == {"a.b.c": 1, "a.d": 2, "e": []}


@pytest.mark.parametrize(
    ("value", "kind"), [(3, int), ("x", int | str), ([1], list), ({}, dict), (True, bool)]
)
def test_fields_of_the_right_type_are_returned(value, kind):
    assert json_field(PATH, {"a": value}, "a", kind) is value


@pytest.mark.parametrize("entry", [{}, {"a": None}, {"a": "3"}, {"a": True}, {"a": 3.0}, [], None])
def test_fields_of_other_types_are_refused(entry):
    with pytest.raises(BadInputError, match=r"some\.json: found a = .*, expected a whole number"):
        json_field(PATH, entry, "a", int)
    with pytest.raises(BadInputError, match=r"found a = .*, expected a list or an object"):
        json_field(PATH, entry, "a", list | dict)


def test_arrays_of_the_right_shape_are_returned():
    np.testing.assert_array_equal(json_numbers(PATH, [[1, 2.5]], (1, 2)), [[1, 2.5]])


@pytest.mark.parametrize(
    "value", [None, "ab", [1], [1, [2]], {"0": 1}, [["a", "b"]], [[10**400, 1]], [[[1], [2]]]]
)
def test_arrays_of_other_shapes_are_refused(value):
    with pytest.raises(BadInputError, match=r"spot: found .*, expected numbers \[1, 2\]"):
        json_numbers("spot", value, (1, 2))
    with pytest.raises(BadInputError, match=r"spot: found .*, expected a pixel"):
        json_numbers("spot", value, (1, 2), "a pixel")


def test_only_needed_numbers_must_be_finite():
    values = [[1, 2], [float("nan"), float("inf")], [1e7, 0]]
    needed = np.array([True, False, False])
    assert json_numbers(PATH, values, (3, 2), needed=needed)[0, 1] == 2
    for index, found in ((1, "nan"), (2, "10000000.0")):
        with pytest.raises(BadInputError, match=f"found {found} in .*each finite and below 1e"):
            json_numbers(PATH, values, (3, 2), needed=needed | (np.arange(3) == index))


def test_long_values_are_cut_in_the_message():
    with pytest.raises(BadInputError) as refusal:
        json_numbers(PATH, list(range(10_000)), (3,))
    assert len(str(refusal.value)) < 200
