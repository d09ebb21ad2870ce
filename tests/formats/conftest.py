"""Damage to files, for the readers that must refuse it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dhm.errors import BadInputError


def damaged(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yields variants of a file: bytes flipped, cut, removed or repeated."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        variant = bytearray(data)
        at = int(rng.integers(len(data)))
        length = int(rng.integers(1, 12))
        match int(rng.integers(5)):
            case 0:
                variant[at] = int(rng.integers(256))
            case 1:
                del variant[at:]
            case 2:
                del variant[at : at + length]
            case 3:
                variant[at:at] = data[at : at + length]
            case 4:
                variant[at : at + 1] = rng.choice([b"-", b"nan", b"1e99", b"/", b" ", b"\n"])
        yield bytes(variant)


@pytest.fixture
def assert_survives(tmp_path: Path):
    """Feeds damaged variants to a reader: it reads them or raises BadInputError, nothing else."""

    def check(path: Path, read: Callable[[], object], count: int = 150) -> None:
        data = path.read_bytes()
        refused = 0
        for variant in damaged(data, seed=0, count=count):
            path.write_bytes(variant)
            try:
                read()
            except BadInputError as error:
                refused += 1
                assert path.name in str(error) or path.parent.name in str(error)
        path.write_bytes(data)
        assert refused > 0

    return check
