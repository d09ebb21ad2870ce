"""Values of JSON that are what they should be, and all that are not."""

from pathlib import Path

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.json_fields import json_entry, json_field, json_list, json_numbers

PATH = Path("some.json")


def test_what_is_right_comes_through():
    assert json_field(PATH, {"a": 3}, "a", int) == 3
    assert json_field(PATH, {"a": "x"}, "a", int | str) == "x"
    assert json_list(PATH, {"a": [1]}, "a") == [1]
    assert json_entry(PATH, {"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}
    np.testing.assert_array_equal(json_numbers(PATH, [[1, 2.5]], (1, 2), "a"), [[1, 2.5]])


@pytest.mark.parametrize("entry", [{}, {"a": None}, {"a": "3"}, {"a": True}, {"a": 3.0}, [], None])
def test_other_fields_are_refused(entry):
    with pytest.raises(BadInputError, match=r"some\.json: found a = "):
        json_field(PATH, entry, "a", int)


def test_missing_lists_and_entries_are_refused():
    with pytest.raises(BadInputError, match="found a as a dict"):
        json_list(PATH, {"a": {}}, "a")
    for data in ({}, {"a": []}, {"a": {"b": 1}}):
        with pytest.raises(BadInputError, match="found no entry a b"):
            json_entry(PATH, data, "a", "b")


@pytest.mark.parametrize(
    "value", [None, "ab", [1], [1, [2]], {"0": 1}, [["a", "b"]], [[10**400, 1]], [[[1], [2]]]]
)
def test_what_is_no_array_of_the_shape_is_refused(value):
    with pytest.raises(BadInputError, match="found spot = "):
        json_numbers(PATH, value, (1, 2), "spot")


def test_only_what_is_needed_has_to_be_finite():
    values = [[1, 2], [float("nan"), float("inf")], [1e7, 0]]
    needed = np.array([True, False, False])
    assert json_numbers(PATH, values, (3, 2), "spot", needed)[0, 1] == 2
    for index in (1, 2):
        with pytest.raises(BadInputError, match="spot with a number that is not finite"):
            json_numbers(PATH, values, (3, 2), "spot", needed | (np.arange(3) == index))
