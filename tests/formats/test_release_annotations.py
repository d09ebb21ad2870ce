"""The released capture's annotation files: cameras, keypoints and depth maps.

Of the depth maps, which are pickles: what loads, what is refused, and that nothing runs.
"""

import io
import os
import pickle
import pickletools
import struct

import cv2
import numpy as np
import pytest

from dhm.errors import BadInputError
from dhm.formats.release_annotations import (
    KEYPOINT_NAMES,
    Keypoints,
    KrtCamera,
    largest_shift_px,
    read_depth_pickle,
    read_keypoints,
    read_krt,
    write_depth_pickle,
    write_keypoints,
    write_krt,
)

KRT = """400002
1180.0 0.5 166.8
0.0 1184.7 263.1
0.0 0.0 1.0
0.01 -0.004 0.0001 0.0002 0.0
0 -1 0 10.5
1 0 0 -20.25
0 0 1 900

410001
1000 0 160
0 1000 250
0 0 1
0 0 0 0 0
1 0 0 0
0 1 0 0
0 0 1 800

"""


@pytest.fixture
def krt(tmp_path):
    path = tmp_path / "KRT_512"
    path.write_text(KRT)
    return path


def test_cameras_are_read_by_name(krt):
    cameras = read_krt(krt)
    assert list(cameras) == ["400002", "410001"]
    camera = cameras["400002"]
    np.testing.assert_array_equal(camera.K, [[1180, 0.5, 166.8], [0, 1184.7, 263.1], [0, 0, 1]])
    np.testing.assert_array_equal(camera.distortion, [0.01, -0.004, 0.0001, 0.0002, 0])
    np.testing.assert_array_equal(
        camera.T_camera_world, [[0, -1, 0, 10.5], [1, 0, 0, -20.25], [0, 0, 1, 900], [0, 0, 0, 1]]
    )


def test_written_cameras_are_read_back(krt, tmp_path):
    cameras = read_krt(krt)
    write_krt(tmp_path / "again", cameras)
    again = read_krt(tmp_path / "again")
    assert list(again) == list(cameras)
    for name, camera in cameras.items():
        for found, expected in zip(again[name], camera, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_foreign_capture_has_ten_cameras(release_mini):
    cameras = read_krt(release_mini / "annotations" / "KRT_512")
    assert len(cameras) == 10
    assert sum(name.startswith("40") for name in cameras) == 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0 -1 0 10.5", "0 -1.01 0 10.5", r"KRT_512:6: found an R of camera 400002 with .R R.T"),
        ("0 -1 0 10.5", "0 1 0 10.5", r"KRT_512:6: .*det -1.*expected a rotation"),
        ("0 -1 0 10.5", "0 0 0 10.5", "expected a rotation"),
        ("0 -1 0 10.5", "0 -1 nan 10.5", r"KRT_512:6: found 'nan', expected a finite number"),
        ("0 -1 0 10.5", "0 -1 0", r"KRT_512:6: found 3 values, expected 4 numbers of camera"),
        ("0.0 0.0 1.0", "0.0 0.0 2.0", r"KRT_512:2: found K = .* of camera 400002"),
        ("0.0 1184.7 263.1", "3.0 1184.7 263.1", "an upper triangular K"),
        ("1180.0", "-1180.0", "positive focal lengths"),
        ("410001", "400002", r"KRT_512:10: found camera 400002 a second time"),
        ("400002\n", "400002 \n5\n", r"KRT_512:2: found 1 values, expected 3 numbers"),
        ("400002", "400002 x", r"KRT_512:1: found 2 values, expected a camera's name"),
        (
            "0 0 1 800\n",
            "",
            r"KRT_512:16: found the end of the file after 7 lines of camera 410001",
        ),
    ],
)
def test_bad_cameras_are_refused(krt, old, new, message):
    krt.write_text(KRT.replace(old, new, 1))
    with pytest.raises(BadInputError, match=message):
        read_krt(krt)


