"""JSON files: read with clear refusals, replaced whole."""

import json
from pathlib import Path
from typing import Any

from dhm.errors import BadInputError


def read_json(path: Path, expected: str, kind: type = dict) -> Any:
    """Reads a file that holds one object, or one list.

    Args:
        path: The file.
        expected: What it should be, for messages.
        kind: `dict` or `list`.

    Raises:
        BadInputError: If it is missing, or holds no JSON of that kind.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BadInputError(path, "no such file", expected) from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(path, f"damaged JSON ({error})", expected) from error
    if not isinstance(content, kind):
        raise BadInputError(path, f"JSON of a {type(content).__name__}", expected)
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file; a process that is killed meanwhile leaves the one before.

    Raises:
        OSError: If it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def flat_fields(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a nested config by their dotted names."""
    flat = {}
    for key, value in tree.items():
        nested = isinstance(value, dict)
        flat |= flat_fields(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat
