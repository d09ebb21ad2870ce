"""Mistakes in the depth maps of a capture in the released layout."""

import logging
import pickle
import re

import numpy as np
import pytest

from dhm.data.prepared_data import PreparedData
from dhm.formats.release_annotations import (
    read_depth_pickle,
    read_krt,
    write_depth_pickle,
)
from tests.data_prep.release_mistakes.changes import (
    Change,
    assert_refused,
    names,
)


def depth_maps(change) -> Change:
    def apply(capture):
        for path in capture.glob("annotations/depthmaps/*/*/*.pkl"):
            write_depth_pickle(path, change(read_depth_pickle(path)))

    return apply


def _of_the_next_camera(capture):
    for folder in capture.glob("annotations/depthmaps/*/*"):
        paths = sorted(folder.glob("*.pkl"))
        contents = [path.read_bytes() for path in paths]
        for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
            path.write_bytes(content)


def _pickled(change) -> Change:
    def apply(capture):
        for path in capture.glob("annotations/depthmaps/*/*/*.pkl"):
            path.write_bytes(pickle.dumps(change(read_depth_pickle(path)), 4))

    return apply


REFUSED_DEPTH = [
    pytest.param(
        depth_maps(lambda depth: depth / 1000),
        r"does not show the hand at its joints, first: .*found depths from 0\.[0-9]+ to .* in mm",
        marks=pytest.mark.mistake(
            "capture, depth maps", "metres instead of mm", "refused, with the depths"
        ),
    ),
    pytest.param(
        depth_maps(lambda depth: depth * 10),
        r"found depths from [0-9.e+]+ to .*in mm",
        marks=pytest.mark.mistake(
            "capture, depth maps", "tenths of mm", "refused, with the depths"
        ),
    ),
    pytest.param(
        _pickled(lambda depth: (depth / 4).astype(np.uint8)),
        "does not show the hand",
        marks=pytest.mark.mistake(
            "capture, depth maps", "8 bits instead of mm", "refused, with the depths"
        ),
    ),
    pytest.param(
        depth_maps(lambda depth: np.where(depth > 0, depth, 1200)),
        "depth map without background, first: .*depths on 100% of the hand's crop, expected 0",
        marks=pytest.mark.mistake("capture, depth maps", "a wall behind the hand", "refused"),
    ),
    pytest.param(
        _pickled(lambda depth: {"depth": depth}),
        "depth map that cannot be used, first: .*a pickled 2-D NumPy array of depths in mm",
        marks=pytest.mark.mistake("capture, depth maps", "a pickled dictionary", "refused"),
    ),
    pytest.param(
        depth_maps(lambda depth: np.ascontiguousarray(depth.T)),
        "depth map that cannot be used, first: .*334 rows and 512 columns",
        marks=pytest.mark.mistake("capture, depth maps", "rows and columns exchanged", "refused"),
    ),
    pytest.param(
        depth_maps(lambda depth: np.ascontiguousarray(depth[:, ::-1])),
        "does not show the hand",
        marks=pytest.mark.mistake(
            "capture, depth maps",
            "flipped left to right",
            "left out where half of the joints are not on the surface; refused where many are",
        ),
    ),
    pytest.param(
        _of_the_next_camera,
        "does not show the hand",
        marks=pytest.mark.mistake(
            "capture, depth maps", "names of other cameras", "left out, or refused, likewise"
        ),
    ),
]


@pytest.mark.parametrize(("change", "said"), REFUSED_DEPTH)
def test_wrong_depth_maps_are_refused(capture, prepared, change, said):
    change(capture)
    assert_refused(prepared(), said)


@pytest.mark.mistake(
    "capture, depth maps", "65535 as background", "understood: too far to be the hand"
)
def test_65535_is_background(toy_prepared, capture, prepared):
    _pickled(lambda depth: np.where(depth > 0, depth, 65535).astype(np.uint16))(capture)
    code, _, out = prepared()
    found, expected = (
        PreparedData(out).depth("train", 0),
        PreparedData(toy_prepared).depth("train", 0),
    )
    assert code == 0
    np.testing.assert_array_equal(found > 0, expected > 0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            names("annotations/depthmaps/*/*", lambda path: path.name[2:]),
            marks=pytest.mark.mistake(
                "capture, depth maps", "folders of four digits instead of six", "warning"
            ),
        ),
        pytest.param(
            names("annotations/depthmaps/*/*/*.pkl", lambda path: path.stem + ".npy"),
            marks=pytest.mark.mistake("capture, depth maps", "other files than .pkl", "warning"),
        ),
    ],
)
def test_depth_maps_that_are_not_found_are_said(capture, prepared, caplog, change):
    change(capture)
    assert prepared()[0] == 0
    assert re.search(r"no picture has a depth map: .*FRAME, six digits", caplog.text)


@pytest.mark.mistake("capture, depth maps", "-1 or infinity as background", "left out and counted")
@pytest.mark.parametrize("value", [-1, np.inf])
def test_impossible_backgrounds_are_left_out(capture, prepared, caplog, value):
    (path, *_) = sorted(capture.glob("annotations/depthmaps/*/*/*.pkl"))
    depth = read_depth_pickle(path)
    write_depth_pickle(path, np.where(depth > 0, depth, value))
    assert prepared()[0] == 0
    assert re.search("left out: 1 x depth map that cannot be used, first: .*negative", caplog.text)


@pytest.mark.mistake(
    "capture, depth maps", "0 everywhere", "left out and counted: records without depth"
)
def test_empty_depth_maps_are_counted(capture, prepared, caplog):
    depth_maps(np.zeros_like)(capture)
    assert prepared()[0] == 0
    assert re.search(r"train: of these without depth +6", caplog.text)


@pytest.mark.mistake(
    "capture, depth maps",
    "distances along the rays instead of z",
    "not noticed: 1 % more in the corners of the released pictures",
)
def test_distances_along_rays_are_taken_as_depths(capture, prepared, caplog):
    K = next(iter(read_krt(capture / "annotations" / "KRT_512").values())).K
    rows, columns = np.mgrid[:512, :334]
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(K).T
    depth_maps(lambda depth: depth * np.linalg.norm(rays, axis=-1))(capture)
    assert prepared()[0] == 0
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