DAMAGED = {
    "no number": ("1180.0 0.5", "1180.0 x"),
    "NaN": ("0 -1 0 10.5", "0 -1 nan 10.5"),
    "no rotation": ("0 -1 0 10.5", "0 -1.01 0 10.5"),
    "mirrored": ("0 -1 0 10.5", "0 1 0 10.5"),
    "no K": ("0.0 0.0 1.0", "0.0 0.0 2.0"),
    "bad lens": ("0.01 -0.004", "inf -0.004"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_camera_is_told_and_the_others_are_read(krt, case):
    old, new = DAMAGED[case]
    assert old in KRT
    krt.write_text(KRT.replace(old, new, 1))
    damaged = {}
    assert list(read_krt(krt, damaged)) == ["410001"]
    assert list(damaged) == ["400002"] and damaged["400002"].where == str(krt)
    assert damaged["400002"].line in range(2, 9)


def test_cameras_of_one_name_are_both_damaged(krt):
    other = KRT.replace("400002", "400003")
    krt.write_text(KRT + other)
    damaged = {}
    assert list(read_krt(krt, damaged)) == ["400002", "400003"]
    assert "KRT_512:28: found camera 410001 a second time" in str(damaged["410001"])
    krt.write_text(KRT + other + KRT)
    assert list(read_krt(krt, damaged)) == ["400003"] and set(damaged) == {"400002", "410001"}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("0.0 0.0 1.0\n", "", 4),
        ("0 -1 0 10.5", "0 -1 0", 6),
        ("400002", "400002 x", 1),
        ("0 0 1 800\n", "", 16),
    ],
)
def test_lines_that_form_no_cameras_are_refused_as_a_whole(krt, old, new, line):
    krt.write_text(KRT.replace(old, new, 1))
    with pytest.raises(BadInputError, match=rf"KRT_512:{line}: .*8 lines: name, K \(3\)"):
        read_krt(krt, {})


def test_a_file_without_cameras_is_refused(krt):
    krt.write_text("\n")
    with pytest.raises(BadInputError, match="found no camera"):
        read_krt(krt)


def test_cameras_far_from_the_origin_are_read_back(tmp_path):
    rng = np.random.default_rng(0)
    cameras = {}
    for index in range(10):
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = rotation * np.linalg.det(rotation), rng.normal(size=3) * 1e4
        cameras[f"cam{index}"] = KrtCamera(np.diag([1200.0, 1200.0, 1.0]), np.zeros(5), T)
    write_krt(tmp_path / "KRT", cameras)
    again = read_krt(tmp_path / "KRT")
    for name, camera in cameras.items():
        np.testing.assert_allclose(again[name].T_camera_world, camera.T_camera_world, atol=1e-6)


def test_keypoint_names_are_in_the_released_order():
    assert len(KEYPOINT_NAMES) == len(set(KEYPOINT_NAMES)) == 42
    assert KEYPOINT_NAMES[:5] == (
        "b_r_thumb_null", "b_r_thumb3", "b_r_thumb2", "b_r_thumb1", "b_r_index_null",
    )  # fmt: skip
    assert KEYPOINT_NAMES[20] == "b_r_wrist"
    assert KEYPOINT_NAMES[21] == "b_l_thumb_null"


def test_absent_keypoints_are_invalid(tmp_path):
    path = tmp_path / "keypoints0001.pts"
    path.write_text("20 1.5 -2 3e2 7.25 8\n3 4 5 6 1 2\n")
    keypoints = read_keypoints(path)
    assert np.flatnonzero(keypoints.valid).tolist() == [3, 20]
    np.testing.assert_array_equal(keypoints.points[20], [1.5, -2, 300])
    assert (keypoints.score[20], keypoints.num_views[20]) == (7.25, 8)
    assert not keypoints.points[~keypoints.valid].any()


@pytest.mark.mistake(
    "capture, keypoints",
    "NaN, or a score of 0, for joints that were not found",
    "understood: not measured",
)
def test_keypoints_that_no_view_measured_are_invalid(tmp_path):
    path = tmp_path / "keypoints0001.pts"
    rows = ["0 0 0 0 0 0", "1 5 6 7 3.5 0", "2 5 6 7 0 3", "3 nan NaN 7 3.5 3", "4 5 6 7 nan 3",
            "5 5 6 7 0.5 1"]  # fmt: skip
    path.write_text("\n".join(rows))
    keypoints = read_keypoints(path)
    assert np.flatnonzero(keypoints.valid).tolist() == [5]
    assert not keypoints.points[:5].any()


