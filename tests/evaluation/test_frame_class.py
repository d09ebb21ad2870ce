import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.studio.template.hand_template import hand_template
from dhm.evaluation.frame_class import (
    CONTACT_MM,
    FLEXED_DEGREES,
    contact_distance,
    is_contact,
    is_flexed,
    mean_flexion,
)
from dhm.geometry.hand_rig import FINGERS, FINGERTIPS, JOINT_NAMES, dof_names
from dhm.geometry.kinematics import forward_kinematics

DOFS = dof_names(JOINT_NAMES)
FLEXIONS = [f"{finger}{bone}_z" for finger in FINGERS[1:] for bone in (1, 2, 3)]


def _theta(**angles):
    return np.array([angles.get(name, 0.0) for name in DOFS])


@pytest.mark.parametrize("name", DOFS)
def test_each_flexion_counts_a_twelfth_and_nothing_else_does(name):
    expected = 1 / 12 if name in FLEXIONS else 0
    assert mean_flexion(_theta(**{name: 1.0}), JOINT_NAMES) == pytest.approx(expected)


def test_a_hand_is_flexed_above_half_a_right_angle():
    limit = np.radians(FLEXED_DEGREES)
    for angle, expected in ((limit + 1e-6, True), (limit - 1e-6, False), (-1.0, False)):
        assert is_flexed(_theta(**dict.fromkeys(FLEXIONS, angle)), JOINT_NAMES) == expected
    # Two bent fingers of four.
    two = {name: 1.5 for name in FLEXIONS if name.startswith(("index", "ring"))}
    assert not is_flexed(_theta(**two), JOINT_NAMES)
    three = two | {name: 1.5 for name in FLEXIONS if name.startswith("pinky")}
    assert is_flexed(_theta(**three), JOINT_NAMES)


def test_leading_axes_and_another_order_of_the_joints():
    rng = np.random.default_rng(0)
    theta = rng.uniform(0, 1.6, (3, 4, len(DOFS)))
    assert is_flexed(theta, JOINT_NAMES).shape == (3, 4)
    # The pose vector goes by names, whatever the order of the rig.
    shuffled = tuple(rng.permutation(JOINT_NAMES).tolist())
    np.testing.assert_array_equal(is_flexed(theta, shuffled), is_flexed(theta, JOINT_NAMES))
    with pytest.raises(ValueError, match="index1"):
        is_flexed(theta, tuple(name for name in JOINT_NAMES if name != "index1"))


def _spread():
    """Joints a metre from one another."""
    return np.arange(22.0)[:, None] * [1000.0, 0, 0]


def _distance(joints, valid=None):
    valid = np.ones(22, bool) if valid is None else valid
    return contact_distance(joints, valid, JOINT_NAMES)


@pytest.mark.parametrize("tip", FINGERTIPS)
def test_a_fingertip_touches_any_joint_but_those_of_its_own_finger(tip):
    own = tip.removesuffix("_null")
    for name in JOINT_NAMES:
        if name == tip:
            continue
        joints = _spread()
        joints[JOINT_NAMES.index(tip)] = joints[JOINT_NAMES.index(name)] + [0, 7.0, 0]
        touches = not name.startswith(own)
        assert (_distance(joints) == pytest.approx(7)) == touches
        assert is_contact(joints, np.ones(22, bool), JOINT_NAMES) == touches


def test_joints_that_are_no_fingertips_do_not_touch():
    joints = _spread()
    joints[JOINT_NAMES.index("index2")] = joints[JOINT_NAMES.index("middle2")]
    assert _distance(joints) > 900


def test_the_distance_decides():
    joints, valid = _spread(), np.ones(22, bool)
    tip, other = JOINT_NAMES.index("thumb_null"), JOINT_NAMES.index("index_null")
    for away, expected in ((CONTACT_MM - 0.01, True), (CONTACT_MM + 0.01, False)):
        joints[tip] = joints[other] + [0, 0, away]
        assert is_contact(joints, valid, JOINT_NAMES) == expected
    assert is_contact(joints, valid, JOINT_NAMES, distance=25.0)


def test_joints_without_annotation_touch_nothing():
    tip, other = JOINT_NAMES.index("ring_null"), JOINT_NAMES.index("wrist")
    joints = np.stack([_spread()] * 3)
    joints[:, tip] = joints[:, other]
    valid = np.ones((3, 22), bool)
    valid[1, tip] = valid[2, other] = False
    np.testing.assert_array_equal(is_contact(joints, valid, JOINT_NAMES), [True, False, False])
    # Joints that were not annotated are all at the origin.
    assert _distance(np.zeros((22, 3)), np.zeros(22, bool)) == np.inf


def test_a_hand_at_rest_is_neither():
    template = hand_template("coarse")
    frames = forward_kinematics(
        jnp.asarray(template.T_parent_joint),
        jnp.broadcast_to(jnp.eye(3), (template.num_joints, 3, 3)),
        template.parents,
    )
    joints = np.asarray(frames)[:, :3, 3]
    assert 20 < contact_distance(joints, np.ones(22, bool), template.joint_names) < 40
    assert not is_flexed(np.zeros(28), template.joint_names)
