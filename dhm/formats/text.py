"""Lines of tokens from other people's text files."""

from pathlib import Path
from typing import NamedTuple

from dhm.errors import BadInputError

# Larger magnitudes overflow float32 sooner or later, and no length in mm or cm comes near.
_MAX_MAGNITUDE = 1e12


class Line(NamedTuple):
    """A line that holds more than a comment: its file, 1-based number and tokens."""

    path: Path
    number: int
    tokens: list[str]

    def refusal(self, found: str, expected: str) -> BadInputError:
        """Returns the error that names this line, for the caller to raise."""
        return BadInputError(self.path, found, expected, self.number)

    def floats(self, start: int, count: int, of: str) -> list[float]:
        """Returns the `count` numbers that end the line after `start` tokens.

        Raises:
            BadInputError: There are more or fewer, or one is not a finite number.
        """
        tokens = self.tokens[start:]
        if len(tokens) != count:
            raise self.refusal(f"{len(tokens)} values", f"{count} numbers of {of}")
        return [self.float(token, of) for token in tokens]

    def float(self, token: str, of: str) -> float:
        """Returns a token as a finite number of usable size, or refuses it."""
        try:
            value = float(token)
        except ValueError:
            raise self.refusal(repr(token), f"a number of {of}") from None
        if not abs(value) <= _MAX_MAGNITUDE:
            raise self.refusal(repr(token), f"a finite number of {of}")
        return value

    def int(self, token: str, of: str) -> int:
        """Returns a token as an integer, or refuses it."""
        try:
            return int(token)
        except ValueError:
            raise self.refusal(repr(token), f"an integer, {of}") from None


def read_lines(path: str | Path) -> list[Line]:
    """Reads a text file; `#` starts a comment, lines without tokens are left out.

    Raises:
        BadInputError: The file is missing or is not UTF-8 text.
    """
    path = Path(path)
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInputError(path, f"no UTF-8 text at byte {error.start}", "a text file") from None
    numbered = enumerate((row.split("#", 1)[0].split() for row in text.split("\n")), start=1)
    return [Line(path, number, tokens) for number, tokens in numbered if tokens]


def read_bytes(path: str | Path) -> bytes:
    """Reads a whole file, refusing one that is missing."""
    path = Path(path)
    if not path.is_file():
        raise BadInputError(path, "no such file", "a readable file")
    return path.read_bytes()