@pytest.mark.mistake(
    "capture, keypoints",
    "0 0 0 for joints that were not found",
    "understood: not measured, where there are several",
)
def test_several_joints_at_the_origin_are_invalid(tmp_path):
    path = tmp_path / "keypoints0001.pts"
    path.write_text("0 0 0 0 1 8\n1 5 6 7 1 8\n2 0.0 0 -0 1 8\n")
    assert np.flatnonzero(read_keypoints(path).valid).tolist() == [1]
    path.write_text("1 5 6 7 1 8\n20 0 0 0 1 8\n")  # joints about the wrist
    assert np.flatnonzero(read_keypoints(path).valid).tolist() == [1, 20]


def test_written_keypoints_are_read_back(tmp_path):
    rng = np.random.default_rng(0)
    valid = rng.random(42) < 0.7
    points = rng.normal(size=(42, 3)) * 1000 * valid[:, None]
    score, views = rng.random(42) * valid, rng.integers(2, 9, 42) * valid
    write_keypoints(tmp_path / "k.pts", Keypoints(points, valid, score, views.astype(float)))
    again = read_keypoints(tmp_path / "k.pts")
    np.testing.assert_array_equal(again.valid, valid)
    np.testing.assert_allclose(again.points, points, atol=1e-6)
    np.testing.assert_array_equal(again.num_views, views)


def test_the_foreign_capture_lacks_three_keypoints(release_mini):
    folder = release_mini / "annotations" / "keypoints" / "subject_4"
    right = read_keypoints(folder / "keypoints1210.pts").valid[:21]
    assert len(right) - right.sum() == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no keypoint"),
        ("0 1 2 3 4\n", r"k.pts:1: found 4 values, expected 5 numbers of a keypoint"),
        ("0 1 2 3 4 5 6\n", "found 6 values, expected 5"),
        ("0 1 2 3 4 5\n0 1 2 3 4 5\n", r"k.pts:2: found keypoint 0 a second time"),
        ("42 1 2 3 4 5\n", "found keypoint 42, expected an index from 0 to 41"),
        ("-1 1 2 3 4 5\n", "found keypoint -1"),
        ("0 1 2 inf 4 5\n", "found 'inf', expected a finite number"),
        ("0 1 2 x 4 5\n", "found 'x', expected a number"),
        ("wrist 1 2 3 4 5\n", "found 'wrist', expected an integer"),
    ],
)
def test_bad_keypoints_are_refused(tmp_path, text, message):
    path = tmp_path / "k.pts"
    path.write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_keypoints(path)


DEPTH = np.array([[0.0, 950.5, 1023.25], [0.0, 0.0, 7.0]])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "depthmap400002.pkl"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<u2", "<i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickled_arrays_of_every_protocol_load(path, protocol, dtype, order):
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


def test_written_depth_maps_are_read_back_and_are_plain_pickles(path):
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
def test_nothing_in_a_pickle_runs(path, tmp_path, protocol):
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
        ("dhm.formats.release_annotations", "read_depth_pickle"),
    ],
)
def test_other_globals_are_refused_by_name(path, module, name, monkeypatch):
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
def test_pickles_of_anything_but_a_depth_map_are_refused(path, case):
    path.write_bytes(hostile_states()[case])
    with pytest.raises(BadInputError, match=r"expected a pickled 2-D NumPy array of depths"):
        read_depth_pickle(path)


def test_a_hostile_file_does_not_affect_the_next_read(path):
    poison = b"cnumpy\ndtype\n(N(dS'args'\nS'poison'\nstb."
    path.write_bytes(poison)
    with pytest.raises(BadInputError):
        read_depth_pickle(path)
    write_depth_pickle(path, DEPTH)
    np.testing.assert_array_equal(read_depth_pickle(path), DEPTH)


