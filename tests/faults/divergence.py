"""A loss that is no number."""

import re
from pathlib import Path

from tests.launcher import launch, small_job


def diverge_and_replay(home: Path) -> str:
    """Steps so large that the weights overflow at the first; then a look at the one that failed.

    Returns:
        What the launcher said.
    """
    job = small_job("diverged", "--config.train.learning_rate=1e30")
    failed = launch(home, "train", *job)
    assert failed.returncode == 1, failed.stderr[-3000:]
    message = failed.stderr.strip().splitlines()[-1]
    found = re.fullmatch(
        r"error: step (\d+): (\w+) is (?:nan|inf|-inf) for frame \d+ of \w+, camera \w+ .*; "
        r"training stopped, the last checkpoint is untouched\. The step is in (\S+):.*",
        message,
    )
    assert found, message
    replayed = launch(home, *job, "--replay", found[3])
    assert replayed.returncode == 0, replayed.stderr[-3000:]
    end = replayed.stdout.strip().splitlines()[-1]
    assert end.startswith(f"step {found[1]}: {found[2]} is"), end
    return message
