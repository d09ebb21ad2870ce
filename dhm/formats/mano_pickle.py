"""MANO's model files (Romero and others, SIGGRAPH Asia 2017), read without running anything.

`MANO_RIGHT.pkl` and `MANO_LEFT.pkl` are Python 2 pickles of NumPy arrays, one SciPy matrix and
objects of chumpy, which current versions of Python cannot install. Their globals become records
(see `restricted_pickle`), from which the arrays are built here.
"""

import dataclasses
import logging
import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csc_matrix

from dhm.errors import BadInputError
from dhm.formats.mano_side import (
    LEFT,
    MIRROR,
    SIDES,
    has_other_shapes,
    right_hand_file,
    side_of_name,
    side_of_shape,
)
from dhm.formats.restricted_pickle import (
    ARRAY_GLOBALS,
    INSTANCE_GLOBALS,
    Record,
    brief,
    build_array,
    load_dictionary,
)
from dhm.types import ManoModel

log = logging.getLogger(__name__)

NUM_JOINTS = 16
"""The wrist and three a finger."""

_NUM_ANGLES = 3 * (NUM_JOINTS - 1)
_NUM_POSE_DIRECTIONS = 9 * (NUM_JOINTS - 1)
_ADMITTED = {
    **ARRAY_GLOBALS,
    **INSTANCE_GLOBALS,
    **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
    ("chumpy.ch", "Ch"): "Ch",
    ("chumpy.reordering", "Select"): "Select",
    **{(f"scipy.sparse.{module}", "csc_matrix"): "csc" for module in ("csc", "_csc")},
}
_ONLY = "NumPy arrays, SciPy's csc_matrix, chumpy's Ch and Select and nothing else"
_EXPECTED = "a MANO model (a pickled dictionary)"
_MAX_MAGNITUDE = 1e9  # float32 has room for the sums of such numbers
_MAX_NESTED = 8  # chumpy objects in one another
_WEIGHT_TOLERANCE = 1e-3
_SIZE_M = (0.05, 1.0)  # of the box around a hand's vertices
_NO_PARENT = 2**32 - 1
_NO_CHUMPY = "an array of numbers, a chumpy Ch or a chumpy Select"
_STYLES = {"bs_style": "lbs", "bs_type": "lrotmin"}
# Of MANO's 778 vertices; the left hand has the right one's, mirrored in the same order.
_MANO_VERTICES = 778
_MANO_TIPS = (744, 320, 443, 554, 671)


def read_mano(path: str | Path, side: str | None = None) -> ManoModel:
    """Reads a model file of MANO's form; metres become millimetres, weights are normalised.

    The fingertips are the vertices of the key `tip_vertices`. MANO's own files lack it; they are
    recognised by their 778 vertices.

    Which hand it is follows from the key `side`, else from the shape at rest, else from the file's
    name. A left hand's file that has the right hand's shape directions, as MANO's own has, is
    mended: their x changes sign, and a warning says so. They are compared with those of the right
    hand's file where it lies beside (MANO_RIGHT.pkl beside MANO_LEFT.pkl), else with the template.

    Args:
        path: The file.
        side: The hand that it must be, "left" or "right"; either by default.

    Raises:
        BadInputError: The file is missing, truncated or damaged; it refers to anything but arrays
            of NumPy, SciPy and chumpy (nothing of it runs); it lacks an entry, or has one of
            another shape, with a number that is not finite, or that makes no hand; or it is the
            other hand's.
    """
    path = Path(path)
    model = _with_side(path, _read_model(path))
    if side is not None and model.side not in (None, side):
        raise BadInputError(path, f"the model of a {model.side} hand", f"that of a {side} hand")
    return _with_own_shapes(path, model) if model.side == LEFT else model


def _read_model(path: Path) -> ManoModel:
    """Reads a file as it is; the side is the one that its key says, or None."""
    return _Entries(path, load_dictionary(path, _ADMITTED, _ONLY, _EXPECTED)).model()


