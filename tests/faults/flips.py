"""Damage to the files of a checkpoint."""

import logging
import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dhm.training.checkpoint import Checkpoints


def damage_and_read(checkpoints: Path, folder: Path, count: int, seed: int = 0) -> Counter:
    """Damages the newest of several checkpoints in many ways, one at a time.

    Each time it must be named, and the one before it be read instead.

    Args:
        checkpoints: Folder of a run's checkpoints; is copied.
        folder: For the copy.
        count: How many times.
        seed: Of the places.

    Returns:
        How often each kind of damage was done.
    """
    rng, done = np.random.default_rng(seed), Counter()
    older, newest = sorted(checkpoints.iterdir(), key=lambda path: int(path.name))[-2:]
    shutil.copytree(older, folder / "older" / older.name)
    expected, found = _read(folder / "older")
    assert not found, found
    for path in (older, newest):
        shutil.copytree(path, folder / "both" / path.name)
    files = sorted(path for path in (folder / "both" / newest.name).rglob("*") if path.is_file())
    while done.total() < count:
        kind = list(_DAMAGE)[done.total() % len(_DAMAGE)]
        path = files[rng.integers(len(files))]
        whole = path.read_bytes()
        harmed = _DAMAGE[kind](whole, rng) if whole else b"x"
        if harmed == whole:
            continue
        path.unlink()
        if harmed is not None:
            path.write_bytes(harmed)
        variables, said = _read(folder / "both")
        assert f"{newest.name}: " in said and "skipped" in said, (kind, path, said)
        for a, b in zip(jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)
        path.write_bytes(whole)
        done[kind] += 1
    assert not _read(folder / "both")[1], "mended, it is still called damaged"
    return done


def _flipped(whole: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(whole)
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(data)


def _cut(whole: bytes, rng: np.random.Generator) -> bytes:
    return whole[: rng.integers(len(whole))]


def _zeroed(whole: bytes, rng: np.random.Generator) -> bytes:
    """A block that never reached the disk."""
    first = rng.integers(len(whole))
    return whole[:first] + bytes(len(whole[first : first + 4096])) + whole[first + 4096 :]


def _longer(whole: bytes, rng: np.random.Generator) -> bytes:
    return whole + rng.bytes(rng.integers(1, 100))


def _missing(_whole: bytes, _rng: np.random.Generator) -> None:
    return None


_DAMAGE = {
    "a bit flipped": _flipped,
    "cut short": _cut,
    "a block of zeros": _zeroed,
    "bytes added": _longer,
    "a file missing": _missing,
}


def _read(checkpoints: Path) -> tuple[dict[str, Any], str]:
    """Variables of the newest good checkpoint, and what was said of the others."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger(Checkpoints.__module__)
    logger.addHandler(handler)
    try:
        with closing(Checkpoints(checkpoints)) as reader:
            return reader.restore_variables(), "\n".join(said)
    finally:
        logger.removeHandler(handler)
