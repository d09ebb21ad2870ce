"""The input files of `predict` and `fit`: found by pattern, named, and processed one by one."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from dhm.errors import BadInputError, DhmError, Interrupted

log = logging.getLogger(__name__)


def find_files(flag: str, texts: Sequence[str]) -> list[Path]:
    """Returns the files that names, folders and patterns stand for, each once.

    Args:
        flag: Name of the command line's flag, for messages.
        texts: Names of files, folders, or patterns with `*`, `?` and `[...]`.

    Raises:
        BadInputError: If one of them stands for no file.
    """
    found: dict[Path, None] = {}
    for text in map(os.path.expanduser, texts):
        if Path(text).is_dir():
            paths = [path for path in Path(text).iterdir() if not path.name.startswith(".")]
        elif Path(text).is_file():  # its name may have brackets
            paths = [Path(text)]
        else:
            paths = [Path(name) for name in glob.glob(text, recursive=True)]
        paths = [path for path in paths if path.is_file()]
        if not paths:
            raise BadInputError(flag, repr(text), "files that are there, a pattern or a folder")
        found |= dict.fromkeys(sorted(paths))
    return list(found)


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """Returns a name for the results of each file: its stem, or a longer name where two share one.

    Names that differ by case alone count as equal, as they do on some file systems.
    """
    stems = Counter(path.stem.casefold() for path in paths)
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        is_single = stems[path.stem.casefold()] == 1
        base = name = path.stem if is_single else path.name.replace(".", "_")
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def process_files(paths: Sequence[Path], out: Path, process: Callable[[Path, str], str]) -> int:
    """Processes files one by one; logs each result, each refusal with its reason, and a summary.

    Args:
        paths: The files.
        out: Folder of the results, for the summary.
        process: Takes a file and the stem of its results' names and returns a line to log. A
            `DhmError` refuses the file; the others are processed all the same.

    Returns:
        The number of refused files.
    """
    refused: list[DhmError] = []
    for path, stem in zip(paths, unique_stems(paths), strict=True):
        try:
            message = process(path, stem)
        except Interrupted:
            raise
        except DhmError as error:
            refused.append(error)
            log.warning("refused: %s", error)
        else:
            log.info("%s", message)
    log.info("%d of %d done, in %s", len(paths) - len(refused), len(paths), out)
    if refused:
        log.warning("%d refused:", len(refused))
        for error in refused:
            log.warning("  %s", error)
    return len(refused)
