"""Several processes that train together, on this machine's loopback."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dhm.errors import BadInputError, DhmError
from dhm.training import processes
from dhm.training.replay import Replay, write_replay
from tests.launcher import ROOT, command, environment
from tests.references.tensorboard import read_scalars
from tests.training.process_worker import BATCH_FILE, NUM_STEPS, SAVES_EVERY
from tests.training.toy_step import toy_batch

CLOCK = ("images_per_second", "waiting_for_input")
_PATIENCE = 1200  # seconds; a machine may be busy


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a batch for the workers."""
    folder = tmp_path_factory.mktemp("home")
    write_replay(folder / BATCH_FILE, Replay(0, {}, toy_batch(8), ()))
    return folder


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _run(
    home: Path, workdir: str, count: int, num_devices: int, signum: int = 0, at: int = -1
) -> list[int]:
    """Exit codes of processes that train together; the last one gets the signal before a step."""
    # Four processes compile on two cores: quickly rather than well.
    flags = (
        f"--xla_force_host_platform_device_count={num_devices} "
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
    devices = environment(XLA_FLAGS=flags)
    address, started = f"127.0.0.1:{_free_port()}", []
    try:
        for index in range(count):
            numbers = map(str, (index, count, signum, at if index == count - 1 else -1))
            command = [sys.executable, "-m", "tests.training.process_worker", home, home / workdir]
            with (home / f"{workdir}_{index}.txt").open("a") as output:
                process = subprocess.Popen(
                    [*command, address, *numbers], cwd=ROOT, env=devices, stdout=output,
                    stderr=output,
                )  # fmt: skip
            started.append(process)
        return [process.wait(_PATIENCE) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()


def _said(home: Path, workdir: str) -> str:
    return "\n".join(path.read_text()[-2000:] for path in sorted(home.glob(f"{workdir}_*.txt")))


def _losses(workdir: Path) -> dict[str, dict[int, float]]:
    found = {}
    for path in sorted((workdir / "tensorboard").glob("*")):
        for tag, values in read_scalars(path).items():
            name = tag.removeprefix("train/")
            if name not in CLOCK:
                found.setdefault(name, {}).update(values)
    return found


def _checkpoints(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def expected(home) -> dict[str, dict[int, float]]:
    """Losses of one process with four devices."""
    assert _run(home, "one_by_four", 1, 4) == [0], _said(home, "one_by_four")
    return _losses(home / "one_by_four")


def _assert_same(found, expected) -> None:
    assert found.keys() == expected.keys() > {"total", "grad_norm", "depth", "P_err"}
    for name, values in expected.items():
        assert values.keys() == found[name].keys() == set(range(1, NUM_STEPS + 1))
        assert found[name][1] == pytest.approx(values[1], rel=1e-5, abs=1e-7), name
        assert found[name][NUM_STEPS] == pytest.approx(values[NUM_STEPS], rel=1e-3, abs=1e-6), name
    assert expected["total"][NUM_STEPS] < 0.95 * expected["total"][1]


@pytest.mark.slow
def test_four_processes_train_as_one_with_four_devices_even_if_one_is_killed(home, expected):
    workdir = home / "four_by_one"
    codes = _run(home, "four_by_one", 4, 1, signal.SIGKILL, at=7)
    assert codes == [1, 1, 1, -signal.SIGKILL], _said(home, "four_by_one")
    assert "trained with process 0 is gone; the last checkpoint is untouched" in _said(
        home, "four_by_one"
    )
    assert _checkpoints(workdir) == [SAVES_EVERY]
    assert _run(home, "four_by_one", 4, 1) == [0] * 4, _said(home, "four_by_one")
    _assert_same(_losses(workdir), expected)
    files = list((workdir / "tensorboard").iterdir())
    assert len(files) == 2, "of each run only the first process writes"
    assert _checkpoints(workdir) == [*range(SAVES_EVERY, NUM_STEPS + 1, SAVES_EVERY)]


@pytest.mark.slow
def test_a_signal_to_one_of_two_processes_stops_both_after_the_same_step(home, expected):
    workdir = home / "two_by_two"
    codes = _run(home, "two_by_two", 2, 2, signal.SIGTERM, at=7)
    assert codes == [128 + signal.SIGTERM] * 2, _said(home, "two_by_two")
    first, stopped = _checkpoints(workdir)
    assert first == SAVES_EVERY and 7 <= stopped <= 10
    assert _said(home, "two_by_two").count(f"SIGTERM at step {stopped}; saved") == 2
    assert _run(home, "two_by_two", 2, 2) == [0] * 2, _said(home, "two_by_two")
    _assert_same(_losses(workdir), expected)


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        ((None, 0, 2), {}, "--coordinator: found nothing, expected the first process's"),
        (("host:1", None, 2), {}, "--process-id: found None of --process-count 2"),
        (("host:1", 2, 2), {}, "--process-id: found 2 of --process-count 2"),
        (("host", 0, 2), {}, "--coordinator: found 'host', expected host:port"),
        ((None, None, None), {"OMPI_COMM_WORLD_SIZE": "4"}, "does not pass it to its 4 processes"),
    ],
)
@pytest.mark.mistake(
    "train, several processes",
    "no number, one beyond the count, an address without a port",
    "refused",
)
def test_missing_or_impossible_arguments_are_refused(monkeypatch, arguments, environ, message):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInputError, match=message):
        processes.join(*arguments)


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ((None, None, None), {}, None),
        ((None, None, None), {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}, None),  # a mere allocation
        (
            (None, None, None),
            {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "a[1-2]",
             "SLURM_PROCID": "1", "SLURM_LOCALID": "0"},
            (),
        ),
        (
            (None, None, None),
            {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:3"},
            (),
        ),
        (
            ("host:1", None, None),
            {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"},
            ("host:1", 4, 3),
        ),
        (("host:1", 1, 2), {}, ("host:1", 2, 1)),
    ],
)  # fmt: skip
def test_schedulers_are_recognised(monkeypatch, arguments, environ, expected):
    called = []
    monkeypatch.setattr(processes.jax.distributed, "initialize", lambda *a: called.append(a))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    processes.join(*arguments)
    assert called == ([] if expected is None else [expected])


