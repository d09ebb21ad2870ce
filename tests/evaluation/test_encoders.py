"""P_err of encoders on a split: against each image by itself, and how it is laid out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dhm.data.prepared_data import PreparedData
from dhm.errors import DhmError
from dhm.evaluation.encoders import (
    FORMER,
    NEW,
    EncoderErrors,
    comparison,
    evaluate_encoder,
    summarise_encoder,
)
from dhm.evaluation.evaluate import evaluate, format_table
from dhm.geometry.bone_lengths import adjust_bone_lengths


@pytest.fixture(scope="module")
def measured(toy_model, toy_prepared):
    _, model, variables = toy_model
    return evaluate_encoder(model, variables, PreparedData(toy_prepared), batch_size=4)


def test_p_err_is_that_of_evaluate(measured, toy_model, toy_prepared):
    _, model, variables = toy_model
    data = PreparedData(toy_prepared)
    expected = evaluate(model, variables, data, batch_size=4, mesh_stride=100)
    assert [error.sequence for error in measured] == [error.sequence for error in expected]
    for error, one in zip(measured, expected, strict=True):
        assert error.P_err == pytest.approx(one.P_err, abs=1e-3)


def test_adjusted_errors_are_those_of_each_image_by_itself(measured, toy_model, toy_prepared):
    _, model, variables = toy_model
    data = PreparedData(toy_prepared)
    names = model.template.joint_names
    used = [names.index(n) for n in ("index1", "middle1", "ring1", "pinky1", "wrist")]
    for record, error in enumerate(measured):
        fields = data.record("test", record)
        image = jnp.asarray(data.image("test", record)[None])
        theta = model.apply(variables, image, method="encode")
        joints = model.apply(variables, theta, method="pose_joints")[0, :, :3, 3]
        target, valid = jnp.asarray(fields.joints), jnp.asarray(fields.joint_valid)
        joints = np.float64(adjust_bone_lengths(joints, target, valid, model.template.parents))
        target = np.float64(target)
        centres = [points[used].mean(axis=0) for points in (joints, target)]
        R, _ = Rotation.align_vectors(target[used] - centres[1], joints[used] - centres[0])
        distance = np.linalg.norm(R.apply(joints - centres[0]) + centres[1] - target, axis=1)
        assert error.adjusted == pytest.approx(distance[fields.joint_valid].mean(), abs=1e-2)


def test_a_model_that_gives_nan_is_refused(toy_model, toy_prepared):
    _, model, variables = toy_model
    bad = variables | {"params": jax.tree.map(lambda x: x * jnp.nan, variables["params"])}
    with pytest.raises(DhmError, match=r"NaN or infini"):
        evaluate_encoder(model, bad, PreparedData(toy_prepared), batch_size=4)


def test_means_are_by_the_person_that_a_sequence_is_named_after():
    errors = [
        EncoderErrors("s1_0041_RT_gesture", 10.0, 8.0),
        EncoderErrors("s1_0042_RT_gesture", 20.0, 12.0),
        EncoderErrors("s12_0041_RT_gesture", 30.0, 28.0),
        EncoderErrors("s12_0041_RT_gesture"),  # no alignment
        EncoderErrors("so_it_goes", 4.0, 4.0),
    ]
    summary = summarise_encoder(errors)
    assert list(summary) == ["s1", "s12", "overall"]
    assert summary["s1"] == {"images": 2, "P_err": 15.0, "adjusted": 10.0}
    assert summary["s12"] == {"images": 2, "P_err": 30.0, "adjusted": 28.0}
    assert summary["overall"] == {"images": 5, "P_err": 16.0, "adjusted": 13.0}
    assert summarise_encoder([EncoderErrors("a", math.nan, math.nan)])["overall"]["P_err"] is None


def test_the_comparison_has_the_improvement_in_percent():
    rows = {
        NEW: {"overall": {"images": 3, "P_err": 18.0, "adjusted": 15.0}},
        FORMER: {"overall": {"images": 3, "P_err": 24.0, "adjusted": 20.0}},
    }
    table = comparison(rows)
    assert table["overall"]["less_by_%"] == pytest.approx(25.0)
    assert table["overall"]["new_P_err"] == 18.0 and table["overall"]["former_adj"] == 20.0
    lines = format_table(table).splitlines()
    assert len(lines[0].split()) == 6 and lines[1].split() == [
        "overall", "3", "18.00", "24.00", "15.00", "20.00", "25.00",
    ]  # fmt: skip
    unmeasured = {name: {"overall": row["overall"] | {"adjusted": None}} for name, row in
                  rows.items()}  # fmt: skip
    assert comparison(unmeasured)["overall"]["less_by_%"] is None
