"""Details of hands against the measures that they consist of; classes of frames."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.studio.template.hand_template import hand_template
from dhm.data.prepared_data import PreparedData
from dhm.evaluation.details import (
    CONTACT_MM,
    FLEXED_DEGREES,
    POSES,
    HandDetails,
    contact_distance,
    evaluate_details,
    is_contact,
    is_flexed,
    mean_flexion,
    summarise_details,
)
from dhm.evaluation.evaluate import evaluate, evaluate_fitted
from dhm.evaluation.penetration import hand_parts, penetration
from dhm.geometry.hand_rig import FINGERS, FINGERTIPS, JOINT_NAMES, dof_names
from dhm.geometry.kinematics import forward_kinematics


@pytest.fixture(scope="module")
def data(toy_prepared):
    return PreparedData(toy_prepared)


@pytest.fixture(scope="module")
def details(data, toy_model):
    _, model, variables = toy_model
    return evaluate_details(model, variables, data, batch_size=4)


def test_errors_equal_those_of_evaluate(data, toy_model, details):
    _, model, variables = toy_model
    _, first = np.unique(data.split_index("test").frame_id, return_index=True)
    images = evaluate(model, variables, data, batch_size=4, num_threads=0)
    fitted = evaluate_fitted(model, variables, data, batch_size=4)
    assert len(details["encoder"]) == len(images) > len(details["fitted"]) == len(first)
    others = np.setdiff1d(np.arange(len(images)), first)
    of_encoder = [images[record] for record in first]
    of_encoder += [images[record]._replace(M_err=math.nan) for record in others]
    pairs = zip(details["encoder"], of_encoder, strict=True)
    for found, errors in [*pairs, *zip(details["fitted"], fitted, strict=True)]:
        assert found.sequence == errors.sequence
        assert found.P_err == pytest.approx(errors.P_err, rel=1e-4)
        assert found.M_err == pytest.approx(errors.M_err, rel=1e-4, nan_ok=True)


def test_penetration_is_that_of_the_decoded_hand(data, toy_model, details):
    """In the model's own frame: an alignment moves it and changes nothing."""
    _, model, variables = toy_model
    _, first = np.unique(data.split_index("test").frame_id, return_index=True)
    image = data.image("test", int(first[0]))
    _, output = model.apply(variables, jnp.asarray(image[None]))
    expected = penetration(np.asarray(output.vertices[0]), hand_parts(model.template))
    found = details["encoder"][0]
    assert found.penetration_max == pytest.approx(expected.max_depth, abs=0.02)
    assert found.penetration_mean == pytest.approx(expected.mean_depth, abs=0.02)


def test_the_error_of_the_visible_skin_is_of_the_same_size(details):
    assert all(0 < frame.M_err_visible < 3 * frame.M_err for frame in details["fitted"])


def test_a_stride_leaves_out_frames_with_all_their_views(data, toy_model, details):
    _, model, variables = toy_model
    some = evaluate_details(model, variables, data, batch_size=4, stride=2)
    _, frame, views = np.unique(
        data.split_index("test").frame_id, return_inverse=True, return_counts=True
    )
    assert len(some["fitted"]) == math.ceil(len(views) / 2)
    assert len(some["encoder"]) == views[::2].sum() < len(frame)
    for pose in POSES:
        assert some[pose][0].P_err == pytest.approx(details[pose][0].P_err, rel=1e-5)


def test_all_views_of_a_frame_have_its_class(data, toy_model, monkeypatch):
    frame_id = data.split_index("test").frame_id
    _, first, frame = np.unique(frame_id, return_index=True, return_inverse=True)
    width = [float(np.ptp(data.record("test", int(view)).joints[:, 0])) for view in first]
    assert len(set(width)) == len(first)
    monkeypatch.setattr(
        "dhm.evaluation.details.is_contact",
        lambda joints, valid, names: np.ptp(np.asarray(joints)[..., 0], axis=-1) > min(width),
    )
    _, model, variables = toy_model
    found = evaluate_details(model, variables, data, batch_size=4)
    of_frame = [hand.contact for hand in found["fitted"]]
    assert len(set(of_frame)) == 2
    records = [*first, *np.setdiff1d(np.arange(len(frame_id)), first)]
    for record, hand in zip(records, found["encoder"], strict=True):
        assert hand.contact == of_frame[frame[record]]


def test_means_are_over_measured_hands():
    frames = [
        HandDetails("a", True, False, 1, 2, 3, 0.5, 1.5, 10),
        HandDetails("a", False, True, 3, 4, math.nan, 0.5, 2.5, 30),
        HandDetails("b", False, False),
    ]
    row = summarise_details(frames)
    assert (row["hands"], row["flexed"], row["contact"]) == (3, 1, 1)
    assert (row["P_err"], row["M_err"], row["M_err_visible"]) == (2, 3, 3)
    assert (row["M_err_flexed"], row["M_err_contact"]) == (2, 4)
    assert (row["penetrating"], row["penetration_volume"]) == (0.5, 20)
    deep = [HandDetails("a", False, False, penetration_max=depth) for depth in (0, 2.0, 2.01, 9)]
    assert summarise_details([*deep, frames[2]])["penetrating"] == 0.5
    nothing = summarise_details(frames[2:])
    assert nothing["M_err"] is None and nothing["penetrating"] is None


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


def test_contact_is_a_threshold_on_the_distance():
    joints, valid = _spread(), np.ones(22, bool)
    tip, other = JOINT_NAMES.index("thumb_null"), JOINT_NAMES.index("index_null")
    for away, expected in ((CONTACT_MM - 0.01, True), (CONTACT_MM + 0.01, False)):
        joints[tip] = joints[other] + [0, 0, away]
        assert is_contact(joints, valid, JOINT_NAMES) == expected


def test_joints_without_annotation_touch_nothing():
    tip, other = JOINT_NAMES.index("ring_null"), JOINT_NAMES.index("wrist")
    joints = np.stack([_spread()] * 3)
    joints[:, tip] = joints[:, other]
    valid = np.ones((3, 22), bool)
    valid[1, tip] = valid[2, other] = False
    np.testing.assert_array_equal(is_contact(joints, valid, JOINT_NAMES), [True, False, False])
    # Joints that were not annotated are all at the origin.
    assert _distance(np.zeros((22, 3)), np.zeros(22, bool)) == np.inf


def test_a_hand_at_rest_is_neither_flexed_nor_in_contact():
    template = hand_template("coarse")
    frames = forward_kinematics(
        jnp.asarray(template.T_parent_joint),
        jnp.broadcast_to(jnp.eye(3), (template.num_joints, 3, 3)),
        template.parents,
    )
    joints = np.asarray(frames)[:, :3, 3]
    assert 20 < contact_distance(joints, np.ones(22, bool), template.joint_names) < 40
    assert not is_flexed(np.zeros(28), template.joint_names)
