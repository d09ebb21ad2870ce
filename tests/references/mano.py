"""A slow, obvious float64 twin of dhm.networks.mano, a random model and its Python 2 pickles."""

import struct

import numpy as np

from dhm.types import ManoModel

PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
MANO_TIPS = (744, 320, 443, 554, 671)


def rodrigues(vector):
    """Rotation about a vector by its length: each axis turned by Rodrigues' formula."""
    angle = np.sqrt(sum(x * x for x in vector))
    if angle == 0:
        return np.eye(3)
    axis = np.asarray(vector) / angle
    columns = []
    for unit in np.eye(3):
        along = axis * (axis @ unit)
        columns.append(
            along + np.cos(angle) * (unit - along) + np.sin(angle) * np.cross(axis, unit)
        )
    return np.stack(columns, axis=1)


def mano(model, betas, pose, global_orient=(0, 0, 0), translation=(0, 0, 0)):
    """Vertices [v 3] and joints [21 3] of one hand, joint by joint and vertex by vertex."""
    shaped = np.array(model.v_template, np.float64)
    for k, beta in enumerate(betas):
        shaped += beta * model.shapedirs[:, :, k]
    joints = [
        sum(model.J_regressor[j, v] * shaped[v] for v in range(len(shaped))) for j in range(16)
    ]
    rotations = [rodrigues(global_orient)]
    rotations += [rodrigues(pose[3 * j : 3 * j + 3]) for j in range(15)]
    feature = np.concatenate([(R - np.eye(3)).ravel() for R in rotations[1:]])
    posed = shaped + model.posedirs @ feature
    turns, places = [], []
    for j, parent in enumerate(model.parents):
        if parent < 0:
            turns.append(rotations[j])
            places.append(joints[j])
        else:
            turns.append(turns[parent] @ rotations[j])
            places.append(turns[parent] @ (joints[j] - joints[parent]) + places[parent])
    vertices = np.zeros_like(posed)
    for v in range(len(posed)):
        for j in range(16):
            moved = turns[j] @ (posed[v] - joints[j]) + places[j]
            vertices[v] += model.lbs_weights[v, j] * moved
    everything = np.concatenate([places, vertices[list(model.tip_vertices)]])
    return vertices + translation, everything + translation


