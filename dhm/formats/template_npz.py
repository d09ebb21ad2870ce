"""A hand template in one .npz file: exact, and read without pickle."""

import dataclasses
from pathlib import Path

import numpy as np

from dhm.formats.npz import Arrays
from dhm.types import HandTemplate


def write_template(path: Path, template: HandTemplate) -> None:
    """Writes every field of a template."""
    arrays = {f.name: np.asarray(getattr(template, f.name)) for f in dataclasses.fields(template)}
    np.savez_compressed(path, **arrays)


def read_template(path: Path) -> HandTemplate:
    """Reads what `write_template` wrote.

    Raises:
        BadInputError: If the file is missing, damaged or lacks an array.
    """
    arrays = Arrays(path)
    fields: dict = {f.name: arrays[f.name] for f in dataclasses.fields(HandTemplate)}
    fields["joint_names"] = tuple(map(str, fields["joint_names"]))
    fields["parents"] = tuple(map(int, fields["parents"]))
    return HandTemplate(**fields)
