"""The loop around the step, with a step that costs nothing."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dhm.training import loop, replay
from dhm.training.interrupt import TrainingInterrupted, stop_on_signal
from dhm.training.loop import LoopSettings, TrainFolders
from dhm.training.replay import Finding, NonFiniteLossError
from dhm.training.state import TrainState
from dhm.types import Batch, Camera
from tests.references.tensorboard import read_scalars

SETTINGS = LoopSettings(
    num_steps=10, steps_per_epoch=3, batch_size=2, checkpoint_every_epochs=1,
    keep_checkpoints=2, log_every=2, profile_steps=(),
)  # fmt: skip


def _state():
    params = {"w": jnp.zeros(3)}
    return TrainState.create(
        apply_fn=None, params=params, tx=optax.adam(0.1), batch_stats={"m": jnp.zeros(2)},
        identity={"code": jnp.arange(4.0)},
    )  # fmt: skip


def _batches(start):
    """Batch number k holds the number k."""
    step = start
    while True:
        zeros = np.zeros((2, 1, 1))
        yield Batch(
            image=np.full((2, 4, 4, 3), step, np.uint8), joints=zeros, joint_valid=zeros[..., 0],
            target_depth=zeros, target_camera=Camera(zeros, zeros), frame=zeros[:, 0, 0],
            record=np.zeros(2, int),
        )  # fmt: skip
        step += 1


def _fake_step(seen, hook=None):
    def step(state, batch):
        number = int(batch.image[0, 0, 0, 0, 0])
        seen.append(number)
        value = jnp.float32(number)
        state = state.apply_gradients(grads={"w": jnp.full(3, value + 1)})
        metrics = {"total": value, "dropped": jnp.float32(0)}
        return state, hook(number, metrics) if hook else metrics

    return step


def _train(monkeypatch, workdir, settings=SETTINGS, hook=None, batches=_batches):
    seen = []
    monkeypatch.setattr(loop, "make_parallel_step", lambda spec, devices: _fake_step(seen, hook))
    monkeypatch.setattr(loop, "replicate", lambda tree, devices: tree)
    names = ("checkpoints", "tensorboard", "replay", "profile")
    folders = TrainFolders(*(workdir / name for name in names))
    schedule = optax.constant_schedule(0.1)
    state = loop.train(_state(), None, batches, schedule, settings, folders, devices=[None])
    return state, seen


def test_runs_to_the_last_step_and_keeps_the_newest_checkpoints(monkeypatch, tmp_path):
    state, seen = _train(monkeypatch, tmp_path)
    assert seen == list(range(10))
    assert int(state.step) == 10
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["10", "9"]


def test_a_finished_run_is_not_trained_again_but_can_be_extended(monkeypatch, tmp_path):
    first, _ = _train(monkeypatch, tmp_path)
    second, seen = _train(monkeypatch, tmp_path)
    assert seen == []
    np.testing.assert_array_equal(second.params["w"], first.params["w"])
    _, seen = _train(monkeypatch, tmp_path, SETTINGS._replace(num_steps=12))
    assert seen == [10, 11]


def test_a_resumed_run_ends_as_an_uninterrupted_one(monkeypatch, tmp_path):
    whole, _ = _train(monkeypatch, tmp_path / "whole")
    _train(monkeypatch, tmp_path / "parts", SETTINGS._replace(num_steps=4))
    parts, seen = _train(monkeypatch, tmp_path / "parts")
    assert seen == list(range(4, 10))
    for a, b in ((whole.params, parts.params), (whole.opt_state[0].mu, parts.opt_state[0].mu)):
        np.testing.assert_array_equal(a["w"], b["w"])
    np.testing.assert_array_equal(parts.identity["code"], np.arange(4.0))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(monkeypatch, tmp_path, signum):
    def hook(number, metrics):
        if number == 4:
            os.kill(os.getpid(), signum)
        return metrics

    with pytest.raises(TrainingInterrupted) as caught:
        _train(monkeypatch, tmp_path, hook=hook)
    assert caught.value.exit_code == 128 + signum
    state, seen = _train(monkeypatch, tmp_path)
    assert seen == [5, 6, 7, 8, 9]
    assert int(state.step) == 10


def test_a_signal_during_the_last_save_ends_after_it(monkeypatch, tmp_path):
    save = loop.Checkpoints.save

    def save_and_signal(checkpoints, state):
        save(checkpoints, state)
        if int(state.step) == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop.Checkpoints, "save", save_and_signal)
    with pytest.raises(TrainingInterrupted, match="SIGTERM at step 10; saved"):
        _train(monkeypatch, tmp_path)
    state, seen = _train(monkeypatch, tmp_path)
    assert int(state.step) == 10 and not seen


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_it_is_saved(monkeypatch, tmp_path, value):
    def hook(number, metrics):
        return metrics | {"depth": jnp.float32(value if number == 5 else 1)}

    monkeypatch.setattr(
        replay, "find_non_finite", lambda spec, saved: Finding("depth", value, (1,))
    )
    with pytest.raises(
        NonFiniteLossError,
        match=rf"step 6: depth is {value} for record 0; training stopped.*replay/step_6\.msgpack:",
    ):
        _train(monkeypatch, tmp_path, hook=hook)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["3"]
    saved = replay.read_replay(tmp_path / "replay" / "step_6.msgpack")
    assert saved.step == 6 and saved.batch.image[0, 0, 0, 0] == 5
    assert saved.samples == ("record 0", "record 0")


# Long work in C, during which Python calls no signal handler, as when XLA compiles. A signal to
# the sending thread has arrived when pthread_kill returns.
_BUSY = """
import hashlib, signal, sys, threading
from dhm.training.interrupt import stop_on_signal

