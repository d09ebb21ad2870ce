"""Several processes that train together, on this machine's loopback."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dhm.errors import BadInputError
from dhm.training import processes
from tests.launcher import command, environment, make_home, small_job
from tests.references.tensorboard import read_scalars

NUM_STEPS = 20  # of 18 images in batches of 4, 5 epochs
CLOCK = ("images_per_second", "waiting_for_input")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A working folder with a capture and its records."""
    return make_home(tmp_path_factory.mktemp("home"))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _job(workdir: str) -> tuple[str, ...]:
    more = ("epochs=5", "log_every=1", "checkpoint_every_epochs=1")
    return small_job(workdir, *(f"--config.train.{value}" for value in more), task=("train",))


@contextmanager
def _started(
    home: Path, workdir: str, num_processes: int, num_devices: int
) -> Iterator[list[subprocess.Popen]]:
    """Processes that train together, with so many devices each."""
    # Several processes compile the step on as few cores: quickly rather than well.
    devices = (
        f"--xla_force_host_platform_device_count={num_devices} "
        "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    )
    where = f"--coordinator=127.0.0.1:{_free_port()}"
    started = []
    try:
        for index in range(num_processes):
            numbers = (f"--process-id={index}", f"--process-count={num_processes}")
            with (home / f"{workdir}_{index}.txt").open("a") as output:
                started.append(
                    subprocess.Popen(
                        command(*_job(workdir), where, *numbers), cwd=home,
                        env=environment(XLA_FLAGS=devices), stdout=output, stderr=output,
                    )
                )  # fmt: skip
        yield started
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


@pytest.fixture(scope="module")
def expected(home) -> dict[str, dict[int, float]]:
    """Losses of one process with four devices."""
    with _started(home, "one_by_four", 1, 4) as (process,):
        assert process.wait(300) == 0, _said(home, "one_by_four")
    return _losses(home / "one_by_four")


def _assert_same(found, expected) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert values.keys() == found[name].keys() == set(range(1, NUM_STEPS + 1))
        assert found[name][1] == pytest.approx(values[1], rel=1e-5, abs=1e-7), name
        assert found[name][NUM_STEPS] == pytest.approx(values[NUM_STEPS], rel=1e-3, abs=1e-6), name


def test_four_processes_are_one_with_four_devices(home, expected):
    with _started(home, "four_by_one", 4, 1) as started:
        for process in started:
            assert process.wait(300) == 0, _said(home, "four_by_one")
    _assert_same(_losses(home / "four_by_one"), expected)
    files = list((home / "four_by_one" / "tensorboard").iterdir())
    assert len(files) == 1, "only the first process writes"


def test_a_signal_to_one_of_two_stops_both_after_the_same_step(home, expected):
    workdir = home / "two_by_two"
    with _started(home, "two_by_two", 2, 2) as started:
        deadline = time.monotonic() + 300
        while not list(workdir.glob("checkpoints/[0-9]*[0-9]")):
            assert all(process.poll() is None for process in started), _said(home, "two_by_two")
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started[1].send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in started] == [143, 143], _said(home, "two_by_two")
    stopped = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert stopped < NUM_STEPS
    assert _said(home, "two_by_two").count(f"SIGTERM at step {stopped}; saved") == 2
    with _started(home, "two_by_two", 2, 2) as started:
        for process in started:
            assert process.wait(300) == 0, _said(home, "two_by_two")
    _assert_same(_losses(workdir), expected)


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        ((None, 0, 2), {}, "--coordinator: found nothing, expected the first process's"),
        (("host:1", None, 2), {}, "--process-id: found None of --process-count 2"),
        (("host:1", 2, 2), {}, "--process-id: found 2 of --process-count 2"),
        ((None, None, None), {"OMPI_COMM_WORLD_SIZE": "4"}, "does not tell its 4 processes"),
    ],
)
def test_what_the_arguments_lack_is_said(monkeypatch, arguments, environ, message):
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
