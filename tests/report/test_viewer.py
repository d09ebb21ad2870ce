import base64

import numpy as np
import pytest

from dhm.data.prepared_data import PreparedData
from dhm.report.viewer import SCRIPT, ViewerMesh, pack, upright
from tests.references.geometry import random_rotation


@pytest.fixture(scope="module")
def template(toy_prepared):
    return PreparedData(toy_prepared).template


def _array(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def test_a_packed_mesh_unpacks_to_hundredths_of_a_millimetre(template):
    packed = pack([ViewerMesh("a", template.v_template)], template.faces)
    (mesh,) = packed["meshes"]
    vertices = _array(mesh["vertices"], "<i2").reshape(-1, 3) * mesh["scale"]
    low, high = template.v_template.min(axis=0), template.v_template.max(axis=0)
    np.testing.assert_allclose(vertices, template.v_template - (low + high) / 2, atol=0.01)
    assert packed["index_bits"] == 16
    np.testing.assert_array_equal(_array(packed["faces"], "<u2").reshape(-1, 3), template.faces)


def test_many_vertices_have_32_bit_indices():
    vertices = np.zeros((70_000, 3))
    packed = pack([ViewerMesh("a", vertices)], np.array([[0, 1, 69_999]], np.int32))
    assert packed["index_bits"] == 32
    np.testing.assert_array_equal(_array(packed["faces"], "<u4"), [0, 1, 69_999])


@pytest.mark.parametrize("seed", range(3))
def test_a_hand_is_turned_upright_from_any_orientation(template, seed):
    turn = random_rotation(np.random.default_rng(seed), 1)[0]
    stood = upright(template.v_template, template)
    np.testing.assert_allclose(
        upright(template.v_template @ turn.T + [3, 4, 5], template), stood, atol=1e-3
    )
    names = template.joint_names

    def place(joint):
        weights = template.lbs_weights[:, names.index(joint)]
        return weights @ stood / weights.sum()

    assert place("middle3")[1] > place("middle1")[1] > place("wrist")[1]
    # A right hand from its back: the thumb to the left, and bent fingers away.
    assert place("thumb3")[0] < place("index1")[0] < place("pinky1")[0]


def test_the_script_cannot_end_its_element():
    assert "</" not in SCRIPT.read_text() and "<!--" not in SCRIPT.read_text()
