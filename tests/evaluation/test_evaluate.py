import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dhm.data.prepared_data import PreparedData
from dhm.errors import DhmError
from dhm.evaluation import aligned_hands as loop
from dhm.evaluation import evaluate as module
from dhm.evaluation.evaluate import (
    METRICS,
    SampleErrors,
    evaluate,
    evaluate_fitted,
    evaluate_template,
    format_table,
    summarise,
)
from dhm.evaluation.metrics import mesh_error
from dhm.evaluation.metrics_file import OVERALL
from dhm.types import HandOutput

ALIGNMENT = ("wrist", "index1", "middle1", "ring1", "pinky1")
UNALIGNED, WITH_THREE = 1, 5
BATCH_SIZE, MESH_STRIDE = 4, 2


@pytest.fixture(scope="module")
def data(toy_prepared):
    return PreparedData(toy_prepared)


def _hide_joints(data, batch):
    """Makes joints of two records invalid and sets their coordinates to nonsense."""
    names = data.template.joint_names
    valid, joints = batch.joint_valid.copy(), batch.joints.copy()
    for row, record in enumerate(batch.record):
        hidden = {UNALIGNED: ALIGNMENT[:3], WITH_THREE: ALIGNMENT[3:]}.get(int(record), ())
        for name in hidden:
            valid[row, names.index(name)] = False
            joints[row, names.index(name)] = 1e4
    return batch._replace(joint_valid=valid, joints=joints)


@pytest.fixture(scope="module")
def hidden_joints(data):
    """A batch of all records; in every batch records 1 and 5 lack alignment joints."""
    original = loop.make_batch

    def make_batch(*args):
        return _hide_joints(data, original(*args))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_batch", make_batch)
        fields = [data.record("test", record) for record in range(6)]
        yield make_batch(range(6), fields, [data.image("test", record) for record in range(6)])


@pytest.fixture(scope="module")
def errors(data, toy_model, hidden_joints):
    _, model, variables = toy_model
    return evaluate(
        model, variables, data, batch_size=BATCH_SIZE, mesh_stride=MESH_STRIDE, num_threads=0
    )


def _kabsch(source, target):
    """Root transform as rotation and translation, by SciPy."""
    rotation, _ = Rotation.align_vectors(target - target.mean(0), source - source.mean(0))
    R = rotation.as_matrix()
    return R, target.mean(0) - R @ source.mean(0)


@pytest.fixture(scope="module")
def recomputed(data, toy_model, hidden_joints):
    """Joints and vertices of each record after an alignment of its own, float64."""
    _, model, variables = toy_model
    batch = hidden_joints
    theta = model.apply(variables, jnp.asarray(batch.image), method="encode")
    output = model.apply(variables, theta, method="decode")
    names = data.template.joint_names
    result = {}
    for record in set(range(6)) - {UNALIGNED}:
        used = [names.index(n) for n in ALIGNMENT if batch.joint_valid[record, names.index(n)]]
        joints, vertices = np.float64(output.joints[record]), np.float64(output.vertices[record])
        R, t = _kabsch(joints[used], np.float64(batch.joints[record][used]))
        result[record] = joints @ R.T + t, vertices @ R.T + t
    return batch, result


def test_every_record_once_and_no_padding(data, errors):
    assert len(errors) == len(data.split_index("test").frame) == 6
    assert {sample.sequence for sample in errors} == {"0002_RT_spread"}


def test_P_err_is_that_of_an_independent_alignment(errors, recomputed):
    batch, hands = recomputed
    for record, sample in enumerate(errors):
        if record == UNALIGNED:
            assert math.isnan(sample.P_err)
            continue
        joints, _ = hands[record]
        distances = [
            math.dist(joints[j], batch.joints[record, j])
            for j in range(22)
            if batch.joint_valid[record, j]
        ]
        assert len(distances) == (19 if record == WITH_THREE else 21)
        assert sample.P_err == pytest.approx(sum(distances) / len(distances), abs=1e-2)
        assert 0.5 < sample.P_err < 100


