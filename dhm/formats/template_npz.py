"""A hand template in one .npz file: exact, and read without pickle."""

import dataclasses
import zipfile
import zlib
from pathlib import Path

import numpy as np

from dhm.errors import BadInputError
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
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except FileNotFoundError as error:
        raise BadInputError(path, "no such file", "a hand template (.npz)") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInputError(path, f"a damaged file ({error})", "NumPy arrays (.npz)") from error
    names = [field.name for field in dataclasses.fields(HandTemplate)]
    if missing := [name for name in names if name not in arrays]:
        raise BadInputError(path, f"no array {missing[0]!r}", f"the arrays {names}")
    fields: dict = {name: arrays[name] for name in names}
    fields["joint_names"] = tuple(map(str, fields["joint_names"]))
    fields["parents"] = tuple(map(int, fields["parents"]))
    return HandTemplate(**fields)
