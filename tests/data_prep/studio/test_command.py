"""The studio's command lines: mistakes are refused before anything is filmed or drawn."""

import re

import pytest

from data_prep.studio import __main__ as studio
from data_prep.studio import linear_hand, sheets
from data_prep.studio.template import __main__ as template
from dhm.errors import BadInputError


def run(main, capsys, *words):
    """Runs a command; returns its exit code and what it said."""
    try:
        code = main([str(word) for word in words])
    except SystemExit as usage:
        code = usage.code
    return code, capsys.readouterr().err


WRONG_SETTINGS = [
    pytest.param(
        ["--subject", "5"],
        1,
        "studio.subject: found 5, expected 1 to 4",
        marks=pytest.mark.mistake("studio", "a subject beyond the four", "refused"),
    ),
    pytest.param(
        ["--frames", "10"],
        1,
        "studio.frames: found 10, expected 40 to 100000",
        marks=pytest.mark.mistake("studio", "fewer frames than motions", "refused"),
    ),
    pytest.param(
        ["--pictures", "20"],
        1,
        "studio.pictures: found 20, expected 1 to 16",
        marks=pytest.mark.mistake("studio", "more pictures of a frame than cameras", "refused"),
    ),
    pytest.param(
        ["--cameras", "500"],
        1,
        "studio.cameras: found 500, expected 1 to 400",
        marks=pytest.mark.mistake("studio", "too many cameras", "refused"),
    ),
    pytest.param(
        ["--depth-shrink", "4"],
        1,
        "studio.depth_shrink: found 4, expected 1 to 2",
        marks=pytest.mark.mistake("studio", "depth maps of a quarter of the size", "refused"),
    ),
    pytest.param(
        ["--depth-noise-mm", "-1"],
        1,
        "studio.depth_noise_mm: found -1.0, expected 0.0 to 100.0",
        marks=pytest.mark.mistake("studio", "negative noise", "refused"),
    ),
    pytest.param(
        ["--resolution-mm", "0.1"],
        1,
        "studio.resolution_mm: found 0.1, expected 0.5 to 4.0",
        marks=pytest.mark.mistake("studio", "a grid of a tenth of a mm", "refused"),
    ),
    pytest.param(
        ["--depth-maps", "some"],
        2,
        "--depth-maps: invalid choice: 'some'",
        marks=pytest.mark.mistake("studio", "a word that is no choice", "refused, exit code 2"),
    ),
    pytest.param(
        ["--varied", "true"],
        2,
        "unrecognized arguments: true",
        marks=pytest.mark.mistake("studio", "--varied true", "refused, exit code 2"),
    ),
    pytest.param(
        ["--workers", "0"],
        1,
        "workers: found 0, expected at least 1 process",
        marks=pytest.mark.mistake("studio", "--workers 0", "refused"),
    ),
]


@pytest.mark.parametrize(("words", "code", "said"), WRONG_SETTINGS)
def test_wrong_settings_are_refused(tmp_path, capsys, words, code, said):
    found, error = run(studio.main, capsys, *words, "--out", tmp_path / "capture")
    assert found == code and said in error
    assert code == 2 or (error.startswith("error: ") and error.count("\n") == 1)
    assert not any(tmp_path.iterdir())


@pytest.mark.mistake("studio", "--out: a file, or a folder of something else", "refused")
def test_places_of_other_things_are_refused(tmp_path, capsys):
    (tmp_path / "notes").write_text("mine")
    for out in ("notes", "notes/capture"):
        code, error = run(studio.main, capsys, "--out", tmp_path / out)
        assert code == 1 and re.search(
            "error: out: found .*notes, a file, expected a folder", error
        )
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes").write_text("mine")
    code, error = run(studio.main, capsys, "--out", tmp_path / "folder")
    assert code == 1 and "expected a capture of the studio, or no folder yet" in error


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(studio, "write_capture", interrupt)
    code, error = run(studio.main, capsys, "--out", tmp_path / "capture")
    assert (code, error) == (130, "interrupted; the same command resumes here\n")


@pytest.mark.mistake("sheets", "--out: a file", "refused")
def test_sheets_need_a_folder(tmp_path, capsys):
    (tmp_path / "sheets.jpg").write_text("mine")
    code, error = run(sheets.main, capsys, "--out", tmp_path / "sheets.jpg")
    assert code == 1 and re.search("error: --out: found .*sheets.jpg, a file, expected a f", error)
    assert (tmp_path / "sheets.jpg").read_text() == "mine"


@pytest.mark.mistake("linear_hand", "a folder, or a file in a folder that is not there", "refused")
def test_a_linear_hand_needs_a_place(tmp_path, capsys, monkeypatch):
    def build(*_):
        raise BadInputError("it", "work", "none")

    monkeypatch.setattr(linear_hand, "build_linear_hand", build)
    for file in (tmp_path, tmp_path / "missing" / "linear.pkl"):
        code, error = run(linear_hand.main, capsys, file)
        assert code == 1 and error.startswith(f"error: FILE: found {file}")
    code, error = run(linear_hand.main, capsys, tmp_path / "linear.pkl", "--workers", "0")
    assert code == 1 and "workers: found 0" in error


@pytest.mark.mistake(
    "studio.template", "--help, or a folder to write to", "understood; a folder is refused"
)
def test_the_templates_are_not_rebuilt_by_mistake(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(template, "build_template", lambda kind: pytest.fail("rebuilt"))
    assert run(template.main, capsys, "--help")[0] == 0
    code, error = run(template.main, capsys, "--out", tmp_path)
    assert code == 2 and "unrecognized arguments: --out" in error