def test_mesh_errors_on_every_other_record(data, errors, recomputed):
    _, hands = recomputed
    for record, sample in enumerate(errors):
        if record % MESH_STRIDE:
            assert all(math.isnan(getattr(sample, name)) for name in METRICS[1:])
            continue
        expected = mesh_error(hands[record][1], data.template.faces, *data.scan("test", record))
        assert sample.M_err == pytest.approx(expected.M_err, abs=0.02)
        assert sample.scan_to_mesh == pytest.approx(expected.scan_to_mesh, abs=0.02)
        assert sample.chamfer == pytest.approx(expected.chamfer, abs=0.02)
        assert abs(sample.beyond_cut - expected.beyond_cut) <= 1


def test_counts_are_of_measured_images(errors):
    row = summarise(errors)[OVERALL]
    assert (row["images"], row["aligned"], row["with_scan"]) == (6, 5, 3)


def _true_hand(data, record):
    """The scan, which is the true surface, and the true joints."""
    fields = data.record("test", record)
    return data.scan("test", record)[0], np.where(fields.joint_valid[:, None], fields.joints, 0)


def test_the_true_hand_has_no_errors(data, toy_model, monkeypatch):
    """Also: the order of the records is that of the errors, whatever the batch."""
    _, model, variables = toy_model
    hands = [_true_hand(data, record) for record in range(6)]
    vertices, joints = (jnp.asarray(np.stack(x)) for x in zip(*hands, strict=True))

    def truth(model, variables, batch):
        v, j = vertices[batch.record], joints[batch.record] + batch.record[:, None, None]
        return HandOutput(v, j, v, j), jnp.ones(len(v), bool)

    monkeypatch.setattr(module, "eval_step", truth)
    errors = evaluate(model, variables, data, batch_size=5, num_threads=2)
    for record, sample in enumerate(errors):
        assert sample.P_err == pytest.approx(record * math.sqrt(3), abs=1e-3)
        assert sample.chamfer == pytest.approx(0, abs=1e-3)


def test_a_hand_that_is_not_finite_is_refused(data, toy_model, monkeypatch):
    _, model, variables = toy_model

    def broken(model, variables, batch):
        v = jnp.zeros((len(batch.record), model.template.num_vertices, 3))
        v = v.at[:, 7].set(jnp.where(batch.record == 4, jnp.nan, 0.0)[:, None])
        return HandOutput(v, batch.joints, v, batch.joints), jnp.ones(len(v), bool)

    monkeypatch.setattr(module, "eval_step", broken)
    with pytest.raises(DhmError, match="the model gives NaN or infinity for test record 4"):
        evaluate(model, variables, data, batch_size=3, mesh_stride=100, num_threads=0)


def test_the_step_is_compiled_for_one_shape(data, toy_model, monkeypatch):
    _, model, variables = toy_model
    traces = []

    def counted(model, variables, batch):
        traces.append(batch.image.shape)
        v = jnp.zeros((len(batch.record), 3, 3))
        return HandOutput(v, batch.joints, v, batch.joints), jnp.zeros(len(v), bool)

    monkeypatch.setattr(module, "eval_step", counted)
    errors = evaluate(model, variables, data, batch_size=4, num_threads=0)
    assert traces == [(4, 32, 32, 3)]
    assert all(math.isnan(sample.P_err) for sample in errors)


ERRORS = [
    SampleErrors("b", 2.0, 1.0, 3.0, 2.0, 5),
    SampleErrors("a", 4.0),
    SampleErrors("b", 6.0, 2.0, 5.0, 3.5, 0),
    SampleErrors("a", math.nan),
    SampleErrors("c", math.nan),
    # All of its vertices lay beyond the cut.
    SampleErrors("b", 1.0, math.nan, 10.0, math.nan, 50),
]


