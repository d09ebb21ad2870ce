"""Paths as people write them, and results that would replace files."""

import unicodedata
from pathlib import Path

import pytest

from dhm.errors import BadInputError
from dhm.formats.paths import (
    existing,
    home_expanded,
    matching,
    name_key,
    path_parts,
    refuse_overwriting,
    refuse_removing,
    require_folder,
    require_writable_place,
)

NFC, NFD = (unicodedata.normalize(form, "Hände") for form in ("NFC", "NFD"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def _touch(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


@pytest.mark.mistake("all commands", "~ in a path, also where no shell expands it", "understood")
@pytest.mark.mistake("all commands", "~ of a user that is not there", "refused")
def test_a_tilde_is_the_home_of_the_user(here):
    assert home_expanded("~/a") == here / "home" / "a" and home_expanded("a/~") == Path("a/~")
    with pytest.raises(BadInputError, match=r"~nobody_here/a: found no such user"):
        home_expanded("~nobody_here/a")


@pytest.mark.mistake("all commands", "an umlaut typed on another system", "understood")
@pytest.mark.parametrize("on_disk", [NFC, NFD])
@pytest.mark.parametrize("given", [NFC, NFD])
def test_a_name_is_found_in_either_unicode_form(on_disk, given, here):
    _touch(f"{on_disk}/{on_disk}.jpg")
    for start in ("", f"{here}/", "./x/../"):
        Path("x").mkdir(exist_ok=True)
        path = existing(f"{start}{given}/{given}.jpg")
        assert path.is_file() and path.name == f"{on_disk}.jpg"
        assert [one.name for one in matching(f"{start}{given}/{given[:3]}*.jpg")] == [path.name]
    assert existing(f"{given}/none.jpg") == Path(f"{given}/none.jpg")
    assert path_parts(NFC) == path_parts(f"./x/../{NFD}") == path_parts(NFD, here)
    assert name_key(f"{NFC}.JPG") == name_key(f"{NFD}.jpg")


def test_a_name_that_two_files_share_is_refused_unless_it_is_exact():
    _touch(f"{NFC}.jpg", f"{NFD}.jpg")
    if len(list(Path().glob("*.jpg"))) < 2:
        pytest.skip("needs a disk that keeps both Unicode forms of a name apart")
    assert existing(f"{NFC}.jpg").name == f"{NFC}.jpg"
    _touch("e\u0323\u0302.jpg", "\u1eb9\u0302.jpg")  # two ways to write an e with two marks
    with pytest.raises(BadInputError, match="2 names that look like"):
        existing("\u1ec7.jpg")


@pytest.mark.mistake("all commands", "folders and files with brackets or spaces", "understood")
def test_brackets_in_names_are_no_pattern():
    _touch("odd [1]/a.jpg", "odd 1/b.jpg", "run 1/c.jpg", "shot[1]_a.jpg", ".hid/d.jpg", "x/.e.jpg")
    assert matching("odd [1]/*.jpg") == [Path("odd [1]/a.jpg")]
    assert matching("odd [[]1]/*.jpg") == [Path("odd [1]/a.jpg")]
    assert matching("run [1-3]/*.jpg") == [Path("run 1/c.jpg")]
    assert matching("shot[1]_*.jpg") == [Path("shot[1]_a.jpg")]
    assert matching("o*/?.jpg") == [Path("odd 1/b.jpg"), Path("odd [1]/a.jpg")]
    assert {path.name for path in matching("**/*.jpg")} == {"a.jpg", "b.jpg", "c.jpg",
                                                            "shot[1]_a.jpg"}  # fmt: skip
    assert {path.name for path in matching("run*/**")} == {"c.jpg"}
    assert matching("./odd [1]/../run 1/c.*") == [Path("odd [1]/../run 1/c.jpg")]
    assert matching("none/*.jpg") == matching("a.jpg/*") == []


@pytest.mark.mistake(
    "all commands", "--out in the folder of the inputs, where a result would replace one", "refused"
)
def test_results_over_inputs_are_refused_through_links_and_cases(here):
    _touch("in/a.json", "real.json")
    Path("link").symlink_to("in")
    Path("in/b.json").symlink_to("../real.json")
    inputs = [Path("in/a.json"), Path("in/b.json")]
    for result in ("in/a.json", "link/a.json", "in/../in/a.json", here / "in" / "a.json",
                   "in/A.json", "in/b.json", "real.json"):  # fmt: skip
        with pytest.raises(BadInputError, match=r"--out: found .* over the input in/"):
            refuse_overwriting("--out", [Path("out/x"), Path(result)], inputs)
    refuse_overwriting("--out", [Path("in/c.json"), Path("out/a.json")], inputs)
    with pytest.raises(BadInputError, match=r"--out: found link/c\.json in the input in, expected"):
        refuse_overwriting("--out", [Path("link/c.json")], [], [Path("in")])
    refuse_overwriting("--out", [Path("inside/c.json")], [], [Path("in")])


def test_a_folder_that_holds_an_input_is_not_replaced(here):
    _touch("out/in/a.json")
    for one in ("out", "out/in", "out/in/a.json", here / "out" / "in"):
        with pytest.raises(BadInputError, match="--out: found out, which holds the input"):
            refuse_removing("--out", Path("out"), [Path(one)])
    refuse_removing("--out", Path("out/new"), [Path("out/in"), Path("out")])


@pytest.mark.mistake("all commands", "a file as --out, or a folder as --json", "refused")
def test_places_that_cannot_be_written_are_refused():
    _touch("file")
    require_folder("--out", Path("new/folder"))
    require_writable_place("--json", Path("new.json"))
    with pytest.raises(BadInputError, match="--out: found file, a file, expected a folder"):
        require_folder("--out", Path("file/below"))
    for bad in (Path(), Path("none/new.json")):
        with pytest.raises(BadInputError, match="--json: found "):
            require_writable_place("--json", bad)
