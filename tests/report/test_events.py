import math

import numpy as np
import pytest
from tensorboardX import SummaryWriter

from dhm.report.events import read_events
from tests.references.tensorboard import read_scalars

STEPS = 12


@pytest.fixture
def folder(tmp_path):
    """Event files of one start: 12 steps of two tags."""
    _write(tmp_path, range(1, STEPS + 1))
    return tmp_path


def _write(folder, steps, offset=0.0):
    with SummaryWriter(str(folder)) as writer:
        for step in steps:
            writer.add_scalar("train/total", offset + 1 / step, step, walltime=1000 + step)
            writer.add_scalar("train/P_err", offset + step, step, walltime=1000 + step)


def _file(folder):
    (path,) = folder.glob("events*")
    return path


def _records(data):
    """Where each record of a file begins."""
    at, starts = 0, []
    while at < len(data):
        starts.append(at)
        at += 16 + int.from_bytes(data[at : at + 8], "little")
    return starts


def test_all_scalars_are_read_with_their_times(folder):
    events = read_events(folder)
    expected = read_scalars(_file(folder))
    assert list(events.scalars) == ["train/total", "train/P_err"]
    for tag, values in expected.items():
        series = events.scalars[tag]
        assert dict(zip(series.steps.tolist(), series.values.tolist(), strict=True)) == values
    assert (events.began, events.ended, events.remarks) == (1001, 1000 + STEPS, ())


def test_a_later_start_counts_where_two_speak_of_a_step(folder):
    _file(folder).rename(folder / "events.out.tfevents.1000.a")
    _write(folder, range(9, 15), offset=100)
    series = read_events(folder).scalars["train/P_err"]
    np.testing.assert_array_equal(series.steps, range(1, 15))
    np.testing.assert_array_equal(series.values, [*range(1, 9), *range(109, 115)])


def test_values_that_are_not_finite_are_kept(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step, value in enumerate((math.nan, 1.0, math.inf)):
            writer.add_scalar("a", value, step)
    np.testing.assert_array_equal(read_events(tmp_path).scalars["a"].values, [np.nan, 1, np.inf])


def test_a_missing_or_empty_folder_has_no_scalars(tmp_path):
    (tmp_path / "events.out.tfevents.1.a").touch()
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert read_events(folder) == ({}, None, None, ())


def test_a_file_cut_anywhere_gives_its_whole_records(folder):
    path = _file(folder)
    data = path.read_bytes()
    starts = _records(data)
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        events = read_events(folder)
        whole = sum(start <= cut for start in [*starts[1:], len(data)]) - 1  # the first: a version
        assert sum(len(series.steps) for series in events.scalars.values()) == max(whole, 0)
        assert len(events.remarks) == (cut not in (0, *starts)), cut
        assert all("breaks off" in remark for remark in events.remarks)


def test_damaged_bytes_never_become_values(folder):
    path = _file(folder)
    data = path.read_bytes()
    expected = read_events(folder).scalars
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        events = read_events(folder)
        assert events.remarks, at
        for tag, series in events.scalars.items():
            before = dict(zip(*map(np.ndarray.tolist, expected[tag]), strict=True))
            after = dict(zip(*map(np.ndarray.tolist, series), strict=True))
            assert after.items() <= before.items()


def test_only_a_damaged_record_is_left_out_and_said(folder):
    path = _file(folder)
    data = bytearray(path.read_bytes())
    data[_records(data)[5] + 20] ^= 1
    path.write_bytes(data)
    events = read_events(folder)
    assert sum(len(series.steps) for series in events.scalars.values()) == 2 * STEPS - 1
    assert events.remarks == (f"{path.name} has 1 damaged record, which is left out.",)


def test_a_length_of_exabytes_is_no_reason_to_read_on(folder):
    from tensorboardX.record_writer import masked_crc32c

    path = _file(folder)
    length = (1 << 62).to_bytes(8, "little")
    path.write_bytes(
        path.read_bytes() + length + masked_crc32c(length).to_bytes(4, "little") + b"x"
    )
    events = read_events(folder)
    assert len(events.scalars["train/P_err"].steps) == STEPS
    assert "breaks off" in events.remarks[0]
