"""Depth pickles: what loads, what is refused, and that nothing runs."""

import io
import os
import pickle
import pickletools
import struct

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.depth_pickle import read_depth_pickle, write_depth_pickle

DEPTH = np.array([[0.0, 950.5, 1023.25], [0.0, 0.0, 7.0]])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "depthmap400002.pkl"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<u2", "<i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_pickles_load_whatever_their_protocol(path, protocol, dtype, order):
    depth = np.array(DEPTH, dtype, order=order)
    path.write_bytes(pickle.dumps(depth, protocol=protocol))
    found = read_depth_pickle(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, depth.astype(np.float32))


def test_a_view_and_a_read_only_array_load(path):
    table = np.arange(40.0).reshape(5, 8)
    for depth in (table[::2, 1:5], table.T):
        for protocol in (2, 5):
            path.write_bytes(pickle.dumps(depth, protocol=protocol))
            np.testing.assert_array_equal(read_depth_pickle(path), depth)
    frozen = table.copy()
    frozen.flags.writeable = False
    path.write_bytes(pickle.dumps(frozen, protocol=5))
    np.testing.assert_array_equal(read_depth_pickle(path), frozen)


def python2_pickle(depth: np.ndarray) -> bytes:
    """Spells an array as Python 2's cPickle did: byte strings and numpy.core."""
    data = depth.astype("<f4").tobytes()
    height, width = depth.shape
    return b"".join(
        [
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85",
            b"U\x01b\x87Rq\x03(K\x01K", bytes([height]), b"K", bytes([width]), b"\x86",
            b"cnumpy\ndtype\nq\x04U\x02f4K\x00K\x01\x87Rq\x05(K\x03U\x01<NNNJ\xff\xff\xff\xff",
            b"J\xff\xff\xff\xffK\x00tb\x89T", struct.pack("<i", len(data)), data, b"tb.",
        ]
    )  # fmt: skip


def test_python_2_pickles_load(path):
    path.write_bytes(python2_pickle(DEPTH))
    np.testing.assert_array_equal(read_depth_pickle(path), DEPTH)


def test_round_trip_and_plain_pickle_agree(path):
    depth = np.random.default_rng(0).random((31, 17), np.float32) * 1000
    write_depth_pickle(path, depth)
    np.testing.assert_array_equal(read_depth_pickle(path), depth)
    np.testing.assert_array_equal(pickle.loads(path.read_bytes()), depth)


def test_foreign_depth_maps_load(release_mini):
    folder = release_mini / "annotations" / "depthmaps" / "subject_4"
    for name in ("001207", "001210"):
        file = folder / name / "depthmap400009.pkl"
        with file.open("rb") as handle:
            trusted = pickle.load(handle)  # from the project's own fixture
        np.testing.assert_array_equal(read_depth_pickle(file), trusted.astype(np.float32))


