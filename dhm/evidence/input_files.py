"""The input files of `predict` and `fit`: found by pattern, named, and processed one by one."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from dhm.errors import BadInputError, DhmError, Interrupted
from dhm.files import data_paths
from dhm.formats.json_file import PARTIAL
from dhm.formats.paths import existing, matching, name_key, refuse_overwriting, require_folder

log = logging.getLogger(__name__)


class InputFile(NamedTuple):
    """A file to process.

    Attributes:
        path: The file.
        results: Endings of the names of its results, such as ".json" or "_0001.obj".
        reads: Other files that it names.
    """

    path: Path
    results: tuple[str, ...]
    reads: tuple[Path, ...] = ()


class Processed(NamedTuple):
    """What became of a file.

    Attributes:
        message: A line that sums it up.
        refused: Why parts of it, such as frames, were left out.
    """

    message: str
    refused: tuple[DhmError, ...] = ()


def find_files(flag: str, texts: Sequence[str]) -> list[Path]:
    """Returns the files that names, folders and patterns stand for, each once.

    Args:
        flag: Name of the command line's flag, for messages.
        texts: Names of files, folders, or patterns as `dhm.formats.paths.matching` reads them.

    Raises:
        BadInputError: If one of them stands for no file.
    """
    found: dict[str, Path] = {}
    for text in texts:
        path = existing(text)
        if path.is_dir():
            paths = data_paths(path)
        elif path.is_file():  # its name may have brackets
            paths = [path]
        else:
            paths = matching(text)
        paths = [path for path in paths if path.is_file()]
        if not paths:
            raise BadInputError(flag, repr(text), "files that are there, a pattern or a folder")
        for path in sorted(paths):
            found.setdefault(os.path.abspath(path), path)
    return list(found.values())


def name_results(files: Sequence[InputFile]) -> list[str]:
    """Returns the first part of the names of each file's results, so that no two are one file.

    It is the file's stem, or a longer name where the results of two files would share a name. Names
    count as one that are one file on some file system: in another case or Unicode form.
    """
    stems = Counter(name_key(file.path.stem) for file in files)
    names: list[str] = []
    taken: set[str] = set()
    for file in files:
        is_single = stems[name_key(file.path.stem)] == 1
        for name in _candidates(file.path, is_single):
            results = {name_key(name + ending) for ending in file.results}
            if not results & taken:
                break
        taken |= results
        names.append(name)
    return names


def _candidates(path: Path, is_single: bool) -> Iterator[str]:
    if is_single:
        yield path.stem
    long = path.name.replace(".", "_")
    yield long
    yield from (f"{long}_{number}" for number in count(2))


def process_files(
    files: Sequence[InputFile],
    out: Path,
    process: Callable[[Path, str], Processed],
    *,
    given: Iterable[Path] = (),
    closed: Iterable[Path] = (),
) -> int:
    """Processes files one by one; logs each result, each refusal with its reason, and a summary.

    Args:
        files: The files.
        out: Folder of the results, which is made if need be.
        process: Takes a file and the first part of its results' names. A `DhmError` refuses the
            file; the others are processed all the same.
        given: Other files that the command was given, over which no result is written.
        closed: Folders that it was given, into which none is written, and files likewise.

    Returns:
        The number of refused files and parts.

    Raises:
        BadInputError: If a result would be written over one of the files; nothing is written.
    """
    names = name_results(files)
    read = [path for file in files for path in (file.path, *file.reads)]
    results = [
        out / (name + ending + part) for file, name in zip(files, names, strict=True)
        for ending in file.results for part in ("", PARTIAL)
    ]  # fmt: skip
    require_folder("--out", out)
    refuse_overwriting("--out", results, [*read, *given], closed)
    out.mkdir(parents=True, exist_ok=True)
    refused: list[DhmError] = []
    num_done = 0
    for file, name in zip(files, names, strict=True):
        try:
            done = process(file.path, name)
        except Interrupted:
            raise
        except DhmError as error:
            refused.append(error)
            log.warning("refused: %s", error)
        else:
            num_done += 1
            named = "" if name == file.path.stem else f" (results: {name})"
            log.info("%s%s", done.message, named)
            for error in done.refused:
                log.warning("refused: %s", error)
            refused += done.refused
    log.info("%d of %d done, in %s", num_done, len(files), out)
    if refused:
        log.warning("%d refused:", len(refused))
        for error in refused:
            log.warning("  %s", error)
    return len(refused)
