"""MANO's files: what loads, what is refused with which message, and that nothing runs."""

import dataclasses
import os
import pickle
import struct
import sys
import types
import warnings

import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.mano_pickle import read_mano, write_mano
from dhm.types import ManoModel
from tests.references.mano import (
    MANO_TIPS,
    Instance,
    official_entries,
    python2_pickle,
    random_mano,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "MANO_RIGHT.pkl"


def _small(**changes):
    return dataclasses.replace(random_mano(0, num_vertices=12, num_shapes=2), **changes)


def _entries(**changes):
    """A small model's entries as Python 2 has them; a change to None leaves one out."""
    entries = official_entries(_small()) | {"tip_vertices": np.arange(7, 12)} | changes
    return {key: value for key, value in entries.items() if value is not None}


def _assert_same(found, expected):
    for field in dataclasses.fields(ManoModel):
        if field.name == "side":  # tests/formats/test_mano_side.py
            continue
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        assert type(ours) is type(theirs), field.name
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-15, err_msg=field.name)


@pytest.fixture
def chumpy(monkeypatch):
    """Stand-ins for the modules of chumpy, which cannot be installed."""
    modules = {}
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        modules[name] = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, modules[name])
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select")):
        stand_in = type(name, (), {"__module__": module})
        setattr(modules[module], name, stand_in)
    return types.SimpleNamespace(
        Ch=modules["chumpy.ch"].Ch, Select=modules["chumpy.reordering"].Select
    )


