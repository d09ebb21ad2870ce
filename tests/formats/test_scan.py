"""Scans: which reader a file gets."""

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.obj import ObjMesh, write_obj
from dhm.formats.ply import write_ply
from dhm.formats.scan import read_scan
from tests.formats.samples import FACES, VERTICES


def test_both_kinds_of_file_give_the_same_mesh(tmp_path):
    write_ply(tmp_path / "a.PLY", VERTICES, FACES)
    write_obj(tmp_path / "a.obj", ObjMesh(VERTICES, FACES, None, None))
    for name in ("a.PLY", "a.obj"):
        vertices, faces = read_scan(tmp_path / name)
        np.testing.assert_array_equal(vertices, VERTICES)
        np.testing.assert_array_equal(faces, FACES)
        assert faces.dtype == np.int32


@pytest.mark.mistake("scans, .ply", "another kind of file, such as .stl", "refused")
def test_scans_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(BadInputError, match=r"a file of type '.stl', expected .ply or .obj"):
        read_scan(tmp_path / "m.stl")
    with pytest.raises(BadInputError, match="no such file"):
        read_scan(tmp_path / "absent.ply")
