"""Digests of a folder's files, by which damage is seen before anything is read."""

import hashlib
import json
from pathlib import Path

SEAL_FILE = "digests.json"


def seal(folder: Path) -> None:
    """Writes the SHA-256 of every file of a folder, and of that list, into a file beside them.

    Raises:
        OSError: If a file cannot be read or the list not be written.
    """
    files = {name: _digest(folder / name) for name in _files(folder)}
    (folder / SEAL_FILE).write_bytes(_content(files))


def damage(folder: Path) -> str | None:
    """Returns what differs from the sealed folder, naming the file, or None.

    A file that came later counts too.
    """
    path = folder / SEAL_FILE
    try:
        content = path.read_bytes()
        files = dict(json.loads(content)["files"])
    except FileNotFoundError:
        return f"{SEAL_FILE} is missing: it was not written to its end, or by an older version"
    except (ValueError, KeyError, TypeError, OSError) as error:
        return f"{SEAL_FILE} is damaged ({error!r})"
    if content != _content(files):  # to the last byte of its white space
        return f"{SEAL_FILE} is damaged (its own digest differs)"
    present = set(_files(folder))
    if missing := sorted(files.keys() - present):
        return f"{missing[0]} is missing"
    if added := sorted(present - files.keys()):
        return f"{added[0]} does not belong to it"
    for name, expected in files.items():
        try:
            found = _digest(folder / name)
        except OSError as error:
            return f"{name} cannot be read ({error})"
        if found != expected:
            return f"{name} is damaged (its digest differs)"
    return None


def _files(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path != folder / SEAL_FILE)
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(files: dict[str, str]) -> bytes:
    of_list = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return json.dumps({"files": files, "list": of_list}, indent=1).encode()
