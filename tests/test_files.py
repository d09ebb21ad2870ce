"""Entries of folders that are no data."""

import pytest

from dhm.files import data_paths, is_data, keep_no_data


@pytest.mark.parametrize(
    "name", [".DS_Store", "._a.ply", ".nfs0001", ".Trashes", "Thumbs.db", "desktop.ini", "__MACOSX"]
)
def test_what_systems_leave_is_no_data(name):
    assert not is_data(name)


@pytest.mark.parametrize("name", ["a.ply", "a._b", "_a", "thumbs.db.txt", "[a]", "~a", "d"])
def test_everything_else_is(name):
    assert is_data(name)


def test_paths_below_a_hidden_folder_are_data_unless_they_are_hidden_themselves(tmp_path):
    folder = tmp_path / ".cache"
    for name in ("b/1.ply", "a.ply", "._a.ply", ".hidden/1.ply", "b/.DS_Store", "__MACOSX/a.ply"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert data_paths(folder) == [folder / "a.ply", folder / "b"]
    assert data_paths(folder, "**/*.ply") == [folder / "a.ply", folder / "b" / "1.ply"]
    assert data_paths(tmp_path / "absent") == []


def test_what_is_no_data_moves_to_another_folder(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    (old / ".git").mkdir(parents=True)
    (old / "a").touch()
    new.mkdir()
    keep_no_data(old, new)
    assert [path.name for path in old.iterdir()] == ["a"]
    assert [path.name for path in new.iterdir()] == [".git"]
