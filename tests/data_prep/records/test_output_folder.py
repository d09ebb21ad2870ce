"""Output folders are replaced as a whole or not at all."""

import pytest

from data_prep.records.output_folder import replaced_when_done
from dhm.data.schema import INFO_FILE
from dhm.errors import BadInputError


def test_an_interrupted_build_leaves_the_old_folder(tmp_path):
    out = tmp_path / "out"
    with replaced_when_done(out) as building:
        (building / INFO_FILE).write_text("old")
    with pytest.raises(KeyboardInterrupt), replaced_when_done(out) as building:
        (building / INFO_FILE).write_text("half")
        raise KeyboardInterrupt
    assert (out / INFO_FILE).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_leftovers_of_a_killed_build_are_removed(tmp_path):
    leftover = tmp_path / ".out.building"
    leftover.mkdir()
    (leftover / "half").write_text("")
    with replaced_when_done(tmp_path / "out") as building:
        (building / INFO_FILE).write_text("new")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [INFO_FILE]


def test_a_folder_with_other_contents_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    refused = pytest.raises(BadInputError, match="found a folder with other contents")
    with refused, replaced_when_done(tmp_path):
        pass
    assert (tmp_path / "thesis.tex").exists()


def test_what_is_no_data_is_no_content_and_is_kept(tmp_path):
    out = tmp_path / "out"
    (out / ".git").mkdir(parents=True)
    (out / ".git" / "HEAD").write_text("main")
    (out / ".DS_Store").write_text("x")
    for text in ("first", "second"):
        with replaced_when_done(out) as building:
            (building / INFO_FILE).write_text(text)
        assert sorted(path.name for path in out.iterdir()) == [".DS_Store", ".git", INFO_FILE]
        assert (out / INFO_FILE).read_text() == text
    assert (out / ".git" / "HEAD").read_text() == "main"


def test_a_file_is_not_replaced(tmp_path):
    (tmp_path / "out").write_text("")
    refused = pytest.raises(BadInputError, match="found a file, expected a folder")
    with refused, replaced_when_done(tmp_path / "out"):
        pass
