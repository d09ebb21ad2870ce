"""What is installed: the packages of the extras, and the clone of the project."""

import importlib.util
import sys
from pathlib import Path

from dhm.errors import DhmError

_ROOT = Path(__file__).resolve().parents[2]
_CLONE_PACKAGES = ("data_prep", "configs")

# Extras of pyproject.toml that bring a package, by the name that it is imported by.
_DATA = ("data", "train", "studio", "report")
_TRAIN = ("train", "report")
_EXTRAS = {
    **dict.fromkeys(
        ("array_record", "grain", "importlib_resources", "ml_collections", "tensorflow_datasets",
         "tqdm", "zstandard"),
        _DATA,
    ),
    **dict.fromkeys(("absl", "orbax", "safetensors", "tensorboardX"), _TRAIN),
    **dict.fromkeys(("PIL", "cv2", "imageio"), ("photo", *_DATA)),
    **dict.fromkeys(("jinja2", "markupsafe"), ("report",)),
    "igl": (*_TRAIN, "studio"),
    "trimesh": ("photo",),
}  # fmt: skip


class MissingPartError(DhmError):
    """A package, or a part of the project, that a command needs is not installed."""


def missing_part(error: ModuleNotFoundError, command: str, extra: str) -> MissingPartError | None:
    """Says how to get a module that was not found; None if it is neither optional nor the clone's.

    Args:
        error: Names the module.
        command: What needs it.
        extra: The extra that brings what the command imports.
    """
    name = (error.name or "").partition(".")[0]
    if name in _CLONE_PACKAGES:
        return _needs_clone(command)
    if name not in _EXTRAS:
        return None
    chosen = extra if extra in _EXTRAS[name] else _EXTRAS[name][0]
    return MissingPartError(
        f'{command} needs the package {name}, which is not installed: pip install "dhm[{chosen}]"'
    )


def has_clone() -> bool:
    """Whether data_prep/ and configs/ can be imported; makes those of a clone importable."""
    if all((_ROOT / name).is_dir() for name in _CLONE_PACKAGES) and str(_ROOT) not in sys.path:
        sys.path.append(str(_ROOT))
    return importlib.util.find_spec("data_prep") is not None


def require_clone(command: str) -> Path:
    """The folder of the project's clone.

    Raises:
        MissingPartError: If this is an installed package without one.
    """
    if not has_clone() or not (_ROOT / "launch.py").is_file():
        raise _needs_clone(command)
    return _ROOT


def _needs_clone(command: str) -> MissingPartError:
    return MissingPartError(
        f"{command} needs configs/ and data_prep/, which a clone of the project has and the "
        "installed package has not: run it from a clone, where pip install -e . gives this command"
    )
