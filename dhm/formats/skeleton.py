"""The released hand model's skeleton.txt: names, ids and parents of the joints."""

from pathlib import Path
from typing import NamedTuple

from dhm.errors import BadInputError
from dhm.formats.text import Line, read_lines

MAX_JOINTS = 1000
"""Of a skeleton; a body with hands has a hundred."""

_A_PARENT = "the id of a joint, or -1 for the root"


class Skeleton(NamedTuple):
    """A tree of joints: name and parent (-1 for the root) of each id; any order."""

    names: tuple[str, ...]
    parents: tuple[int, ...]

    def index(self, line: Line, name: str) -> int:
        """Returns the id of a joint that another file's line refers to, or refuses it."""
        if name not in self.names:
            raise line.refusal(f"unknown joint {name!r}", "a joint of skeleton.txt")
        return self.names.index(name)

    def root_first(self) -> list[int]:
        """Returns the ids in an order in which parents come before their children."""
        order = [self.parents.index(-1)]
        for joint in order:
            order += [child for child, parent in enumerate(self.parents) if parent == joint]
        return order


def read_skeleton(path: str | Path) -> Skeleton:
    """Reads `name id parent_id` lines in any order.

    Raises:
        BadInputError: A truncated line, a name or id twice, ids with gaps, a parent that does
            not exist, no root or two, or a cycle.
    """
    lines = read_lines(path)
    if not 0 < len(lines) <= MAX_JOINTS:
        found = f"{len(lines)} joints" if lines else "no joint"
        raise BadInputError(path, found, f"1 to {MAX_JOINTS} lines `name id parent_id`")
    rows: dict[int, tuple[str, int, Line]] = {}
    for line in lines:
        if len(line.tokens) != 3:
            raise line.refusal(f"{len(line.tokens)} values", "a line `name id parent_id`")
        name, joint, parent = line.tokens[0], *(line.int(t, "an id") for t in line.tokens[1:])
        if joint in rows or name in (row[0] for row in rows.values()):
            raise line.refusal(f"joint {name} {joint}: name or id a second time", "each once")
        rows[joint] = (name, parent, line)
    if sorted(rows) != list(range(len(rows))):
        raise BadInputError(path, f"ids {sorted(rows)}", f"the ids 0 to {len(rows) - 1}")
    names, parents, ordered = zip(*(rows[joint] for joint in range(len(rows))), strict=True)
    skeleton = Skeleton(names, parents)
    for parent, line in zip(parents, ordered, strict=True):
        if not -1 <= parent < len(names):
            raise line.refusal(f"parent {parent}", _A_PARENT)
    check_tree(Path(path), skeleton)
    return skeleton


def check_tree(path: Path, skeleton: Skeleton) -> None:
    """Refuses a skeleton that is not one tree.

    Args:
        path: Where it comes from, for messages.
        skeleton: Names and parents.

    Raises:
        BadInputError: A parent that does not exist, no root or two, or a cycle.
    """
    if len(skeleton.names) > MAX_JOINTS:
        raise BadInputError(path, f"{len(skeleton.names)} joints", f"at most {MAX_JOINTS}")
    for parent in skeleton.parents:
        if not -1 <= parent < len(skeleton.names):
            raise BadInputError(path, f"parent {parent}", _A_PARENT)
    num_roots = skeleton.parents.count(-1)
    if num_roots != 1:
        raise BadInputError(path, f"{num_roots} roots (parent -1)", "one root")
    cut_off = set(range(len(skeleton.names))) - set(skeleton.root_first())
    if cut_off:
        cycle = ", ".join(skeleton.names[joint] for joint in sorted(cut_off))
        raise BadInputError(path, f"a cycle in the parents of {cycle}", "a tree under the root")


def write_skeleton(path: str | Path, skeleton: Skeleton) -> None:
    """Writes a skeleton in the layout that `read_skeleton` reads."""
    rows = [
        f"{name} {joint} {parent}\n"
        for joint, (name, parent) in enumerate(zip(*skeleton, strict=True))
    ]
    Path(path).write_text("".join(["# joint_name joint_id joint_parent_id\n", *rows]))