def _with_side(path: Path, model: ManoModel) -> ManoModel:
    if model.side is not None:
        return model
    by_shape, by_name = side_of_shape(model), side_of_name(path)
    if None not in (by_shape, by_name) and by_shape != by_name:
        log.warning("%s: by its shape a %s hand, and taken as one", path, by_shape)
    return dataclasses.replace(model, side=by_shape or by_name)


def _with_own_shapes(path: Path, left: ManoModel) -> ManoModel:
    """Mends a left hand with the right hand's shape directions."""
    beside, right = right_hand_file(path), None
    if beside != path and beside.is_file():
        try:
            right = _read_model(beside)
        except BadInputError as error:
            log.warning("%s cannot be compared with the right hand: %s", path, error)
    wrong = has_other_shapes(left, right)
    if wrong is None:
        log.warning(
            "%s: nothing tells whether the shape directions of this left hand are its own or the "
            "right hand's, as in MANO's file; they are taken as they are. With the right hand's "
            "file beside it, as %s, the two are compared.", path, right_hand_file(path).name,
        )  # fmt: skip
    if not wrong:
        return left
    log.warning(
        "%s: the shape directions of this left hand are the right hand's, a known fault of MANO's "
        "file; the sign of their x is changed", path,
    )  # fmt: skip
    return dataclasses.replace(left, shapedirs=left.shapedirs * MIRROR[:, None])


def write_mano(path: str | Path, model: ManoModel) -> None:
    """Writes a model file of MANO's form, in metres.

    It is a pickle of protocol 2 of NumPy arrays and a SciPy matrix, without objects of chumpy.
    """
    parents = [parent if parent >= 0 else _NO_PARENT for parent in model.parents]
    metres = {
        name: np.asarray(getattr(model, name), np.float64) / 1000
        for name in ("v_template", "shapedirs", "posedirs")
    }
    entries = {
        **metres,
        "J": model.J_regressor @ metres["v_template"],
        "J_regressor": csc_matrix(np.asarray(model.J_regressor, np.float64)),
        "weights": np.asarray(model.lbs_weights, np.float64),
        "kintree_table": np.array([parents, range(NUM_JOINTS)], np.uint32),
        "f": np.asarray(model.faces, np.uint32),
        "hands_components": np.asarray(model.hands_components, np.float64),
        "hands_mean": np.asarray(model.hands_mean, np.float64),
        "tip_vertices": np.array(model.tip_vertices, np.int64),
        **({"side": model.side} if model.side else {}),
        **_STYLES,
    }
    with Path(path).open("wb") as file:
        pickle.dump(entries, file, protocol=2)


