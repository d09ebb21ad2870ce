"""The fault campaign: python -m tests.faults --kills 50 --flips 200

Prints a table of what was done to training runs; each ended as one that nothing happened to, or the
campaign stops with what differed. The disks need root on Linux and are left out elsewhere.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.disk import (
    can_mount,
    fill_and_resume,
    forbid_and_resume,
    refuse_a_read_only_disk,
    remove_and_resume,
)
from tests.faults.divergence import diverge_and_replay
from tests.faults.flips import damage_and_read
from tests.faults.kills import kill_and_resume, terminate_and_resume
from tests.faults.runs import NUM_STEPS, Reference
from tests.launcher import make_home

_LONGEST_END = 10.0  # seconds from SIGTERM to the end


def main() -> None:
    """Does it all."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="processes killed")
    parser.add_argument("--flips", type=int, default=200, help="checkpoint files damaged")
    parser.add_argument("--signals", type=int, default=10, help="processes asked to end")
    parser.add_argument("--seed", type=int, default=0, help="of times and places")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults") as name:
        home = make_home(Path(name))
        reference = Reference(home)
        print(f"Runs of {NUM_STEPS} steps, a checkpoint every 4, {reference.seconds:.0f} s each.\n")
        print("| fault | times | outcome |\n|---|---:|---|", flush=True)
        began = time.monotonic()
        _report_kills(reference, home, arguments)
        _row("NaN", 1, f"exit 1, `{diverge_and_replay(home)}`; `--replay` finds the same")
        _report_disks(reference, home)
        print(f"\n{(time.monotonic() - began) / 60:.0f} minutes")


def _report_kills(reference: Reference, home: Path, arguments: argparse.Namespace) -> None:
    same = "the same losses and final state, bit for bit"
    kills = kill_and_resume(reference, home, arguments.kills, arguments.seed)
    for phase, count in kills._asdict().items():
        _row(f"SIGKILL while {phase}", count, f"resumed from the newest checkpoint: {same}")
    ended = terminate_and_resume(reference, home, arguments.signals, arguments.seed)
    for name, times in ended.items():
        assert max(times) < _LONGEST_END, f"{name}: {max(times)} s from the signal to the end"
        outcome = f"saved and ended, the slowest within {max(times):.1f} s; resumed: {same}"
        _row(name, len(times), outcome)
    done = damage_and_read(reference.checkpoints, home, arguments.flips, arguments.seed)
    for kind, count in done.items():
        _row(f"checkpoint: {kind}", count, "named; the one before it was read")


def _report_disks(reference: Reference, home: Path) -> None:
    _row("workdir vanishes", 1, _lines(remove_and_resume, reference, home))
    if not can_mount():
        print("\nDisks that are full or read-only were left out: they need root on Linux.")
        return
    _row("disk full", 1, _lines(fill_and_resume, reference, home))
    _row("checkpoints may not be written", 1, _lines(forbid_and_resume, reference, home))
    _row("read-only disk", 2, _lines(refuse_a_read_only_disk, reference, home))


def _lines(fault: Callable[[Reference, Path], str], reference: Reference, home: Path) -> str:
    return f"exit 1, `{fault(reference, home)}`; once mended, resumed to the same end"


def _row(fault: str, times: int, outcome: str) -> None:
    print(f"| {fault} | {times} | {outcome} |", flush=True)


if __name__ == "__main__":
    main()
