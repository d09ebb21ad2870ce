"""Which entries of a folder are data, and which the system left there."""

from pathlib import Path

_LEFT_BY_SYSTEMS = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir"})


def is_data(name: str) -> bool:
    """Whether a file or folder of this name may be data.

    Names that begin with a dot are not, whatever wrote them (.DS_Store, ._x, .nfs0001, .Trashes),
    nor are the few other names that Windows, unpacked archives and network disks leave.
    """
    return not name.startswith(".") and name.casefold() not in _LEFT_BY_SYSTEMS


def data_paths(folder: Path, pattern: str = "*") -> list[Path]:
    """Returns the paths below a folder that match a pattern and are data, sorted.

    A path is data if every part of it below `folder` is; the folder itself may have any name.

    Args:
        folder: The folder; may be missing.
        pattern: For `Path.glob`; "**/*" is everything at any depth.
    """
    found = folder.glob(pattern)
    return sorted(p for p in found if all(map(is_data, p.relative_to(folder).parts)))


def keep_no_data(old: Path, new: Path) -> None:
    """Moves what is no data from a folder into the one that will replace it.

    Args:
        old: The folder that is replaced.
        new: The other one, on the same disk; has no such entry yet.
    """
    for path in old.iterdir():
        if not is_data(path.name):
            path.rename(new / path.name)
