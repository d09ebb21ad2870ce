"""Arguments of public functions: shapes that are not possible are refused, without a type checker.

Shapes are known while a function is traced, values are not: `concrete` returns them where they are.
"""

from typing import Any

import jax
import numpy as np

from dhm.errors import BadInputError

_BATCH = "..."


def require_shapes(**arrays: tuple[Any, str]) -> None:
    """Refuses arrays of other shapes than their axes say.

    Axes are names, which stand for one length in all of the arrays, and lengths. With "..." before
    them an array may have batch axes, which have to broadcast against those of the others.

    Args:
        arrays: Each argument with its axes: `joints=(joints, "... j 3"), valid=(valid, "... j")`.

    Raises:
        BadInputError: An argument is no array, or has another shape.
    """
    lengths: dict[str, int] = {}
    source: dict[str, str] = {}
    batch: tuple[int, ...] = ()
    batch_of = ""
    for name, (array, axes) in arrays.items():
        has_batch, *names = axes.split() if axes.startswith(_BATCH) else ("", *axes.split())
        shape = getattr(array, "shape", None)
        if shape is None:
            found = f"a {type(array).__name__}"
            raise BadInputError(name, found, f"an array of shape {_written(axes)}")
        at = len(shape) - len(names)
        known = dict(lengths)
        fits = (at >= 0 if has_batch else at == 0) and all(
            size == (int(axis) if axis.isdigit() else known.setdefault(axis, size))
            for axis, size in zip(names, shape[at:], strict=True)
        )
        if not fits:
            bound = [f"{axis} = {lengths[axis]} as in {source[axis]}"
                     for axis in dict.fromkeys(names) if axis in lengths]  # fmt: skip
            expected = _written(axes) + " with " * bool(bound) + ", ".join(bound)
            raise BadInputError(name, f"shape {list(shape)}", expected)
        source |= dict.fromkeys(known.keys() - lengths.keys(), name)
        lengths = known
        try:
            together = np.broadcast_shapes(batch, shape[:at])
        except ValueError:
            expected = f"batch axes that broadcast against {list(batch)} of {batch_of}"
            raise BadInputError(name, f"batch axes {list(shape[:at])}", expected) from None
        if together != batch:
            batch, batch_of = together, name


def _written(axes: str) -> str:
    return f"[{', '.join(axes.split())}]"


def concrete(array: Any) -> np.ndarray | None:
    """Returns the values of an array; None where it is traced, or partly on other machines."""
    if isinstance(array, jax.core.Tracer) or not getattr(array, "is_fully_addressable", True):
        return None
    return np.asarray(array)


def require_last_row(name: str, matrices: Any, row: tuple[int, ...], hint: str) -> None:
    """Refuses matrices with another last row, where their values are there to look at.

    Raises:
        BadInputError: A transposed matrix, most likely.
    """
    values = concrete(matrices)
    if values is None or (values[..., -1, :] == row).all():
        return
    other = values[..., -1, :].reshape(-1, len(row))
    other = other[(other != row).any(axis=1)][0]
    raise BadInputError(name, f"the last row {other.tolist()}", f"{list(row)}: {hint}")