@pytest.mark.mistake(
    "train, several processes", "other settings or records for one of them",
    "refused, with that process",
)  # fmt: skip
def test_processes_that_do_not_agree_are_named(monkeypatch):
    processes.require_equal("the settings", b"a")  # a single process agrees with itself
    monkeypatch.setattr(processes.jax, "process_count", lambda: 3)

    def gather(mine):
        return np.stack([mine, mine, mine + (own == b"b")])

    monkeypatch.setattr(processes.multihost_utils, "process_allgather", gather)
    own = b"a"
    processes.require_equal("the settings", own)
    own = b"b"
    with pytest.raises(DhmError, match=r"the settings of the processes \[2\] are not those of pr"):
        processes.require_equal("the settings", own)


@pytest.mark.slow
def test_two_processes_with_different_settings_stop_before_they_make_anything(tmp_path):
    address, started = f"127.0.0.1:{_free_port()}", []
    for index, rate in enumerate(("1e-3", "1e-4")):
        words = ("train", "--config", str(ROOT / "configs" / "tiny.py"), "--coordinator", address,
                 "--process-id", str(index), "--process-count", "2",
                 f"--config.train.learning_rate={rate}")  # fmt: skip
        started.append(
            subprocess.Popen(
                command(*words),
                cwd=tmp_path,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=_PATIENCE)[0] for process in started]
    assert [process.returncode for process in started] == [1, 1], said
    assert "the settings of the processes [1] are not those of process 0" in "".join(said)
    assert not (tmp_path / "runs").exists()
