"""The table of likely mistakes is that of the tests."""

import pytest

from tests import mistakes

SOURCE = """
@pytest.mark.mistake("fit", "metres", "refused")
def test_a(): ...

CASES = [pytest.param(1, marks=pytest.mark.mistake("fit", "inches", "refused"))]
"""


def test_marks_are_found_in_order_of_the_file():
    found = list(mistakes.marks(SOURCE, "test_a.py"))
    assert found == [
        mistakes.Mistake("fit", "metres", "refused"),
        mistakes.Mistake("fit", "inches", "refused"),
    ]


@pytest.mark.parametrize("arguments", ['"a", "b"', '"a", "b", name', '"a", "b", happens="c"'])
def test_a_mark_without_three_strings_is_refused(arguments):
    with pytest.raises(ValueError, match=r"test_a.py:1: expected three strings"):
        list(mistakes.marks(f"pytest.mark.{'mistake'}({arguments})", "test_a.py"))


def test_the_page_has_the_table_of_the_tests():
    page = mistakes.PAGE.read_text()
    expected = mistakes.with_table(page, mistakes.table(mistakes.collect()))
    assert page == expected, "python -m tests.mistakes --write"
