"""Damages files and feeds them to readers."""

import time
from collections.abc import Iterator

import numpy as np

from dhm.errors import BadInputError
from tests.fuzz.readers import Reader

_TOKENS = [b"-", b"nan", b"1e99", b"/", b" ", b"\n", b"0", b"\xff" * 8, b"\x00" * 4, b"[" * 50]


def damaged(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yields variants of a file: bytes changed, flipped, cut, removed, repeated or swapped."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        variant = bytearray(data)
        for _ in range(rng.geometric(0.6)):
            at, length = int(rng.integers(len(data))), int(rng.integers(1, 12))
            match int(rng.integers(7)):
                case 0:
                    variant[at : at + 1] = rng.bytes(1)
                case 1:
                    del variant[at:]
                case 2:
                    del variant[at : at + length]
                case 3:
                    variant[at:at] = data[at : at + length]
                case 4:
                    variant[at : at + 1] = _TOKENS[rng.integers(len(_TOKENS))]
                case 5:
                    variant[at : at + 1] = bytes([data[at] ^ 1 << int(rng.integers(8))])
                case 6:
                    other = int(rng.integers(len(data)))
                    variant[at : at + length] = data[other : other + length]
        yield bytes(variant)


def feed(
    reader: Reader, count: int, seed: int = 0, longest_read: float = 60.0
) -> tuple[int, float]:
    """Feeds a reader damaged variants of its file: it reads them or raises BadInputError.

    The error must name the file or its folder, and no read may take more than `longest_read`
    seconds of CPU time. Garbage collection of a large process counts as such, so the tests, which
    share one, allow much.

    Returns:
        Number of refused variants, and the longest read, seconds.
    """
    path, whole = reader.path, reader.path.read_bytes()
    refused, longest = 0, 0.0
    for variant in damaged(whole if reader.content is None else reader.content, seed, count):
        path.write_bytes(reader.pack(variant))
        began = time.process_time()
        try:
            reader.read()
        except BadInputError as error:
            refused += 1
            assert path.name in str(error) or path.parent.name in str(error), error
        longest = max(longest, time.process_time() - began)
    path.write_bytes(whole)
    assert longest < longest_read, f"{path}: {longest} s"
    return refused, longest
