"""metrics.json: the errors of a run. Read and written without JAX."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from dhm.errors import BadInputError
from dhm.formats.json_file import read_json, write_json

METRICS_FILE = "metrics.json"
"""Name of the file in the folder of a run."""

ERROR_KINDS = ("errors", "errors_fitted", "errors_template")
"""Tables of errors by sequence: angles by the encoder, angles fitted to the true joints, and the
untrained template at zero pose."""

OVERALL = "overall"
"""Row of each table with the means over all sequences."""


class MissingData(NamedTuple):
    """Stands for the records that errors were measured on where they cannot be used.

    Attributes:
        reason: Why not, a sentence.
    """

    reason: str


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Writes the errors of a run.

    Raises:
        OSError: If the file cannot be written.
    """
    write_json(path, metrics)


def read_metrics(path: Path) -> dict[str, Any]:
    """Reads the errors of a run.

    Returns:
        The content of the file, in which the tables `ERROR_KINDS` and the list "worst", if there
        is one, have been checked.

    Raises:
        BadInputError: If the file is missing, damaged, or holds something else.
    """
    metrics = read_json(path, "the errors of the run: evaluate first")
    for kind in ERROR_KINDS:
        rows = metrics.get(kind)
        if not isinstance(rows, dict) or not isinstance(rows.get(OVERALL), dict):
            raise BadInputError(path, f"no {kind} by sequence and overall", "them: evaluate again")
        for name, row in rows.items():
            if not isinstance(row, dict) or not all(map(_is_number, row.values())):
                raise BadInputError(path, f"{kind} of {name!r}: {row!r}"[:200], "numbers by name")
    worst = metrics.get("worst", [])
    if not isinstance(worst, list) or not all(isinstance(image, dict) for image in worst):
        raise BadInputError(path, f"worst = {worst!r}"[:200], "a list of images")
    for image in worst:
        fields = (image.get(key) for key in ("P_err", "M_err"))
        if type(image.get("record")) is not int or not all(map(_is_number, fields)):
            raise BadInputError(path, f"the worst image {image!r}"[:200], "its record and errors")
    return metrics


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))
