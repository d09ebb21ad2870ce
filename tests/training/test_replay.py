"""Steps that are not finite: the state stays, the culprit is named, the step can be read again."""

import jax
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.training import replay
from dhm.training.replay import (
    Finding,
    Replay,
    describe,
    find_non_finite,
    format_terms,
    step_terms,
)
from dhm.training.step import make_parallel_step, replicate, shard
from tests.training.toy_step import toy_batch, toy_step

SIZE = 8
NAMES = tuple(f"sample {index}" for index in range(SIZE))


def _saved(batch) -> Replay:
    return Replay(7, toy_step()[1].variables, batch, NAMES)


def _with_infinite_depth(sample: int):
    batch = toy_batch(SIZE)
    depth = batch.target_depth.copy()
    depth[sample][depth[sample] > 0] = np.inf
    return batch._replace(target_depth=depth)


def _with_nan_joints(sample: int):
    batch = toy_batch(SIZE)
    joints = batch.joints.copy()
    joints[sample, 0] = np.nan
    return batch._replace(joints=joints)


def _with_targets_of_every_fourth():
    batch = toy_batch(SIZE)
    depth, camera = jax.tree.map(lambda x: x[::4], (batch.target_depth, batch.target_camera))
    return batch._replace(target_depth=depth, target_camera=camera)


def test_from_a_step_that_is_not_finite_on_the_state_does_not_change():
    spec, before = toy_step()
    devices = jax.devices()[:2]
    step = make_parallel_step(spec, devices)
    state = replicate(before, devices)
    state, metrics = step(state, shard(_with_infinite_depth(5), 2))
    assert not np.isfinite(metrics["depth"]) and np.isfinite(metrics["joint"])
    assert bool(state.halted)
    state, metrics = step(state, shard(toy_batch(SIZE), 2))
    assert all(np.isfinite(value) for value in metrics.values())
    found, expected = jax.device_get(state.replace(halted=False)), before.replace(halted=False)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_term_and_the_samples_are_found(tmp_path):
    spec, _ = toy_step()
    finding = find_non_finite(spec, _saved(_with_infinite_depth(5)))
    assert finding == Finding("depth", np.inf, (5,))
    assert describe(finding, NAMES) == "depth is inf for sample 5"
    finding = find_non_finite(spec, _saved(_with_nan_joints(2)))
    assert (finding.term, finding.samples) == ("joint", (2,))


@pytest.mark.slow
def test_the_samples_of_a_gradient_are_found_one_by_one():
    """Sample 3 has no valid joint: its terms do not count, but 0 times inf reaches the gradient."""
    finding = find_non_finite(toy_step()[0], _saved(_with_infinite_depth(3)))
    assert (finding.term, finding.samples) == ("gradient", (3,))
    assert describe(finding, NAMES) == "gradient is nan for sample 3"


def test_a_finite_step_has_no_finding():
    assert find_non_finite(toy_step()[0], _saved(toy_batch(SIZE))) is None


def test_of_many_samples_three_are_named():
    finding = Finding("joint", np.nan, (0, 1, 2, 4, 7))
    assert describe(finding, NAMES) == "joint is nan for sample 0, sample 1, sample 2 and 2 more"
    assert "finite when computed again" in describe(None, NAMES)


def test_the_terms_are_formatted_by_sample():
    """Samples without target views have no mesh: their cells of mesh terms are empty."""
    saved, spec = _saved(_with_targets_of_every_fourth()), toy_step()[0]
    terms = step_terms(spec, saved)
    assert terms.sample.keys() == {"joint", "P_err"}
    head, *rows = format_terms(terms, saved).splitlines()
    names = head.split()
    assert names[:2] == ["joint", "depth"] and set(names) == {*terms.sample, *terms.mesh}
    assert len(rows) == SIZE
    for index, row in enumerate(rows):
        assert row.startswith(NAMES[index])
        assert ("does not count" in row) == (index == 3)
        values = row.removeprefix(NAMES[index]).removesuffix("does not count").split()
        assert len(values) == (len(names) if index % 4 == 0 else 2)
        assert float(values[0]) == pytest.approx(terms.sample["joint"][index], rel=1e-5)
    depth = float(rows[4].removeprefix(NAMES[4]).split()[1])
    assert depth == pytest.approx(terms.mesh["depth"][1], rel=1e-5)


def test_the_sample_of_a_mesh_term_is_found():
    batch = _with_targets_of_every_fourth()
    depth = batch.target_depth.copy()
    depth[1][depth[1] > 0] = np.inf
    saved = _saved(batch._replace(target_depth=depth))
    assert find_non_finite(toy_step()[0], saved) == Finding("depth", np.inf, (4,))


def test_a_saved_step_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "replay" / "step_7.msgpack"
    saved = _saved(_with_infinite_depth(5))
    replay.write_replay(path, saved)
    found = replay.read_replay(path)
    assert (found.step, found.samples) == (7, NAMES)
    jax.tree.map(np.testing.assert_array_equal, found.batch, saved.batch)
    jax.tree.map(np.testing.assert_array_equal, found.variables, dict(saved.variables))
    assert find_non_finite(toy_step()[0], found) == Finding("depth", np.inf, (5,))


@pytest.mark.mistake("train, --replay", "a file of something else", "refused")
def test_other_files_are_refused(tmp_path):
    path = tmp_path / "step.msgpack"
    with pytest.raises(
        BadInputError, match=r"step\.msgpack: found No such file.*, expected a step"
    ):
        replay.read_replay(path)
    replay.write_replay(path, _saved(toy_batch(SIZE)))
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"\xff" * 100, b"\x81\xa4step\x01"):
        path.write_bytes(content)
        with pytest.raises(BadInputError, match="found damaged content"):
            replay.read_replay(path)


@pytest.mark.mistake("train, --replay", "the config of another model", "refused")
def test_a_step_of_another_model_is_refused():
    spec, state = toy_step()
    others = {**state.variables, "params": {**state.params, "encoder": {}}}
    with pytest.raises(BadInputError, match="the saved step: found variables or a batch of other"):
        find_non_finite(spec, Replay(7, others, toy_batch(SIZE), NAMES))