class _Entries:
    """The entries of a model file by key, checked and converted to arrays."""

    def __init__(self, path: Path, entries: dict[str, Any]):
        self._path, self._entries = path, entries

    def model(self) -> ManoModel:
        for key, known in _STYLES.items():
            if (style := self._entries.get(key, known)) != known:
                self._refuse(f"{key} {brief(style)}", f"{known!r}")
        vertices = self.floats("v_template", None, 3)
        count = len(vertices)
        size = float(np.linalg.norm(np.ptp(vertices, axis=0)))
        if not _SIZE_M[0] <= size <= _SIZE_M[1]:
            self._refuse(f"v_template of {size:.3g} m from corner to corner", "a hand in metres")
        return ManoModel(
            v_template=1000 * vertices,
            shapedirs=1000 * self.floats("shapedirs", count, 3, None),
            posedirs=1000 * self.floats("posedirs", count, 3, _NUM_POSE_DIRECTIONS),
            J_regressor=self.regressor(count),
            lbs_weights=self.weights(count),
            parents=self.parents(),
            faces=self.indices("f", count, None, 3).astype(np.int32),
            hands_components=self.floats("hands_components", _NUM_ANGLES, _NUM_ANGLES),
            hands_mean=self.floats("hands_mean", _NUM_ANGLES),
            tip_vertices=self.tips(count),
            side=self.side(),
        )

    def side(self) -> str | None:
        """Returns the entry of our own files that MANO's lack."""
        side = self._entries.get("side")
        if side not in (None, *SIDES):
            self._refuse(f"side {brief(side)}", f"{' or '.join(map(repr, SIDES))}")
        return side

    def floats(self, key: str, *shape: int | None) -> Float[np.ndarray, "..."]:
        """Returns an entry as float64 of a shape, None for any length."""
        return self._finite(key, self._shaped(key, self._array(key), *shape))

    def integers(self, key: str, *shape: int | None) -> Int[np.ndarray, "..."]:
        array = self._shaped(key, self._array(key), *shape)
        if array.dtype.kind not in "iu":
            self._refuse(f"{key} as {array.dtype}", "integers")
        if array.max() > np.iinfo(np.int64).max:
            self._refuse(f"{key} with {array.max()}", "integers of 63 bits")
        return array.astype(np.int64)

    def indices(self, key: str, count: int, *shape: int | None) -> Int[np.ndarray, "..."]:
        """Returns an entry as indices below a count."""
        array = self.integers(key, *shape)
        if array.min() < 0 or array.max() >= count:
            self._refuse(f"{key} from {array.min()} to {array.max()}", f"indices below {count}")
        return array

    def regressor(self, count: int) -> Float[np.ndarray, "16 v"]:
        key = "J_regressor"
        record = self._entry(key)
        if not (isinstance(record, Record) and record.kind == "csc"):
            return self.floats(key, NUM_JOINTS, count)
        try:
            regressor = _dense(record, NUM_JOINTS, count)
        except ValueError as error:
            self._refuse(f"{key}: {error}", f"a csc_matrix [{NUM_JOINTS}, {count}]")
        return self._finite(key, regressor)

    def weights(self, count: int) -> Float[np.ndarray, "v 16"]:
        weights = self.floats("weights", count, NUM_JOINTS)
        sums = weights.sum(axis=1, keepdims=True)
        worst = float(sums.flat[np.abs(sums - 1).argmax()])
        if abs(worst - 1) > _WEIGHT_TOLERANCE:
            self._refuse(f"weights whose row sums to {worst:.6g}", "rows that sum to 1")
        return weights / sums

    def parents(self) -> tuple[int, ...]:
        key = "kintree_table"
        parents, joints = self.integers(key, 2, NUM_JOINTS).tolist()
        expected = f"joints 0 to {NUM_JOINTS - 1}"
        if joints != list(range(NUM_JOINTS)):
            self._refuse(f"{key} of joints {joints}", expected)
        if parents[0] not in (_NO_PARENT, -1):
            self._refuse(f"{key} whose root has parent {parents[0]}", f"{_NO_PARENT}")
        for joint, parent in enumerate(parents[1:], start=1):
            if not 0 <= parent < joint:
                found = f"{key} with parent {parent} of joint {joint}"
                self._refuse(found, "a joint that precedes it")
        return (-1, *parents[1:])

    def tips(self, count: int) -> tuple[int, ...]:
        key = "tip_vertices"
        if key in self._entries:
            return tuple(self.indices(key, count, len(_MANO_TIPS)).tolist())
        if count != _MANO_VERTICES:
            self._refuse(f"no {key!r} for {count} vertices", f"it, or MANO's {_MANO_VERTICES}")
        return _MANO_TIPS

    def _entry(self, key: str) -> Any:
        if key not in self._entries:
            has = ", ".join(map(brief, list(self._entries)[:20]))
            self._refuse(f"no {key!r}", f"a model of MANO's form; it holds {has or 'nothing'}")
        return self._entries[key]

    def _array(self, key: str) -> np.ndarray:
        entry = self._entry(key)
        try:
            return _array(entry)
        except ValueError as error:
            self._refuse(f"{key}: {error}", _NO_CHUMPY)

    def _shaped(self, key: str, array: np.ndarray, *shape: int | None) -> np.ndarray:
        lengths = zip(array.shape, shape, strict=False)
        if array.ndim != len(shape) or any(want not in (None, have) for have, want in lengths):
            wanted = ", ".join("any" if n is None else f"{n}" for n in shape)
            self._refuse(f"{key} of shape {[*array.shape]}", f"[{wanted}]")
        return array

    def _finite(self, key: str, array: np.ndarray) -> Float[np.ndarray, "..."]:
        array = array.astype(np.float64)
        if not (np.abs(array) <= _MAX_MAGNITUDE).all():
            self._refuse(f"{key} with NaN, infinity or huge numbers", "finite numbers")
        return array

    def _refuse(self, found: str, expected: str) -> NoReturn:
        raise BadInputError(self._path, found, expected)


