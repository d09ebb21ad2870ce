"""The readers of an exported model import only packages of the core installation."""

import subprocess
import sys

from tests.conftest import REPOSITORY

_READERS = "npz, hand_template, mano_pickle, json_file, obj, ply, scan, release_annotations"
_NOT_IN_THE_CORE = (
    "cv2", "PIL", "imageio", "trimesh", "tensorflow_datasets", "array_record", "grain",
    "ml_collections",
)  # fmt: skip


def test_readers_of_models_import_only_core_packages():
    code = (
        f"import sys; from dhm.formats import {_READERS}; "
        f"found = set({_NOT_IN_THE_CORE}) & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