def random_mano(seed=0, num_vertices=778, num_shapes=10):
    """A model of MANO's sizes: joints within 100 mm, corrections of a few millimetres."""
    rng = np.random.default_rng(seed)
    tips = MANO_TIPS if num_vertices == 778 else tuple(range(num_vertices - 5, num_vertices))
    regressor = rng.dirichlet(np.full(num_vertices, 0.05), 16)
    regressor[regressor < 1e-3] = 0  # sparse, as MANO's
    weights = rng.dirichlet(np.full(16, 0.1), num_vertices)
    return ManoModel(
        v_template=rng.uniform(-90, 90, (num_vertices, 3)),
        shapedirs=rng.normal(scale=2, size=(num_vertices, 3, num_shapes)),
        posedirs=rng.normal(scale=0.5, size=(num_vertices, 3, 135)),
        J_regressor=regressor / regressor.sum(axis=1, keepdims=True),
        lbs_weights=weights / weights.sum(axis=1, keepdims=True),
        parents=PARENTS,
        faces=rng.integers(0, num_vertices, (1538 * num_vertices // 778, 3)).astype(np.int32),
        hands_components=np.linalg.qr(rng.normal(size=(45, 45)))[0],
        hands_mean=rng.normal(scale=0.3, size=45),
        tip_vertices=tips,
    )


class Instance:
    """An object to be pickled: its class, as module and name, and its state."""

    def __init__(self, module, name, state):
        self.module, self.name, self.state = module, name, state


def official_entries(model):
    """A model as MANO's own files hold it: metres, chumpy, no fingertips."""
    ch = {"_dirty_vars": Instance("__builtin__", "set", ["x"]), "_itr": None}
    tensor = np.ascontiguousarray(model.shapedirs / 1000)
    wide = np.concatenate([tensor, np.zeros_like(tensor)], axis=2)
    chosen = np.arange(wide.size).reshape(wide.shape)[:, :, : tensor.shape[2]].ravel()
    source = Instance("chumpy.ch", "Ch", ch | {"x": wide})
    shape = {"a": source, "idxs": chosen, "preferred_shape": tensor.shape}
    columns = [np.flatnonzero(column) for column in model.J_regressor.T]
    indptr = np.cumsum([0, *map(len, columns)]).astype(np.int32)
    sparse = {
        "data": np.concatenate(
            [model.J_regressor[rows, v] for v, rows in enumerate(columns)]
        ),
        "indices": np.concatenate(columns).astype(np.int32),
        "indptr": indptr,
        "_shape": model.J_regressor.shape,
        "maxprint": 50,
        "format": "csc",
    }  # fmt: skip
    parents = [2**32 - 1, *model.parents[1:]]
    return {
        "hands_coeffs": np.zeros((3, 45)),
        "J_regressor": Instance("scipy.sparse.csc", "csc_matrix", sparse),
        "f": model.faces.astype(np.uint32),
        "kintree_table": np.array([parents, range(16)], np.uint32),
        "v_template": model.v_template / 1000,
        "weights": model.lbs_weights,
        "posedirs": Instance(
            "chumpy.ch", "Ch", ch | {"x": np.asfortranarray(model.posedirs / 1000)}
        ),
        "shapedirs": Instance("chumpy.reordering", "Select", ch | shape),
        "hands_components": model.hands_components,
        "hands_mean": model.hands_mean,
        "bs_type": "lrotmin",
        "bs_style": "lbs",
    }


def python2_pickle(value, protocol=2):
    """Pickles as Python 2 did: text is byte strings, sets and instances are its modules' calls."""
    header = b"\x80\x02" if protocol == 2 else b""
    return header + _spell(value, protocol) + b"."


def _spell(value, protocol):
    def spell(part):
        return _spell(part, protocol)

    def call(module, name, *args):
        return _global(module, name) + spell(args) + b"R"

    if isinstance(value, dict):
        entries = b"".join(spell(key) + spell(entry) + b"s" for key, entry in value.items())
        return (b"(d" if protocol == 0 else b"}") + entries
    if isinstance(value, list):
        return (b"(l" if protocol == 0 else b"]") + b"".join(spell(part) + b"a" for part in value)
    if isinstance(value, tuple):
        return b"(" + b"".join(map(spell, value)) + b"t"
    if value is None:
        return b"N"
    if isinstance(value, (int, np.integer)):
        return f"I{value}\n".encode() if protocol == 0 else b"J" + struct.pack("<i", value)
    if isinstance(value, bytes):
        return _byte_string(value, protocol)
    if isinstance(value, str):
        return _byte_string(value.encode("latin1"), protocol)
    if isinstance(value, np.ndarray):
        fortran = not value.flags.c_contiguous
        dtype = call("numpy", "dtype", value.dtype.str[1:], 0, 1)
        dtype += spell((3, "<", None, None, None, -1, -1, 0)) + b"b"
        data = value.tobytes("F" if fortran else "C")
        made = (
            _global("numpy.core.multiarray", "_reconstruct")
            + b"(" + _global("numpy", "ndarray") + spell((0,)) + spell(b"b") + b"tR"
        )  # fmt: skip
        state = b"(" + spell(1) + spell(value.shape) + dtype + spell(int(fortran)) + spell(data)
        return made + state + b"tb"
    if value.name == "set":
        return call("__builtin__", "set", value.state)
    if protocol == 2:
        made = _global(value.module, value.name) + b")\x81"
    else:
        made = (
            _global("copy_reg", "_reconstructor") + b"(" + _global(value.module, value.name)
            + _global("__builtin__", "object") + b"NtR"
        )  # fmt: skip
    return made + spell(value.state) + b"b"


def _global(module, name):
    return f"c{module}\n{name}\n".encode()


def _byte_string(data, protocol):
    if protocol == 0:
        return b"S" + repr(data)[1:].encode() + b"\n"
    return b"T" + struct.pack("<i", len(data)) + data
