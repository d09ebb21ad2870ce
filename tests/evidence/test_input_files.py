"""Input files: found by pattern, named without collisions, processed one by one."""

import logging
from pathlib import Path

import pytest

from dhm.errors import BadInputError, DhmError, Interrupted
from dhm.evidence.input_files import find_files, process_files, unique_stems


def test_names_patterns_and_folders_are_expanded(tmp_path, monkeypatch):
    for name in ("b.jpg", "a.jpg", "[c].jpg", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    found = find_files("--images", [f"{tmp_path}/[[]c].jpg", f"{tmp_path}/[c].jpg", str(tmp_path)])
    assert [path.name for path in found] == ["[c].jpg", "a.jpg", "b.jpg"]
    for nothing in (f"{tmp_path}/*.png", f"{tmp_path}/none.jpg", f"{tmp_path}/sub"):
        with pytest.raises(BadInputError, match=r"--images: found '.*', expected files that are"):
            find_files("--images", [nothing])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_files("--images", ["~/a.jpg"]) == [tmp_path / "a.jpg"]


def test_names_of_results_are_unique():
    paths = ["x/a.jpg", "x/a.png", "x/b.jpg", "y/B.JPG", "y/c.v2.jpg", "a_jpg.png", "y/b.jpg"]
    names = unique_stems(list(map(Path, paths)))
    assert len({name.casefold() for name in names}) == len(paths)
    assert names[0] == "a_jpg" and names[1] == "a_png" and names[4] == "c.v2"
    assert unique_stems([Path("x/a.jpg"), Path("b.jpg")]) == ["a", "b"]


def test_refused_files_are_reported_and_the_others_processed(caplog):
    def process(path, stem):
        if stem == "b":
            raise BadInputError(path, "nothing", "something")
        if stem == "c":
            raise DhmError("c: diverged")
        return f"{stem} is fine"

    with caplog.at_level(logging.INFO, "dhm"):
        paths = [Path(name) for name in ("x/a.json", "b.json", "c.json", "d.json")]
        assert process_files(paths, Path("out"), process) == 2
    assert [record.message for record in caplog.records] == [
        "a is fine", "refused: b.json: found nothing, expected something", "refused: c: diverged",
        "d is fine", "2 of 4 done, in out", "2 refused:",
        "  b.json: found nothing, expected something", "  c: diverged",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [OSError(28, "No space left"), Interrupted(2, ", saved")])
def test_errors_that_concern_all_files_end_the_loop(error):
    def process(path, stem):
        raise error

    with pytest.raises(type(error)):
        process_files([Path("a"), Path("b")], Path("out"), process)
