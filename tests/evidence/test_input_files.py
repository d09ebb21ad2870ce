"""Input files: found by pattern, named without collisions, processed one by one."""

import logging
import unicodedata
from pathlib import Path

import pytest

from dhm.errors import BadInputError, DhmError, Interrupted
from dhm.evidence.input_files import (
    InputFile,
    Processed,
    find_files,
    name_results,
    process_files,
)
from dhm.formats.paths import name_key


@pytest.mark.mistake("fit", "a folder, or a name with brackets, for `--evidence`", "understood")
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


@pytest.mark.mistake("fit", "a file that several patterns match", "understood: fitted once")
def test_a_file_counts_once_however_its_path_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").touch()
    texts = ["./p/a.jpg", "p/../p/a.jpg", str(tmp_path / "p" / "a.jpg"), "p", "p/*"]
    assert find_files("--images", texts) == [Path("p/a.jpg")]


RESULTS = (".obj", ".json", "_overlay.png")


def _names(paths):
    return name_results([InputFile(Path(path), RESULTS) for path in paths])


def test_names_of_results_are_unique():
    paths = ["x/a.jpg", "x/a.png", "x/b.jpg", "y/B.JPG", "y/c.v2.jpg", "a_jpg.png", "y/b.jpg"]
    names = _names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert names[0] == "a_jpg" and names[1] == "a_png" and names[4] == "c.v2"
    assert _names(["x/a.jpg", "b.jpg"]) == ["a", "b"]
    composed, decomposed = (unicodedata.normalize(form, "Hände.jpg") for form in ("NFC", "NFD"))
    assert len(set(map(name_key, _names([composed, decomposed])))) == 2


def test_frames_of_a_file_and_another_file_have_different_results():
    film = InputFile(Path("a.json"), ("_0000.obj", "_0001.obj"))
    files = [film, InputFile(Path("a_0000.json"), (".obj",)), InputFile(Path("b.json"), (".obj",))]
    assert name_results(files) == ["a", "a_0000_json", "b"]
    assert name_results(files[::-1]) == ["b", "a_0000", "a_json"]


@pytest.mark.parametrize("given", ["reads", "given", "closed", "path"])
def test_no_result_is_written_over_an_input(tmp_path, given):
    mine = tmp_path / "a.json"
    mine.write_text("mine")
    file = InputFile(tmp_path / "sub" / "a.npz", (".json",))
    if given == "reads":
        file = file._replace(reads=(mine,))
    elif given == "path":
        file = file._replace(path=mine)
    others = {"given": {"given": (mine,)}, "closed": {"closed": (tmp_path,)}}.get(given, {})
    (tmp_path / "link").symlink_to(tmp_path)
    for out in (tmp_path, tmp_path / "link", tmp_path / "x" / ".."):
        with pytest.raises(BadInputError, match=r"--out: found .*a\.json (over|in) the input"):
            process_files([file], out, pytest.fail, **others)
    assert mine.read_text() == "mine"


@pytest.mark.mistake("fit", "a file for `--out`", "refused")
def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "f").touch()
    for out in (tmp_path / "f", tmp_path / "f" / "below"):
        with pytest.raises(BadInputError, match=r"--out: found .*f, a file, expected a folder"):
            process_files([InputFile(Path("a"), (".obj",))], out, pytest.fail)


def _files(*names):
    return [InputFile(Path(name), (".obj",)) for name in names]


def test_refused_files_are_reported_and_the_others_processed(caplog, tmp_path):
    def process(path, stem):
        if stem == "b":
            raise BadInputError(path, "nothing", "something")
        if stem == "c":
            raise DhmError("c: diverged")
        return Processed(f"{stem} is fine", (DhmError("d: frame 3"),) if stem == "d" else ())

    out = tmp_path / "out"
    with caplog.at_level(logging.INFO, "dhm"):
        files = _files("x/a.json", "b.json", "c.json", "d.json", "A.npz")
        assert process_files(files, out, process) == 3
    assert [record.message for record in caplog.records] == [
        "a_json is fine (results: a_json)",
        "refused: b.json: found nothing, expected something", "refused: c: diverged",
        "d is fine", "refused: d: frame 3", "A_npz is fine (results: A_npz)",
        f"3 of 5 done, in {out}", "3 refused:",
        "  b.json: found nothing, expected something", "  c: diverged", "  d: frame 3",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [OSError(28, "No space left"), Interrupted(2, ", saved")])
def test_errors_that_concern_all_files_end_the_loop(error, tmp_path):
    def process(path, stem):
        raise error

    with pytest.raises(type(error)):
        process_files(_files("a", "b"), tmp_path / "out", process)