def test_means_by_sequence_and_over_all_images():
    summary = summarise(ERRORS)
    assert list(summary) == ["a", "b", "c", OVERALL]
    assert summary["a"] == {
        "images": 2,
        "aligned": 1,
        "with_scan": 0,
        "P_err": 4.0,
        "M_err": None,
        "scan_to_mesh": None,
        "chamfer": None,
        "beyond_cut": None,
    }
    assert summary["b"] == {
        "images": 3,
        "aligned": 3,
        "with_scan": 2,
        "P_err": 3.0,
        "M_err": 1.5,
        "scan_to_mesh": 6.0,
        "chamfer": 2.75,
        "beyond_cut": 55 / 3,
    }
    assert summary["c"]["P_err"] is None and summary["c"]["images"] == 1
    # Over images, not over sequences.
    assert summary[OVERALL]["P_err"] == (2 + 4 + 6 + 1) / 4
    assert summary[OVERALL]["M_err"] == 1.5
    assert (summary[OVERALL]["images"], summary[OVERALL]["aligned"]) == (6, 4)


def test_numbers_are_plain_and_never_nan():
    for row in summarise(ERRORS).values():
        for value in row.values():
            assert value is None or type(value) in (int, float)
            assert value is None or math.isfinite(value)


def test_a_summary_of_nothing():
    summary = summarise([])
    assert list(summary) == [OVERALL]
    assert summary[OVERALL]["images"] == 0 and summary[OVERALL]["P_err"] is None


def test_the_table_has_a_line_a_sequence():
    summary = summarise(ERRORS)
    head, *lines = format_table(summary).splitlines()
    assert head.split() == ["images", "aligned", "with_scan", *METRICS]
    assert len({len(line) for line in (head, *lines)}) == 1
    assert lines[0].split() == ["a", "2", "1", "0", "4.00", "-", "-", "-", "-"]
    assert lines[1].split() == ["b", "3", "3", "2", "3.00", "1.50", "6.00", "2.75", "18.33"]
    assert lines[-1].split()[0] == OVERALL


@pytest.mark.parametrize("batch_size", [1, 4])
def test_fitted_angles_give_one_sample_a_frame_near_its_joints(data, toy_model, batch_size):
    _, model, variables = toy_model
    fitted = evaluate_fitted(model, variables, data, batch_size=batch_size)
    by_image = evaluate(model, variables, data, batch_size=3, num_threads=0)
    frames = data.split_index("test").frame_id
    assert len(fitted) == len(set(frames.tolist())) == 2
    for sample, errors in enumerate(fitted):
        same_frame = [e for e, frame in zip(by_image, frames, strict=True) if frame == sample]
        assert errors.sequence == same_frame[0].sequence
        # The template's bones leave 2.5 mm; the untrained encoder sees no pose, the rest 3.6.
        assert errors.P_err < 0.8 * min(e.P_err for e in same_frame)
        assert errors.M_err < 0.8 * np.nanmin([e.M_err for e in same_frame])


def test_the_untrained_template_is_measured_at_zero_pose(data):
    """Against SciPy's own alignment of the rest joints, and a mesh that is moved along."""
    template = data.template
    T = {}
    for joint in sorted(range(template.num_joints), key=lambda j: _depth(template, j)):
        above = T.get(template.parents[joint], np.eye(4))
        T[joint] = above @ template.T_parent_joint[joint].astype(np.float64)
    joints = np.stack([T[joint][:3, 3] for joint in range(template.num_joints)])
    used = [template.joint_names.index(name) for name in ALIGNMENT]
    errors = evaluate_template(data, batch_size=4)
    _, first = np.unique(data.split_index("test").frame_id, return_index=True)
    assert len(errors) == len(first)
    for error, record in zip(errors, first.tolist(), strict=True):
        fields = data.record("test", record)
        target = fields.joints.astype(np.float64)
        centre, goal = joints[used].mean(axis=0), target[used].mean(axis=0)
        rotation, _ = Rotation.align_vectors(target[used] - goal, joints[used] - centre)
        moved = rotation.apply(joints - centre) + goal
        valid = fields.joint_valid
        P_err = np.linalg.norm(moved - target, axis=1)[valid].mean()
        assert error.P_err == pytest.approx(P_err, rel=1e-4)
        vertices = rotation.apply(template.v_template - centre) + goal
        expected = mesh_error(vertices, template.faces, *data.scan("test", record))
        assert error.M_err == pytest.approx(expected.M_err, rel=1e-3)
        assert error.sequence == data.sequence("test", record)


def _depth(template, joint):
    return 0 if joint < 0 else 1 + _depth(template, template.parents[joint])
