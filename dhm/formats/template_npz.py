"""A hand template in one .npz file: exact, and read without pickle."""

import dataclasses
from pathlib import Path

import numpy as np

from dhm.errors import BadInputError
from dhm.formats.npz import Arrays
from dhm.formats.skeleton import Skeleton, check_tree
from dhm.types import HandTemplate


def write_template(path: Path, template: HandTemplate) -> None:
    """Writes every field of a template."""
    arrays = {f.name: np.asarray(getattr(template, f.name)) for f in dataclasses.fields(template)}
    np.savez_compressed(path, **arrays)


def read_template(path: Path) -> HandTemplate:
    """Reads what `write_template` wrote.

    Raises:
        BadInputError: If the file is missing, damaged or lacks an array, or these are no hand.
    """
    arrays = Arrays(path)
    names = arrays.of("joint_names", "U", None).tolist()
    vertices = arrays.of("v_template", "f", None, 3)
    faces = arrays.of("faces", "iu", None, 3)
    template = HandTemplate(
        joint_names=tuple(names),
        parents=tuple(arrays.of("parents", "iu", len(names)).tolist()),
        T_parent_joint=arrays.of("T_parent_joint", "f", len(names), 4, 4),
        v_template=vertices,
        faces=faces,
        lbs_weights=arrays.of("lbs_weights", "f", len(vertices), len(names)),
        uvs=arrays.of("uvs", "f", None, 2),
        faces_uv=arrays.of("faces_uv", "iu", len(faces), 3),
    )
    _check_indices(path, template)
    return template


def _check_indices(path: Path, template: HandTemplate) -> None:
    for name, count in {"faces": template.num_vertices, "faces_uv": len(template.uvs)}.items():
        indices = getattr(template, name)
        if indices.size and not (indices.min() >= 0 and indices.max() < count):
            found = f"{name} from {indices.min()} to {indices.max()}"
            raise BadInputError(path, found, f"indices below {count}")
    check_tree(path, Skeleton(template.joint_names, template.parents))
