"""Text files of tokens, and numbers that are refused."""

import pytest

from dhm.errors import BadInputError
from dhm.formats.text import read_bytes, read_lines


def write(tmp_path, data: bytes):
    path = tmp_path / "numbers.txt"
    path.write_bytes(data)
    return path


def test_comments_and_blank_lines_keep_the_numbering(tmp_path):
    path = write(tmp_path, b"# head\r\n\n1 2 # tail\r\n  \n3 \n")
    lines = read_lines(path)
    assert [(line.number, line.tokens) for line in lines] == [(3, ["1", "2"]), (5, ["3"])]
    assert lines[0].floats(0, 2, "a pair") == [1.0, 2.0]


@pytest.mark.parametrize("token", ["nan", "inf", "-inf", "1e999", "1e13"])
def test_numbers_that_are_not_finite_or_absurd_are_refused(tmp_path, token):
    (line,) = read_lines(write(tmp_path, f"{token}\n".encode()))
    with pytest.raises(BadInputError, match=rf"numbers.txt:1: found '{token}', expected a finite"):
        line.floats(0, 1, "a thing")


def test_other_tokens_and_counts_are_refused(tmp_path):
    (line,) = read_lines(write(tmp_path, b"1 two\n"))
    with pytest.raises(BadInputError, match="found 'two', expected a number of a thing"):
        line.floats(0, 2, "a thing")
    with pytest.raises(BadInputError, match="found 2 values, expected 3 numbers of a thing"):
        line.floats(0, 3, "a thing")
    for token in ("two", "1_0", "\u00ff"):
        with pytest.raises(BadInputError, match=f"found '{token}', expected an integer, an id"):
            line.int(token, "an id")


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="no such file"):
        read_bytes(tmp_path / "absent")
    with pytest.raises(BadInputError, match="found a zero at character 2, expected a text file"):
        read_lines(write(tmp_path, b"1 \0"))
    with pytest.raises(BadInputError, match="no UTF-16 text at byte"):
        read_lines(write(tmp_path, b"\xff\xfe1\0 "))


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_lines_of_every_system_and_encoding_are_the_same(tmp_path, newline, encoding):
    rows = ["1 2", "# für Jürgen", "", "ö 3"]
    lines = read_lines(write(tmp_path, newline.join(rows).encode(encoding)))
    assert [(line.number, line.tokens) for line in lines] == [(1, ["1", "2"]), (4, ["ö", "3"])]


def test_a_byte_order_mark_is_none_of_latin_1(tmp_path):
    (line,) = read_lines(write(tmp_path, b"\xef\xbb\xbf1 # \xfc\r"))
    assert line.tokens == ["1"]
