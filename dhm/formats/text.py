"""Text files of whitespace-separated tokens, one record a line."""

import codecs
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dhm.errors import BadInputError

MAX_MAGNITUDE = 1e12
"""Largest number that is accepted: sums and products of such numbers still fit float32."""

_ROTATION_TOLERANCE = 1e-3


class Line(NamedTuple):
    """A line with at least one token.

    Attributes:
        path: The file.
        number: 1-based number of the line in it.
        tokens: Its words, without the comment.
    """

    path: Path
    number: int
    tokens: list[str]

    def refusal(self, found: str, expected: str) -> BadInputError:
        """Returns an error that names this line, for the caller to raise."""
        return BadInputError(self.path, found, expected, self.number)

    def floats(self, start: int, count: int, of: str) -> list[float]:
        """Returns the numbers after the first `start` tokens.

        Args:
            start: Number of tokens to pass over.
            count: How many numbers there must be.
            of: What they describe, for error messages.

        Raises:
            BadInputError: There are more or fewer, or one is not a finite number.
        """
        tokens = self.tokens[start:]
        if len(tokens) != count:
            raise self.refusal(f"{len(tokens)} values", f"{count} numbers of {of}")
        return [self.float(token, of) for token in tokens]

    def float(self, token: str, of: str) -> float:
        """Returns a token as a finite number of at most MAX_MAGNITUDE, or raises BadInputError."""
        value = self.to_number(token, of)
        if not abs(value) <= MAX_MAGNITUDE:
            raise self.refusal(repr(token), f"a finite number of {of}")
        return value

    def to_number(self, token: str, of: str) -> float:
        """Returns a token as a number, which may be NaN, or raises BadInputError."""
        try:
            return parse_number(token)
        except ValueError:
            raise self.refusal(repr(token), f"a number of {of}") from None

    def int(self, token: str, of: str) -> int:
        """Returns a token as an integer, or raises BadInputError."""
        try:
            return parse_number(token, int)
        except ValueError:
            raise self.refusal(repr(token), f"an integer, {of}") from None

    def check_rotation(self, R: np.ndarray, of: str) -> None:
        """Raises BadInputError if a 3x3 matrix is not a rotation."""
        error, determinant = np.abs(R @ R.T - np.eye(3)).max(), np.linalg.det(R)
        if not (error <= _ROTATION_TOLERANCE and determinant > 0):
            raise self.refusal(
                f"{of} with |R R^T - I| = {error:.3g}, det {determinant:.3g}",
                f"a rotation (orthonormal within {_ROTATION_TOLERANCE}, determinant +1)",
            )


def parse_number(token: str, kind: type = float) -> Any:
    """Returns a token as a number; Python's own 1_000 is none in a file.

    Raises:
        ValueError: It is not a number.
    """
    if "_" in token:
        raise ValueError(f"{token!r} is not a number")
    return kind(token)


def read_lines(path: str | Path) -> list[Line]:
    """Reads the lines of a text file that hold tokens; `#` starts a comment.

    Raises:
        BadInputError: The file is missing or is not text.
    """
    rows = read_text(path).split("\n")
    numbered = enumerate((row.split("#", 1)[0].split() for row in rows), start=1)
    return [Line(Path(path), number, tokens) for number, tokens in numbered if tokens]


def read_text(path: str | Path) -> str:
    """Reads a text file of any system; LF, CR LF and CR end its lines, and become LF.

    The encoding is UTF-8, UTF-16 with a byte-order mark, or else Latin-1, in which older programs
    write names and comments. A byte-order mark is no part of the text.

    Raises:
        BadInputError: The file is missing or is not text.
    """
    path = Path(path)
    text = _decode(path, read_bytes(path))
    if "\0" in text:
        raise BadInputError(path, f"a zero at character {text.index(chr(0))}", "a text file")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(path: Path, data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            found = f"no UTF-16 text at byte {error.start}"
            raise BadInputError(path, found, "a text file") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # every byte is a character of it


def read_bytes(path: str | Path) -> bytes:
    """Reads a whole file.

    Raises:
        BadInputError: There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInputError(path, "no such file", "a readable file")
    return path.read_bytes()