def _array(value: Any, depth: int = 0) -> np.ndarray:
    """Builds an array, or that inside a chumpy object; raises ValueError for anything else."""
    if depth > _MAX_NESTED:
        raise ValueError(f"more than {_MAX_NESTED} chumpy objects in one another")
    if not isinstance(value, Record) or value.kind not in ("Ch", "Select"):
        return build_array(value)
    if value.kind == "Ch":
        return _array(_state(value, "x"), depth + 1)
    source = _array(_state(value, "a"), depth + 1).ravel()
    chosen = _array(_state(value, "idxs"), depth + 1)
    if chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= len(source):
        raise ValueError(f"a Select whose idxs do not fit its {len(source)} numbers")
    selected = source[chosen.astype(np.int64)]
    if value.state.get("preferred_shape") is None:
        return selected
    return selected.reshape(_lengths(value.state["preferred_shape"]))


def _dense(record: Record, rows: int, columns: int) -> Float[np.ndarray, "r c"]:
    """Builds a csc_matrix of a known shape; raises ValueError for any other."""
    state = record.state if isinstance(record.state, dict) else {}
    shape = _lengths(state.get("_shape", state.get("shape")))
    if shape != (rows, columns):
        raise ValueError(f"a csc_matrix of shape {brief(shape)}")
    data, row, start = (_array(_state(record, key)) for key in ("data", "indices", "indptr"))
    if not (
        data.ndim == row.ndim == start.ndim == 1 and {row.dtype.kind, start.dtype.kind} <= {*"iu"}
    ):
        raise ValueError("a csc_matrix whose arrays are no vectors of numbers")
    row, start = row.astype(np.int64), start.astype(np.int64)
    fits = len(start) == columns + 1 and start[0] == 0 and start[-1] == len(data) == len(row)
    if not fits or (np.diff(start) < 0).any() or row.min() < 0 or row.max() >= rows:
        raise ValueError("a csc_matrix whose indices do not fit its shape")
    dense = np.zeros((rows, columns))
    with np.errstate(over="ignore"):  # infinities are refused by the entry's name
        np.add.at(dense, (row, np.repeat(np.arange(columns), np.diff(start))), data)
    return dense


def _state(record: Record, key: str) -> Any:
    if not isinstance(record.state, dict) or key not in record.state:
        raise ValueError(f"a {record.kind} without {key!r}")
    return record.state[key]


def _lengths(value: Any) -> tuple[int, ...]:
    """Returns a shape whose lengths may be pickled NumPy scalars."""
    if not isinstance(value, (tuple, list)) or len(value) > 4:
        raise ValueError(f"a {type(value).__name__} instead of a shape")
    lengths = tuple(_scalar(n) for n in value)
    if min(lengths, default=0) < 1:
        raise ValueError(f"shape {brief(lengths)}")
    return lengths


def _scalar(value: Any) -> int:
    if type(value) is int:
        return value
    if not isinstance(value, Record) or value.kind != "scalar" or len(value.args or ()) != 2:
        raise ValueError(f"a {type(value).__name__} instead of a length")
    dtype, data = value.args
    # A scalar is spelled as an array's dtype and bytes are.
    one = Record("array", ())
    one.state = (1, (1,), dtype, False, data)
    number = build_array(one)
    if number.dtype.kind not in "iu":
        raise ValueError(f"a length of {number.dtype}")
    return int(number[0])
