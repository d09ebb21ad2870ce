"""Paths as people write them, and results that would be written over files.

Systems differ in how they store a name: macOS may decompose an umlaut into a letter and a mark
(NFD), editors write one character (NFC), and some disks ignore case. Names are compared in NFC.
"""

import fnmatch
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dhm.errors import BadInputError
from dhm.files import is_data

_MAGIC = frozenset("*?[")
_ANY_DEPTH = "**"


def home_expanded(path: str | Path) -> Path:
    """Returns the path with the home of the user for a `~` or `~user` that it begins with.

    Raises:
        BadInputError: There is no such user, or no home is known.
    """
    expanded = os.path.expanduser(path)
    text = os.fspath(path)
    if text.startswith("~") and expanded == text and not os.path.lexists(text):
        expected = "the home of a user behind ~; ./~ for a file of that name"
        raise BadInputError(text, "no such user", expected)
    return Path(expanded)


def composed(name: str) -> str:
    """Returns the name in Unicode's composed form, NFC."""
    return unicodedata.normalize("NFC", name)


def name_key(name: str) -> str:
    """Returns a key that is equal for names that are one file on some file system."""
    return composed(composed(name).casefold())


def path_parts(path: str | Path, folder: Path | None = None) -> tuple[str, ...]:
    """Returns the parts of the absolute path, without `.`, `..` and `~`, in NFC.

    Links are not followed.

    Args:
        path: The path.
        folder: What a relative path is relative to; the working folder by default.
    """
    absolute = os.path.abspath(os.path.join(folder or "", os.path.expanduser(path)))
    return Path(composed(absolute)).parts


def existing(path: str | Path) -> Path:
    """Returns the file or folder that a path names, whichever Unicode form its names have.

    Args:
        path: The path; `~` is expanded.

    Returns:
        The path as the disk has it, or, where nothing is there, as it was given.

    Raises:
        BadInputError: Two names differ by their Unicode form alone, and neither is the given one.
    """
    path = home_expanded(path)
    if os.path.lexists(path) or path.as_posix().isascii():
        return path
    found = Path(path.anchor)
    for part in path.parts[len(found.parts) :]:
        named = part if os.path.lexists(found / part) else _one_named(found, part)
        if named is None:
            return path
        found /= named
    return found


def _one_named(folder: Path, name: str) -> str | None:
    """Returns the name in a folder that equals another in NFC."""
    names = [one for one in _names(folder) if composed(one) == composed(name)]
    if len(names) > 1:
        found = f"{len(names)} names that look like {name!r} and differ in their Unicode form"
        raise BadInputError(folder, found, "one of them, or exactly the name that is asked for")
    return names[0] if names else None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:  # no folder, or one that may not be read: nothing of it can match
        return []


def matching(pattern: str) -> list[Path]:
    """Returns what a pattern stands for, sorted.

    `*`, `?` and `[...]` match within a name, `**` any number of folders. A part that is itself a
    name in its folder stands for that alone, so that folders may have brackets in their names; so
    do brackets that match nothing as a pattern. Names are compared in NFC; those that begin with a
    dot match only a pattern that does.

    Args:
        pattern: The pattern; `~` is expanded.
    """
    path = home_expanded(pattern)
    start = Path(path.anchor)
    parts = path.parts[len(start.parts) :]
    if parts and parts[-1] == _ANY_DEPTH:
        parts = (*parts, "*")
    return sorted(dict.fromkeys(_matching(start, parts)))


def _matching(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if part == _ANY_DEPTH:
        yield from _matching(folder, rest)
        for name in _names(folder):
            below = folder / name
            if is_data(name) and below.is_dir() and not below.is_symlink():
                yield from _matching(below, parts)
        return
    for name in _matching_names(folder, part):
        yield from _matching(folder / name, rest)


def _matching_names(folder: Path, part: str) -> list[str]:
    if part == os.pardir or os.path.lexists(folder / part):
        return [part]
    names = _names(folder)
    same = [name for name in names if composed(name) == composed(part)]
    if same or not _MAGIC & set(part):
        return same
    if not part.startswith("."):
        names = [name for name in names if is_data(name)]
    matched = _filtered(names, part)
    return matched or _filtered(names, part.replace("[", "[[]"))


def _filtered(names: Iterable[str], pattern: str) -> list[str]:
    pattern = composed(pattern)
    return [name for name in names if fnmatch.fnmatchcase(composed(name), pattern)]


def refuse_overwriting(
    flag: str, results: Iterable[Path], files: Iterable[Path], folders: Iterable[Path] = ()
) -> None:
    """Refuses results that would be written over what a command was given.

    Args:
        flag: The flag that places the results, for the message.
        results: Paths that will be written.
        files: Files that were given.
        folders: Folders that were given, of which no file may be written.

    Raises:
        BadInputError: A result is one of the files, or lies in one of the folders.
    """
    given = {place: file for file in files for place in _places(file)}
    closed = {place: folder for folder in folders for place in _places(folder)}
    expected = "another place for the results, which must not replace what was given"
    for result in results:
        for place in _places(result):
            if place in given:
                raise BadInputError(flag, f"{result} over the input {given[place]}", expected)
            above = (place[:length] for length in range(1, len(place) + 1))
            inside = [closed[one] for one in above if one in closed]
            if inside:
                raise BadInputError(flag, f"{result} in the input {inside[0]}", expected)


def refuse_removing(flag: str, folder: Path, inputs: Iterable[Path]) -> None:
    """Refuses a folder for results, which is replaced as a whole, that has an input in it.

    Args:
        flag: The flag that names the folder, for the message.
        folder: The folder.
        inputs: Files and folders that were given.

    Raises:
        BadInputError: One of them is the folder, or lies in it.
    """
    folders = _places(folder)
    for one in inputs:
        if any(place[: len(at)] == at for place in _places(one) for at in folders):
            expected = "another folder for the results, which replace all that is in it"
            raise BadInputError(flag, f"{folder}, which holds the input {one}", expected)


def _places(path: Path) -> set[tuple[str, ...]]:
    """Returns keys of a path: that of its name in its real folder, and that of what it links to."""
    path = Path(os.path.abspath(os.path.expanduser(path)))
    real = (os.path.join(os.path.realpath(path.parent), path.name), os.path.realpath(path))
    return {Path(name_key(one)).parts for one in real}


def require_folder(flag: str, folder: Path) -> None:
    """Refuses a folder for results where a file is in its place or above it.

    Raises:
        BadInputError: There is such a file.
    """
    for place in (folder, *folder.parents):
        if place.is_dir():
            return
        if os.path.lexists(place):
            raise BadInputError(flag, f"{place}, a file", "a folder, or a path where none is yet")


def require_writable_place(flag: str, file: Path) -> None:
    """Refuses a path for one result file that is a folder, or whose folder is not there.

    Raises:
        BadInputError: The file could not be written.
    """
    if file.is_dir():
        raise BadInputError(flag, f"{file}, a folder", "the name of a file")
    if not file.parent.is_dir():
        raise BadInputError(flag, f"{file}", f"a file in a folder that is there, not {file.parent}")