def interrupt():
    for name in sys.argv[2:]:
        signal.pthread_kill(threading.get_ident(), getattr(signal, name))

with stop_on_signal() as stop:
    stop.anything_to_save = sys.argv[1] == "later"
    threading.Thread(target=interrupt, daemon=True).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


@pytest.mark.parametrize(
    ("state", "signals", "code"),
    [("later", ("SIGINT", "SIGINT"), 130), ("later", ("SIGTERM", "SIGINT"), 130),
     ("first", ("SIGTERM",), 143), ("first", ("SIGINT",), 130)],
)  # fmt: skip
def test_the_second_interrupt_or_one_before_the_first_step_is_immediate(state, signals, code):
    done = subprocess.run(
        [sys.executable, "-c", _BUSY, state, *signals], cwd=Path(__file__).parents[2],
        timeout=60, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert done.stderr == f"{signals[-1]}; nothing was saved since the last checkpoint\n"


def test_the_signal_handlers_are_restored():
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    with stop_on_signal() as stop:
        stop.anything_to_save = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)  # does no more than the first
    assert {signum: signal.getsignal(signum) for signum in before} == before
    assert signal.set_wakeup_fd(-1) == -1


def test_outside_the_main_thread_the_handlers_are_unchanged():
    found = []

    def work():
        with stop_on_signal() as stop:
            found.append((signal.getsignal(signal.SIGINT), stop.signum))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(signal.getsignal(signal.SIGINT), None)]


def test_tensorboard_files_hold_every_term(monkeypatch, tmp_path):
    _train(monkeypatch, tmp_path, SETTINGS._replace(log_every=4))
    (file,) = (tmp_path / "tensorboard").iterdir()
    values = read_scalars(file)
    assert values["train/total"] == {4: 3, 8: 7, 10: 9}  # every 4 steps, and the last
    assert set(values) == {
        f"train/{name}" for name in ("total", "dropped", "learning_rate", "images_per_second",
                                   "waiting_for_input")
    }  # fmt: skip


@pytest.mark.parametrize(("waits", "works"), [(0.1, 0.0), (0.0, 0.1), (0.3, 0.1)])
def test_the_share_of_time_spent_waiting_is_logged(monkeypatch, tmp_path, waits, works):
    """By a clock that stands still but for the input and the step."""
    clock = SimpleNamespace(now=0.0)
    for module in ("loop", "logbook"):
        monkeypatch.setattr(
            f"dhm.training.{module}.time", SimpleNamespace(perf_counter=lambda: clock.now)
        )

    def batches(start):
        for batch in _batches(start):
            clock.now += waits
            yield batch

    def hook(number, metrics):
        clock.now += works
        return metrics

    _train(monkeypatch, tmp_path, hook=hook, batches=batches)
    (file,) = (tmp_path / "tensorboard").iterdir()
    shares = list(read_scalars(file)["train/waiting_for_input"].values())
    assert shares == pytest.approx([waits / (waits + works)] * 5, rel=1e-6)


def test_an_unfinished_checkpoint_is_ignored(monkeypatch, tmp_path):
    _train(monkeypatch, tmp_path)
    half = tmp_path / "checkpoints" / "11.unfinished"
    half.mkdir()
    (half / "rubbish").write_bytes(b"x")
    state, seen = _train(monkeypatch, tmp_path, SETTINGS._replace(num_steps=11))
    assert seen == [10]
    assert int(state.step) == 11


@pytest.mark.mistake(
    "train", "a profile of steps that the run does not reach, or has behind it", "warning"
)
def test_a_trace_outside_the_run_is_logged(monkeypatch, tmp_path, caplog):
    _train(monkeypatch, tmp_path, SETTINGS._replace(profile_steps=(20, 21)))
    assert "no profiler trace: steps (20, 21) are outside this run's, 0 to 9" in caplog.text
