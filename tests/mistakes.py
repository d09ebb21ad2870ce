"""Table of likely mistakes in docs/reliability.md, made of the tests that show them.

A test that makes a mistake as a user would and checks what happens has the mark

    @pytest.mark.mistake("fit, joints", "metres instead of mm", 'refused, with `"unit"` to say')

(the reader or command, the mistake, what happens). This module collects the marks from the sources:

    python -m tests.mistakes          # print the table
    python -m tests.mistakes --write  # put it into docs/reliability.md
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parent
PAGE = TESTS.parent / "docs" / "reliability.md"
BEGIN = "<!-- mistakes: written by python -m tests.mistakes --write -->\n"
END = "<!-- end of mistakes -->\n"
HEADER = "| Mistake | What happens |\n|---|---|\n"


class Mistake(NamedTuple):
    where: str  # reader or command
    what: str
    happens: str


def marks(source: str, file: str) -> Iterator[Mistake]:
    """The `mistake` marks of a module's source, in the order of the file.

    Raises ValueError for a mark that does not have three literal strings.
    """
    calls = [
        node
        for node in ast.walk(ast.parse(source, file))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "mistake"
    ]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        values = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        if len(call.args) != 3 or len(values) != 3 or call.keywords:
            raise ValueError(f"{file}:{call.lineno}: expected three strings in a mark `mistake`")
        yield Mistake(*values)


def collect(tests: Path = TESTS) -> list[Mistake]:
    """All marks of the tests, sorted by reader or command; equal ones once."""
    found: dict[Mistake, None] = {}
    for path in sorted(tests.rglob("*.py")):
        found.update(dict.fromkeys(marks(path.read_text(), str(path))))
    return sorted(found, key=lambda mistake: mistake.where)


def table(mistakes: list[Mistake]) -> str:
    """Markdown with one table per reader or command."""
    by_place: dict[str, list[Mistake]] = {}
    for mistake in mistakes:
        by_place.setdefault(mistake.where, []).append(mistake)
    parts = []
    for where, rows in by_place.items():
        lines = "".join(f"| {row.what} | {row.happens} |\n" for row in rows)
        parts.append(f"### {where}\n\n{HEADER}{lines}")
    return "\n".join(parts)


def with_table(page: str, text: str) -> str:
    """`page` with `text` between its two marks."""
    before, found, rest = page.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found or not found_end:
        raise ValueError(f"{PAGE}: no {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main(arguments: list[str]) -> None:
    text = table(collect())
    if arguments == ["--write"]:
        PAGE.write_text(with_table(PAGE.read_text(), text))
    else:
        print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