class Touches:
    """Creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (open, (self.target, "w"))


def global_call(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n(S'touch pwned'\ntR.".encode()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_runs(path, tmp_path, protocol):
    path.write_bytes(pickle.dumps(Touches(tmp_path / "pwned"), protocol=protocol))
    with pytest.raises(BadInputError, match=r"refers to \w+\.open, expected NumPy's array"):
        read_depth_pickle(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core", "multiarray._reconstruct"),
        ("numpy.testing._private.utils", "runstring"),
        ("dhm.formats.depth_pickle", "read_depth_pickle"),
    ],
)
def test_every_other_global_is_refused_by_name(path, module, name, monkeypatch):
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("ran"))
    path.write_bytes(global_call(module, name))
    with pytest.raises(BadInputError, match=f"refers to {module}.{name}, "):
        read_depth_pickle(path)


def hostile_states() -> dict[str, bytes]:
    """Pickles made of admitted globals alone that describe no depth map."""
    whole = pickle.dumps(DEPTH.astype("f4"), protocol=2)
    shape = b"K\x02K\x03\x86"
    assert whole.count(shape) == 1
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n"
    return {
        "object dtype": pickle.dumps(np.array([[None, 1]], object), protocol=4),
        "structured dtype": pickle.dumps(np.zeros((2, 2), "f4,i4"), protocol=4),
        "complex dtype": pickle.dumps(np.zeros((2, 2), complex), protocol=4),
        "text dtype": pickle.dumps(np.array([["a", "b"]]), protocol=4),
        "boolean dtype": pickle.dumps(DEPTH > 0, protocol=4),
        "one axis": pickle.dumps(np.zeros(4, "f4"), protocol=4),
        "three axes": pickle.dumps(np.zeros((2, 2, 2), "f4"), protocol=5),
        "no row": pickle.dumps(np.zeros((0, 4), "f4"), protocol=4),
        "a scalar": pickle.dumps(1.0, protocol=2),
        "a list": pickle.dumps([[1.0, 2.0]], protocol=4),
        "a dictionary": pickle.dumps({"depth": 1}, protocol=4),
        "only the global": reconstruct + b".",
        "an empty call": reconstruct + b"(tR.",
        "no state": reconstruct + b"(I1\ntR.",
        "a call of a result": reconstruct + b"(tR(tR.",
        "state of a global": reconstruct + b"I1\nb.",
        "a state that is no tuple": reconstruct + b"(tRI1\nb.",
        "an instance by opcode": b"(ios\nsystem\n.",
        "an extension code": b"\x80\x02\x82\x01.",
        "a persistent id": b"Pfile\n.",
        "a huge memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "a huge byte array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b".",
        "a huge frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b".",
        "too few bytes": whole.replace(shape, b"K\x02K\x04\x86"),
        "a negative shape": whole.replace(
            b"K\x02K\x03\x86", b"J\xfe\xff\xff\xffJ\xfd\xff\xff\xff\x86"
        ),
        "a huge shape": whole.replace(shape, b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"),
        "nested tuples": b"\x80\x02N" + b"\x85" * 200_000 + b".",
        "nothing": b"",
        "a picture": b"\xff\xd8\xff\xe0" + bytes(100),
    }


@pytest.mark.parametrize("case", hostile_states())
def test_admitted_globals_cannot_make_anything_else(path, case):
    path.write_bytes(hostile_states()[case])
    with pytest.raises(BadInputError, match=r"expected a pickled 2-D NumPy array of depths"):
        read_depth_pickle(path)


def test_a_hostile_file_leaves_nothing_behind(path):
    poison = b"cnumpy\ndtype\n(N(dS'args'\nS'poison'\nstb."
    path.write_bytes(poison)
    with pytest.raises(BadInputError):
        read_depth_pickle(path)
    write_depth_pickle(path, DEPTH)
    np.testing.assert_array_equal(read_depth_pickle(path), DEPTH)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, 1e300])
def test_impossible_depths_are_refused(path, value):
    depth = DEPTH.copy()
    depth[1, 1] = value
    path.write_bytes(pickle.dumps(depth))
    with pytest.raises(BadInputError, match="a depth that is negative or not finite"):
        read_depth_pickle(path)


def test_every_truncation_is_refused(path):
    data = pickle.dumps(DEPTH.astype("f4"), protocol=4)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(BadInputError):
            read_depth_pickle(path)


def test_a_frame_that_ends_within_a_length_is_refused(path):
    """Python's own reader says MemoryError to some of these."""
    data = pickle.dumps(DEPTH.astype("f4"), protocol=5)
    frame = data.index(b"\x95") + 1
    bytes_at = data.index(b"\x96" + struct.pack("<Q", 24))
    for inside in range(10):
        length = bytes_at - frame - 8 + inside
        path.write_bytes(data[:frame] + struct.pack("<Q", length) + data[frame + 8 : -20])
        with pytest.raises(BadInputError):
            read_depth_pickle(path)


def test_every_numpy_spelling_uses_admitted_opcodes_only(path):
    # A guard for new NumPy or Python versions: a new opcode would show here, with its name.
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        buffer = io.BytesIO(pickle.dumps(DEPTH, protocol=protocol))
        path.write_bytes(buffer.getvalue())
        assert read_depth_pickle(path).shape == DEPTH.shape, [
            opcode.name for opcode, _, _ in pickletools.genops(buffer.getvalue())
        ]
