"""Queues of runs; a short script stands in for the launcher, and real processes run it."""

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from dhm.errors import BadInputError, Interrupted
from dhm.evaluation.metrics_file import ERROR_KINDS
from dhm.formats.json_file import write_json
from dhm.runs.sweep import Outcome, describe, device_slots, sweep

# Writes when it began and ended, and on which device; the config's text is Python to run between.
_LAUNCHER = """
import os, sys, time
from pathlib import Path
config, workdir = Path(sys.argv[2]), Path(sys.argv[-1])
began = time.time()
exec(config.read_text())
(workdir / "ran").write_text(
    f"{began} {time.time()} {os.environ.get('CUDA_VISIBLE_DEVICES')} {sys.argv[3:-2]}")
"""


@pytest.fixture
def launcher(tmp_path):
    path = tmp_path / "launcher.py"
    path.write_text(_LAUNCHER)
    return sys.executable, str(path)


def _configs(folder: Path, *texts: str) -> list[Path]:
    paths = [folder / f"config{index}.py" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def _ran(outcome: Outcome) -> list[str]:
    return (outcome.workdir / "ran").read_text().split(maxsplit=3)


def test_as_many_run_at_a_time_as_there_are_devices(tmp_path, launcher):
    configs = _configs(tmp_path, *["time.sleep(0.5)"] * 5)
    slots = [{"CUDA_VISIBLE_DEVICES": name} for name in ("3", "7")]
    outcomes = sweep(launcher, configs, tmp_path / "runs", ["--config.a=1"], slots)
    assert [outcome.name for outcome in outcomes] == [f"config{index}" for index in range(5)]
    assert all(outcome.exit_code == 0 and outcome.seconds > 0.5 for outcome in outcomes)
    runs = [_ran(outcome) for outcome in outcomes]
    assert all(arguments == "['--config.a=1']" for *_, arguments in runs)
    for device in ("3", "7"):  # on one device one after the other
        spans = sorted((float(a), float(b)) for a, b, name, _ in runs if name == device)
        assert len(spans) >= 2
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_run_that_fails_is_named_with_what_it_said_and_the_others_go_on(tmp_path, launcher):
    configs = _configs(tmp_path, "print('half'); sys.exit('error: no room')", "pass")
    failed, good = sweep(launcher, configs, tmp_path / "runs", slots=[{}])
    assert (failed.exit_code, good.exit_code) == (1, 0)
    assert describe(failed).endswith("with exit code 1: error: no room")
    assert (failed.workdir / "sweep.log").read_text() == "half\nerror: no room\n"
    errors = {"overall": {"P_err": 1.234, "M_err": 5.0}}
    write_json(good.workdir / "metrics.json", dict.fromkeys(ERROR_KINDS, errors))
    assert describe(good) == (
        "done in 0.0 min; P_err 1.23, M_err 5.00 mm; P_err 1.23, M_err 5.00 mm with fitted angles"
    )


def test_a_signal_reaches_what_runs_and_nothing_new_begins(tmp_path, launcher):
    waits = (
        "import signal\n"
        "signal.signal(signal.SIGTERM, lambda *_: ((workdir / 'saved').touch(), sys.exit(143)))\n"
        "(workdir / 'ready').touch(); time.sleep(60)"
    )
    configs = _configs(tmp_path, waits, "pass")
    runs = tmp_path / "runs"

    def send():
        while not (runs / "config0" / "ready").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted, match="SIGTERM: 2 runs are not done") as caught:
        sweep(launcher, configs, runs, slots=[{}])
    sender.join()
    assert caught.value.exit_code == 143
    assert (runs / "config0" / "saved").exists() and not (runs / "config1").exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.mistake(
    "sweep", "two configs of one name", "refused before a run begins: the name is the workdir's"
)
def test_impossible_lists_are_refused_before_anything_begins(tmp_path, launcher):
    (config,) = _configs(tmp_path, "pass")
    other = tmp_path / "other" / config.name
    other.parent.mkdir()
    other.touch()
    for configs, message in (
        ([], "no config"),
        ([config, tmp_path / "none.py"], "none.py: found no such file"),
        ([config, other], "two configs of this name"),
    ):
        with pytest.raises(BadInputError, match=message):
            sweep(launcher, configs, tmp_path / "runs", slots=[{}])
    assert not (tmp_path / "runs").exists()


def test_cuda_devices_get_a_place_each_and_others_share_one(monkeypatch):
    def slots(count, **environ):
        done = subprocess.CompletedProcess((), 0, f"{count}\n", "")
        monkeypatch.setattr("dhm.runs.sweep.subprocess.run", lambda *_, **__: done)
        return [slot.get("CUDA_VISIBLE_DEVICES") for slot in device_slots(environ)]

    assert slots(0) == [None]
    assert slots(2) == ["0", "1"]
    assert slots(2, CUDA_VISIBLE_DEVICES="4,GPU-5") == ["4", "GPU-5"]
    assert slots(2, CUDA_VISIBLE_DEVICES="") == ["0", "1"]


def test_several_at_a_time_on_a_device_share_its_memory(monkeypatch):
    done = subprocess.CompletedProcess((), 0, "2\n", "")
    monkeypatch.setattr("dhm.runs.sweep.subprocess.run", lambda *_, **__: done)
    places = device_slots({}, each=3)
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places] == ["0", "1"] * 3
    share, former = "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"
    assert {place[share] for place in places} == {"0.250"}
    for own in (share, former):  # JAX does not start with both
        assert not any({share, former} & place.keys() for place in device_slots({own: "1"}, each=3))


def test_the_devices_of_this_machine_are_counted(tmp_path, launcher, monkeypatch):
    assert device_slots({**os.environ, "JAX_PLATFORMS": "cpu"}) == [{}]
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    meet = (
        "(workdir / 'here').touch()\n"
        "while len(list(workdir.parent.glob('*/here'))) < 2:\n"
        "    if time.time() > began + 60: sys.exit('alone')\n"
        "    time.sleep(0.05)"
    )
    outcomes = sweep(launcher, _configs(tmp_path, meet, meet), tmp_path / "runs", each=2)
    assert [outcome.exit_code for outcome in outcomes] == [0, 0]
