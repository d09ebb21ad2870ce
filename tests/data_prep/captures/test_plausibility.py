"""What joints, rigs and cameras cannot be, and what nothing is said of."""

import dataclasses

import numpy as np
import pytest

from data_prep.captures.frames import Capture
from data_prep.captures.plausibility import doubts, require_unit, rest_transforms
from data_prep.captures.release_capture import read_release_capture
from data_prep.studio.template.hand_template import hand_template
from dhm.errors import BadInputError
from dhm.geometry.hand_rig import JOINT_NAMES
from tests.data_prep import synthetic
from tests.data_prep.captures import foreign


@pytest.fixture(scope="module")
def toy(toy_prepared):
    return read_release_capture(toy_prepared.parent / "capture", 1)


def with_joints(capture, change):
    views = tuple(dataclasses.replace(view, joints=change(view.joints).astype(np.float32))
                  for view in capture.views)  # fmt: skip
    return dataclasses.replace(capture, views=views)


def with_rig(capture, change):
    T = np.stack([change(T) for T in capture.template.T_parent_joint]).astype(np.float32)
    return dataclasses.replace(capture, template=dataclasses.replace(
        capture.template, T_parent_joint=T))  # fmt: skip


@pytest.mark.parametrize("kind", ["full", "coarse"])
def test_nothing_is_said_of_the_projects_own_templates(toy, kind):
    assert doubts(dataclasses.replace(toy, template=hand_template(kind))) == ()


def test_nothing_is_said_of_the_foreign_capture(release_mini):
    capture = read_release_capture(release_mini, 4)
    require_unit(release_mini, capture)
    assert doubts(capture) == ()


@pytest.mark.parametrize("factor", [0.62, 1.0, 1.6])
def test_children_and_large_hands_are_hands(toy, tmp_path, factor):
    other = with_joints(toy, lambda joints: factor * joints)
    require_unit(tmp_path, other)
    assert doubts(other) == ()


@pytest.mark.parametrize("factor", [0.5, 2.2])
def test_very_small_and_very_large_hands_are_doubted(toy, tmp_path, factor):
    other = with_joints(toy, lambda joints: factor * joints)
    require_unit(tmp_path, other)
    (said,) = doubts(other)
    assert "times the template's: their unit or order, or the template, may be wrong" in said


@pytest.mark.parametrize(
    ("factor", "likely"),
    [
        (1e-3, "as of a file in metres"), (0.1, "as of a file in centimetres"),
        (1 / 25.4, "as of a file in inches"), (1000, "as of a template in metres"),
        (10, "as of a template in centimetres"), (0.0, "are 0 times"), (1e-6, "are 1"),
    ],
)  # fmt: skip
def test_other_units_are_named(toy, tmp_path, factor, likely):
    other = with_joints(toy, lambda joints: factor * joints)
    with pytest.raises(BadInputError, match=f"joints whose distances .*{likely}"):
        require_unit(tmp_path, other)


def test_of_few_joints_nothing_is_said(tmp_path):
    capture = Capture(synthetic.template(), (synthetic.view(tmp_path),), {})
    require_unit(tmp_path, capture)
    assert doubts(capture) == ()


def test_joints_that_are_not_measured_do_not_matter(toy, tmp_path):
    lost = [JOINT_NAMES.index(name) for name in ("wrist", "ring1", "pinky_null", "thumb1")]
    views = []
    for view in toy.views:
        valid, joints = view.joint_valid.copy(), view.joints.copy()
        valid[lost], joints[lost] = False, 0
        views.append(dataclasses.replace(view, joint_valid=valid, joints=joints))
    other = dataclasses.replace(toy, views=tuple(views))
    require_unit(tmp_path, other)
    assert doubts(other) == ()


Z_TO_X = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])


def turned_axes(T):
    """The rig with the joints' axes called otherwise: its z axes are the x axes."""
    return np.block([[Z_TO_X @ T[:3, :3] @ Z_TO_X.T, Z_TO_X @ T[:3, 3:]], [T[3:]]])


def mirrored(T):
    """A left hand's rig, whose positive angles bend the fingers as the right one's do."""
    return np.block([[T[:3, :3], -T[:3, 3:]], [T[3:]]])


@pytest.mark.mistake("capture, hand_model", "a rig of other axes, or of a left hand", "warning")
@pytest.mark.parametrize("change", [turned_axes, mirrored])
def test_rigs_of_other_axes_and_left_hands_are_doubted(toy, change):
    (said,) = doubts(with_rig(toy, change))
    assert "do not bend the fingers to the palm of a right hand about their z axes" in said


@pytest.mark.mistake("template.npz", "metres instead of mm", "refused")
def test_a_template_in_metres_is_refused(toy, tmp_path):
    def in_metres(T):
        return np.block([[T[:3, :3], T[:3, 3:] / 1000], [T[3:]]])

    with pytest.raises(BadInputError, match="as of a template in metres, or joints scaled twice"):
        require_unit(tmp_path, with_rig(toy, in_metres))


def test_rest_transforms_are_products_from_the_root(toy):
    template = toy.template
    expected = []
    for joint in range(template.num_joints):
        T = np.eye(4)
        while joint >= 0:
            T = template.T_parent_joint[joint].astype(float) @ T
            joint = template.parents[joint]
        expected.append(T)
    np.testing.assert_allclose(rest_transforms(template), expected, atol=1e-4)


@pytest.mark.parametrize("bend", [0.0, 0.5])
@pytest.mark.parametrize("is_left", [False, True])
def test_the_side_shows_in_bent_fingers_alone(toy, bend, is_left):
    hand = foreign.hand([0, 0, 900], is_left, **foreign.BENT | {"bend": bend})
    joints = np.array([hand.get(name, (0, 0, 0)) for name in JOINT_NAMES])
    said = " ".join(doubts(with_joints(toy, lambda _: joints)))
    assert ("bend to the back" in said) == (is_left and bend > 0)
