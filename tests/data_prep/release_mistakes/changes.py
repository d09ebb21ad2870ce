"""What the tests of mistakes in a capture share."""

import re
from collections.abc import Callable
from pathlib import Path

Change = Callable[[Path], None]

NUM_PICTURES = 12  # two sequences of two frames, seen by three cameras
ELSEWHERE = "depth map that does not show the hand|no usable view"


def assert_refused(result, said):
    code, error, out = result
    assert code == 1 and not out.exists()
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(said, error), error


def names(pattern, change) -> Change:
    def apply(capture):
        for path in list(capture.glob(pattern)):
            path.rename(path.with_name(change(path)))

    return apply
