"""Steps that are not finite: the state stays, the culprit is named, the step can be read again."""

import jax
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.training import parallel, replay
from dhm.training.replay import Finding, Replay, describe, find_non_finite
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


def test_a_bad_step_leaves_the_state_and_so_do_all_after_it():
    spec, before = toy_step()
    devices = jax.devices()[:2]
    step = parallel.make_parallel_step(spec, devices)
    state = parallel.replicate(before, devices)
    state, metrics = step(state, parallel.shard(_with_infinite_depth(5), 2))
    assert not np.isfinite(metrics["depth"]) and np.isfinite(metrics["joint"])
    assert bool(state.halted)
    state, metrics = step(state, parallel.shard(toy_batch(SIZE), 2))
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


def test_of_a_gradient_the_samples_are_found_by_themselves():
    """Sample 3 has no valid joint: its terms do not count, but 0 times inf reaches the gradient."""
    finding = find_non_finite(toy_step()[0], _saved(_with_infinite_depth(3)))
    assert (finding.term, finding.samples) == ("gradient", (3,))
    assert describe(finding, NAMES) == "gradient is nan for sample 3"


def test_a_step_with_nothing_bad_in_it():
    assert find_non_finite(toy_step()[0], _saved(toy_batch(SIZE))) is None


def test_many_samples_are_counted():
    finding = Finding("joint", np.nan, (0, 1, 2, 4, 7))
    assert describe(finding, NAMES) == "joint is nan for sample 0, sample 1, sample 2 and 2 more"
    assert "finite when calculated again" in describe(None, NAMES)


def test_a_saved_step_comes_back_as_it_was(tmp_path):
    path = tmp_path / "replay" / "step_7.msgpack"
    saved = _saved(_with_infinite_depth(5))
    replay.write_replay(path, saved)
    found = replay.read_replay(path)
    assert (found.step, found.samples) == (7, NAMES)
    jax.tree.map(np.testing.assert_array_equal, found.batch, saved.batch)
    jax.tree.map(np.testing.assert_array_equal, found.variables, dict(saved.variables))
    assert find_non_finite(toy_step()[0], found) == Finding("depth", np.inf, (5,))


def test_what_is_no_saved_step_is_refused(tmp_path):
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


def test_a_step_of_another_model_is_refused():
    spec, state = toy_step()
    others = {**state.variables, "params": {**state.params, "encoder": {}}}
    with pytest.raises(BadInputError, match="the saved step: found variables or a batch of other"):
        find_non_finite(spec, Replay(7, others, toy_batch(SIZE), NAMES))