def _make(kind, **state):
    made = kind()
    made.__dict__.update(state)
    return made


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_files_of_python_2_load(path, protocol):
    model = random_mano(3)
    path.write_bytes(python2_pickle(official_entries(model), protocol))
    _assert_same(read_mano(path), model)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_python_loads_the_pickles_of_these_tests(path, protocol, chumpy):
    """`python2_pickle` spells what Python 2 would have: Python 3 loads the same objects."""
    entries = _entries(J_regressor=np.zeros((16, 12)))
    found = pickle.loads(python2_pickle(entries, protocol), encoding="latin1")
    np.testing.assert_array_equal(found["posedirs"].x, entries["posedirs"].state["x"])
    assert found["shapedirs"].preferred_shape == (12, 3, 2)
    assert found["shapedirs"]._dirty_vars == {"x"}
    np.testing.assert_array_equal(found["kintree_table"], entries["kintree_table"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_files_of_python_3_with_chumpy_load(path, protocol, chumpy):
    model = random_mano(4)
    write_mano(path, model)
    with path.open("rb") as file:
        entries = pickle.load(file)
    count = model.num_vertices
    source = _make(chumpy.Ch, x=entries["shapedirs"], _dirty_vars={"x"}, _itr=None)
    order = np.random.default_rng(0).permutation(count * 30)
    shuffled = _make(chumpy.Select, a=source, idxs=order)
    shape = (np.int64(count), 3, 10)
    entries["shapedirs"] = _make(
        chumpy.Select, a=shuffled, idxs=np.argsort(order), preferred_shape=shape
    )
    entries["posedirs"] = _make(chumpy.Ch, x=_make(chumpy.Ch, x=entries["posedirs"]))
    entries[7] = "a key that is no text"
    path.write_bytes(pickle.dumps(entries, protocol))
    _assert_same(read_mano(path), model)


@pytest.mark.parametrize("model", [random_mano(1), random_mano(2, 40, 3)], ids=["778", "40"])
def test_round_trip(path, model):
    write_mano(path, model)
    _assert_same(read_mano(path), model)
    assert hash(model) != hash(read_mano(path))


def test_written_files_are_plain_pickles(path):
    model = random_mano(1)
    write_mano(path, model)
    data = path.read_bytes()
    assert data[:2] == b"\x80\x02"
    found = pickle.loads(data, encoding="latin1")
    np.testing.assert_allclose(found["v_template"] * 1000, model.v_template)
    np.testing.assert_allclose(found["J_regressor"].toarray(), model.J_regressor)
    assert found["kintree_table"].dtype == np.uint32
    assert found["kintree_table"][0, 0] == 2**32 - 1
    assert (found["bs_style"], found["bs_type"]) == ("lbs", "lrotmin")


def test_metres_become_millimetres_and_weights_sum_to_one(path):
    rough = _small().lbs_weights * np.linspace(0.9995, 1.0005, 12)[:, None]
    path.write_bytes(python2_pickle(_entries(weights=rough.astype(np.float32))))
    found = read_mano(path)
    np.testing.assert_allclose(found.v_template, _small().v_template)
    np.testing.assert_allclose(found.lbs_weights.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(found.lbs_weights, _small().lbs_weights, atol=1e-6)


def test_fingertips_are_known_for_mano_alone(path):
    path.write_bytes(python2_pickle(official_entries(random_mano(1))))
    assert read_mano(path).tip_vertices == MANO_TIPS
    path.write_bytes(python2_pickle(official_entries(_small())))
    with pytest.raises(BadInputError, match="no 'tip_vertices' for 12 vertices"):
        read_mano(path)


def test_a_dense_regressor_and_numbers_of_other_types_load(path):
    model = _small()
    entries = _entries(
        J_regressor=model.J_regressor.astype(">f4").astype("<f4"),
        f=model.faces.astype(np.int64),
        kintree_table=np.array([model.parents, range(16)], np.int64),
        hands_mean=Instance("chumpy.ch", "Ch", {"x": model.hands_mean.astype(np.float32)}),
    )
    path.write_bytes(python2_pickle(entries))
    found = read_mano(path)
    assert found.parents == model.parents
    np.testing.assert_allclose(found.J_regressor, model.J_regressor, rtol=1e-6)


_KEYS = (
    "v_template",
    "shapedirs",
    "posedirs",
    "J_regressor",
    "weights",
    "kintree_table",
    "f",
    "hands_components",
    "hands_mean",
)


@pytest.mark.parametrize("key", _KEYS)
def test_a_missing_entry_is_named(path, key):
    path.write_bytes(python2_pickle(_entries(**{key: None})))
    with pytest.raises(BadInputError, match=f"found no '{key}', expected .* it holds hands_coeffs"):
        read_mano(path)


@pytest.mark.parametrize("key", _KEYS)
@pytest.mark.parametrize("value", [np.zeros((2, 7)), np.zeros(5), "text", {}, [1, 2], 3])
def test_an_entry_of_another_kind_or_shape_is_named(path, key, value):
    path.write_bytes(python2_pickle(_entries(**{key: value})))
    with pytest.raises(BadInputError, match=f"found {key}.*, expected"):
        read_mano(path)


@pytest.mark.parametrize("key", ["v_template", "weights", "hands_mean", "hands_components"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_not_finite_are_refused(path, key, number):
    array = _entries()[key].copy()
    array.flat[3] = number
    path.write_bytes(python2_pickle(_entries(**{key: array})))
    with pytest.raises(BadInputError, match=f"found {key} with NaN, infinity or huge"):
        read_mano(path)


def _tree(row, joint, parent):
    table = _entries()["kintree_table"].astype(np.int64)
    table[row, joint] = parent
    return table


def _sparse(**changes):
    state = _entries()["J_regressor"].state | changes
    return Instance("scipy.sparse.csc", "csc_matrix", state)


def _select(**changes):
    state = _entries()["shapedirs"].state | changes
    state = {key: value for key, value in state.items() if value is not None}
    return Instance("chumpy.reordering", "Select", state)


def _nested(count):
    value = _entries()["posedirs"]
    for _ in range(count):
        value = Instance("chumpy.ch", "Ch", {"x": value})
    return value


_ROWS = _entries()["J_regressor"].state["indices"]
_BAD = {
    "a root with a parent": ("kintree_table", _tree(0, 0, 3), "whose root has parent 3"),
    "a second root": ("kintree_table", _tree(0, 4, 2**32 - 1), "parent 4294967295 of joint 4"),
    "a later parent": ("kintree_table", _tree(0, 4, 9), "parent 9 of joint 4, expected a joint"),
    "its own parent": ("kintree_table", _tree(0, 4, 4), "parent 4 of joint 4"),
    "other joints": ("kintree_table", _tree(1, 4, 9), "of joints .*, expected joints 0 to 15"),
    "a tree of fractions": ("kintree_table", np.zeros((2, 16)), "as float64, expected integers"),
    "a face beyond": ("f", np.full((4, 3), 12), "f from 12 to 12, expected indices below 12"),
    "a face below": ("f", np.full((4, 3), -1), "f from -1 to -1"),
    "a face far beyond": ("f", np.full((4, 3), 2**64 - 1, np.uint64), "integers of 63 bits"),
    "weights of 2": ("weights", np.full((12, 16), 0.125), "whose row sums to 2"),
    "weights of 0": ("weights", np.zeros((12, 16)), "row sums to 0"),
    "weights just off": ("weights", 1.002 * _small().lbs_weights, "row sums to 1.002"),
    "a tip beyond": ("tip_vertices", np.arange(8, 13), "tip_vertices from 8 to 12"),
    "four tips": ("tip_vertices", np.arange(4), r"tip_vertices of shape \[4\], expected \[5\]"),
    "another skinning": ("bs_style", "dqbs", "bs_style dqbs, expected 'lbs'"),
    "another feature": ("bs_type", "quat", "bs_type quat, expected 'lrotmin'"),
    "another regressor": ("J_regressor", _sparse(_shape=(16, 13)), r"shape \(16, 13\), expected"),
    "a huge regressor": ("J_regressor", _sparse(_shape=(2**30, 2**30)), "csc_matrix of shape"),
    "a regressor's row": ("J_regressor", _sparse(indices=_ROWS + 16), "indices do not fit"),
    "a regressor's start": (
        "J_regressor", _sparse(indptr=np.arange(13)[::-1].copy()), "indices do not fit"
    ),
    "a regressor without data": ("J_regressor", _sparse(data=None), "instead of an array"),
    "a regressor of text": ("J_regressor", _sparse(_shape="ab"), "a str instead of a shape"),
    "a Select beyond": ("shapedirs", _select(idxs=np.arange(10**4)), "whose idxs do not fit"),
    "a Select of nothing": ("shapedirs", _select(a=None), "a Select without 'a'"),
    "a Select's shape": ("shapedirs", _select(preferred_shape=(5, 5)), "cannot reshape"),
    "a Select without shape": ("shapedirs", _select(preferred_shape=None), r"of shape \[72\]"),
    "a Ch without x": ("posedirs", Instance("chumpy.ch", "Ch", {}), "a Ch without 'x'"),
    "a Ch of nothing": ("posedirs", Instance("chumpy.ch", "Ch", [1]), "a Ch without 'x'"),
    "too many Ch": ("posedirs", _nested(20), "more than 8 chumpy objects"),
}  # fmt: skip


@pytest.mark.parametrize("case", _BAD)
def test_entries_that_do_not_fit_are_named(path, case):
    key, value, said = _BAD[case]
    path.write_bytes(python2_pickle(_entries(**{key: value})))
    with pytest.raises(BadInputError, match=said) as refusal:
        read_mano(path)
    assert str(path) in str(refusal.value)
    assert key in refusal.value.found


def test_every_truncation_is_refused(path):
    data = python2_pickle(_entries())
    ends = {*range(0, len(data), 499), *range(100), *range(len(data) - 100, len(data))}
    for length in sorted(ends):
        path.write_bytes(data[:length])
        with pytest.raises(BadInputError, match=r"damaged pickle .*, expected a MANO model"):
            read_mano(path)


OTHER_FILES = [
    pytest.param(
        _entries(v_template=1000 * _entries()["v_template"]),
        "v_template of [0-9]+ m from corner to corner, expected a hand in metres",
        marks=pytest.mark.mistake("MANO", "vertices in mm instead of metres", "refused"),
    ),
    pytest.param(
        _entries(weights=np.full((12, 52), 1 / 52)),
        r"weights of shape \[12, 52\]",
        marks=pytest.mark.mistake(
            "MANO", "the weights of another model, such as SMPL+H", "refused"
        ),
    ),
    pytest.param(
        _entries(kintree_table=np.zeros((2, 24), np.int64)),
        r"kintree_table of shape \[2, 24\], expected \[2, 16\]",
        marks=pytest.mark.mistake("MANO", "a body model, such as SMPL", "refused"),
    ),
    pytest.param(
        _entries(shapedirs=np.zeros((2, 12, 3))),
        r"shapedirs of shape \[2, 12, 3\]",
        marks=pytest.mark.mistake("MANO", "arrays with the axes in another order", "refused"),
    ),
    pytest.param(
        _entries(f=_entries()["f"] + 1),
        "f from .* to 12, expected indices below 12",
        marks=pytest.mark.mistake("MANO", "faces that count from 1", "refused"),
    ),
    pytest.param(
        _entries(hands_components=None),
        "no 'hands_components', expected a model of MANO's form",
        marks=pytest.mark.mistake(
            "MANO", "a file without an entry that is needed", "refused, with its name"
        ),
    ),
    pytest.param(
        _entries(tip_vertices=None),
        "no 'tip_vertices' for 12 vertices, expected it, or MANO's 778",
        marks=pytest.mark.mistake(
            "MANO", "another mesh than MANO's 778 vertices, without fingertips", "refused"
        ),
    ),
]


@pytest.mark.parametrize(("entries", "said"), OTHER_FILES)
def test_files_of_other_units_and_models_are_refused(path, entries, said):
    path.write_bytes(python2_pickle(entries))
    with pytest.raises(BadInputError, match=said):
        read_mano(path)


@pytest.mark.mistake("MANO", "a .npz or .zip, a web page or an incomplete download", "refused")
def test_files_of_other_kinds_are_refused(path):
    whole = python2_pickle(_entries())
    for content in (b"PK\x03\x04" + bytes(90), b"<!DOCTYPE html><html>", whole[:-9], b""):
        path.write_bytes(content)
        with pytest.raises(BadInputError, match=r"MANO_RIGHT\.pkl: .*expected a MANO model"):
            read_mano(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(BadInputError, match=r"MANO_RIGHT\.pkl: found no such file"):
        read_mano(path)


class Runs:
    """Calls something when it is unpickled."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_pickle_runs(path, tmp_path, protocol, chumpy):
    command = Runs(os.system, f"touch {tmp_path / 'pwned'}")
    write_mano(path, _small())
    with path.open("rb") as file:
        entries = pickle.load(file)
    places = [
        command,
        [command],
        {"first": command, **entries},
        {**entries, "last": command},
        {**entries, "posedirs": _make(chumpy.Ch, x=command)},
        {**entries, "shapedirs": _make(chumpy.Select, a=command, idxs=command)},
        {**entries, "unused": ({"deep": [(command,)]},)},
        {**entries, "f": np.array([command], object)},
    ]
    for place in places:
        path.write_bytes(pickle.dumps(place, protocol))
        with pytest.raises(BadInputError, match=r"refers to \w+\.system, expected NumPy arrays"):
            read_mano(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("__builtin__", "eval"),
        ("builtins", "getattr"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "fromfile"),
        ("scipy.sparse", "load_npz"),
        ("scipy.sparse.csc", "csc_matrix.__init__"),
        ("chumpy.ch", "MatVecMult"),
        ("chumpy.ch", "Ch.__setstate__"),
        ("copy_reg", "__newobj__"),
    ],
)
@pytest.mark.parametrize("spelling", ["call", "instance", "stack", "entry"])
def test_every_other_global_is_refused_by_name(path, module, name, spelling):
    named = f"c{module}\n{name}\n".encode()
    texts = b"".join(b"U" + bytes([len(text)]) + text.encode() for text in (module, name))
    content = {
        "call": named + b"(S'touch pwned'\ntR.",
        "instance": b"\x80\x02" + named + b")\x81}b.",
        "stack": b"\x80\x04" + texts + b"\x93.",
        "entry": b"(dS'f'\nccopy_reg\n_reconstructor\n(" + named + b"c__builtin__\nobject\nNtRs.",
    }[spelling]
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=f"refers to {module}.{name}, expected NumPy arrays"):
        read_mano(path)


_HOSTILE = {
    "an old instance": b"(ios\nsystem\n.",
    "an old object": b"(cchumpy.ch\nCh\no.",
    "an extension code": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pfile\n.",
    "a persistent id of the stack": b"N\x51.",
    "an out-of-band buffer": b"\x80\x05\x97.",
    "keyword arguments": b"\x80\x04cchumpy.ch\nCh\n)}\x92.",
    "a frozen set": b"\x80\x04(\x91.",
    "a set": b"\x80\x04\x8f(K\x01\x90.",
    "a huge memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a negative memo": b"}p-1\n.",
    "a memo of nothing": b"p0\n.",
    "a huge byte string": b"T\xff\xff\xff\x7f.",
    "a negative byte string": b"T\xff\xff\xff\xff.",
    "a huge byte array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b".",
    "a huge integer": b"\x8b\xff\xff\xff\x7f.",
    "a call of a call": b"cchumpy.ch\nCh\n(tR(tR.",
    "a call of text": b"S'os.system'\n(tR.",
    "a call without arguments": b"cchumpy.ch\nCh\nNR.",
    "an instance of an instance": b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\n(tRNNtR.",
    "an instance of nothing": b"ccopy_reg\n_reconstructor\n(tR.",
    "a state of a class": b"cchumpy.ch\nCh\n}b.",
    "a state of a dictionary": b"}}b.",
    "a mark too few": b"t.",
    "a value too few": b"}S'f'\ns.",
    "three values as entries": b"}(S'f'\nNNu.",
    "entries of a list": b"]S'f'\nNs.",
    "values of a dictionary": b"}Na.",
    "text without quotes": b"Sabc\n.",
    "text without its end": b"S'abc\n.",
    "a bad escape": b"S'\\x4'\n.",
    "an unknown escape": b"S'\\d'\n.",
    "a number that is none": b"Iabc\n.",
    "another protocol": b"\x80\x09}.",
    "nested tuples": b"\x80\x02N" + b"\x85" * 200_000 + b".",
    "too many opcodes": b"N0" * 200_000 + b"}.",
    "a class alone": b"cchumpy.ch\nCh\n.",
    "an array alone": pickle.dumps(np.zeros((2, 2)), 2),
    "a list": b"].",
    "nothing": b"",
    "a picture": b"\xff\xd8\xff\xe0" + bytes(100),
}


@pytest.mark.parametrize("case", _HOSTILE)
def test_hostile_opcodes_are_refused(path, case):
    path.write_bytes(_HOSTILE[case])
    with pytest.raises(BadInputError, match=r"damaged pickle .*, expected a MANO model"):
        read_mano(path)


def test_keys_are_not_hashed(path):
    """A tuple of itself twice, forty times over, has a hash that never ends."""
    doubled = b"N" + b"".join(b"q\x01h\x01\x86" for _ in range(40))
    path.write_bytes(b"\x80\x02}" + doubled + b"Ns.")
    with pytest.raises(BadInputError, match="no 'v_template'"):
        read_mano(path)


def test_objects_in_themselves_are_refused(path):
    itself = b"cchumpy.ch\nCh\n)\x81q\x01}S'x'\nh\x01sb"
    path.write_bytes(b"\x80\x02}S'v_template'\n" + itself + b"s.")
    with pytest.raises(BadInputError, match="more than 8 chumpy objects"):
        read_mano(path)


def test_object_and_text_arrays_are_refused(path):
    for array in (np.array([[None] * 3]), np.array([["a"] * 3]), np.zeros((12, 3), complex)):
        path.write_bytes(pickle.dumps({"v_template": array}, 2))
        with pytest.raises(BadInputError, match="found v_template: dtype"):
            read_mano(path)


def test_sparse_entries_that_overflow_are_refused_quietly(path):
    state = _entries()["J_regressor"].state
    twice = {"data": np.full_like(state["data"], 1.7e308), "indices": 0 * state["indices"]}
    path.write_bytes(python2_pickle(_entries(J_regressor=_sparse(**twice))))
    with warnings.catch_warnings(), pytest.raises(BadInputError, match="J_regressor with NaN"):
        warnings.simplefilter("error")
        read_mano(path)