@pytest.mark.mistake("capture, depth maps", "NaN as background", "understood: not measured")
def test_nan_in_a_depth_map_is_background(path):
    depth = DEPTH.copy()
    depth[1, 1] = np.nan
    path.write_bytes(pickle.dumps(depth))
    expected = DEPTH.copy()
    expected[1, 1] = 0
    np.testing.assert_array_equal(read_depth_pickle(path), expected)


@pytest.mark.parametrize("value", [-1.0, np.inf, 1e300])
def test_impossible_depths_are_refused(path, value):
    depth = DEPTH.copy()
    depth[1, 1] = value
    path.write_bytes(pickle.dumps(depth))
    with pytest.raises(BadInputError, match="a depth that is negative or infinite"):
        read_depth_pickle(path)


def test_every_truncation_is_refused(path):
    data = pickle.dumps(DEPTH.astype("f4"), protocol=4)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(BadInputError):
            read_depth_pickle(path)


def test_a_pickle_frame_that_ends_within_a_length_is_refused(path):
    """Python's own reader says MemoryError to some of these."""
    data = pickle.dumps(DEPTH.astype("f4"), protocol=5)
    frame = data.index(b"\x95") + 1
    bytes_at = data.index(b"\x96" + struct.pack("<Q", 24))
    for inside in range(10):
        length = bytes_at - frame - 8 + inside
        path.write_bytes(data[:frame] + struct.pack("<Q", length) + data[frame + 8 : -20])
        with pytest.raises(BadInputError):
            read_depth_pickle(path)


def test_numpy_pickles_of_this_version_use_admitted_opcodes_only(path):
    # A guard for new NumPy or Python versions: a new opcode would show here, with its name.
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        buffer = io.BytesIO(pickle.dumps(DEPTH, protocol=protocol))
        path.write_bytes(buffer.getvalue())
        assert read_depth_pickle(path).shape == DEPTH.shape, [
            opcode.name for opcode, _, _ in pickletools.genops(buffer.getvalue())
        ]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_text_of_every_system_and_encoding_is_the_same(tmp_path, newline, encoding):
    """A byte-order mark would otherwise be a part of the first camera's name."""
    path = tmp_path / "file"
    cameras = {name: KrtCamera(np.eye(3), np.zeros(5), np.eye(4)) for name in ("1", "2")}
    keypoints = Keypoints(np.ones((42, 3)), np.ones(42, bool), np.ones(42), np.full(42, 8.0))
    for content, write, read in (
        (cameras, write_krt, read_krt), (keypoints, write_keypoints, read_keypoints),
    ):  # fmt: skip
        write(path, content)
        before = read(path)
        text = path.read_text() + "# für Jürgen\n"
        path.write_bytes(text.replace("\n", newline).encode(encoding))
        np.testing.assert_equal(read(path), before)


@pytest.mark.parametrize("count", [4, 5, 8])
def test_the_largest_shift_of_a_lens_is_opencvs(count):
    K = np.array([[1200.0, 2, 160], [0, 1210, 250], [0, 0, 1]])
    lens = np.array([-0.31, 0.12, 0.001, -0.0005, -0.02, 0.1, 0.03, -0.01])[:count]
    corners = np.array([[0.0, 0], [333, 0], [0, 511], [333, 511]])
    rays = np.column_stack([corners, np.ones(4)]) @ np.linalg.inv(K).T
    straight = K.copy()
    straight[0, 1] = 0  # OpenCV knows no skew
    seen = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), straight, lens)[0][:, 0]
    flat = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), straight, np.zeros(5))[0][:, 0]
    most = np.linalg.norm(seen - flat, axis=1).max()
    camera = KrtCamera(K, lens, np.eye(4))
    assert largest_shift_px(camera, (512, 334)) == pytest.approx(most, rel=0.01)


def test_no_lens_moves_nothing_and_of_unknown_ones_nothing_is_said():
    camera = KrtCamera(np.diag([1200.0, 1200, 1]), np.zeros(5), np.eye(4))
    assert largest_shift_px(camera, (512, 334)) == 0
    assert largest_shift_px(camera._replace(distortion=np.zeros(0)), (512, 334)) == 0
    assert largest_shift_px(camera._replace(distortion=np.ones(12)), (512, 334)) is None
