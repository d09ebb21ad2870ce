"""Details of frames against the single measures that they are made of."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from dhm.data.prepared_data import PreparedData
from dhm.evaluation.details import POSES, FrameDetails, evaluate_details, summarise_details
from dhm.evaluation.evaluate import evaluate, evaluate_fitted
from dhm.evaluation.penetration import hand_parts, penetration


@pytest.fixture(scope="module")
def data(toy_prepared):
    return PreparedData(toy_prepared)


@pytest.fixture(scope="module")
def details(data, toy_model):
    _, model, variables = toy_model
    return evaluate_details(model, variables, data, batch_size=4)


def test_the_errors_are_those_of_the_evaluation(data, toy_model, details):
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


def test_the_visible_skin_is_part_of_all_skin(details):
    assert all(0 < frame.M_err_visible < 3 * frame.M_err for frame in details["fitted"])


def test_every_second_frame(data, toy_model, details):
    _, model, variables = toy_model
    some = evaluate_details(model, variables, data, batch_size=4, stride=2)
    _, frame, views = np.unique(
        data.split_index("test").frame_id, return_inverse=True, return_counts=True
    )
    assert len(some["fitted"]) == math.ceil(len(views) / 2)
    assert len(some["encoder"]) == views[::2].sum() < len(frame)
    for pose in POSES:
        assert some[pose][0].P_err == pytest.approx(details[pose][0].P_err, rel=1e-5)


def test_all_views_of_a_frame_are_of_its_class(data, toy_model, monkeypatch):
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


def test_means_are_of_what_was_measured():
    frames = [
        FrameDetails("a", True, False, 1, 2, 3, 0.5, 1.5, 10),
        FrameDetails("a", False, True, 3, 4, math.nan, 0.5, 2.5, 30),
        FrameDetails("b", False, False),
    ]
    row = summarise_details(frames)
    assert (row["hands"], row["flexed"], row["contact"]) == (3, 1, 1)
    assert (row["P_err"], row["M_err"], row["M_err_visible"]) == (2, 3, 3)
    assert (row["M_err_flexed"], row["M_err_contact"]) == (2, 4)
    assert (row["penetrating"], row["penetration_volume"]) == (0.5, 20)
    nothing = summarise_details(frames[2:])
    assert nothing["M_err"] is None and nothing["penetrating"] is None
