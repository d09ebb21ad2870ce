"""Settings of the studio that cannot be filmed."""

import dataclasses

import pytest

from data_prep.studio.stage.capture import film_subjects, write_capture
from dhm.errors import BadInputError
from tests.data_prep.studio.conftest import SMALL


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("subject", 5, "1 to 4"),
        ("frames", 39, "40 to 100000"),
        ("test_frames", 14, "15 to 100000"),
        ("frame_step", 0, "1 to 30"),
        ("cameras", 0, "1 to 400"),
        ("pictures", 4, "1 to 3"),
        ("depth_shrink", 3, "1 to 2"),
        ("resolution_mm", float("nan"), "0.5 to 4.0"),
        ("depth_noise_mm", -1.0, "0.0 to 100.0"),
        ("joint_noise_mm", float("inf"), "0.0 to 100.0"),
        ("depth_maps", "some", "one of"),
        ("scans", "none", "one of"),
        ("template", "tiny", "one of"),
        ("seed", -1, "0 to"),
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_written(
    tmp_path, field, value, expected
):
    with pytest.raises(BadInputError, match=rf"studio\.{field}: found .*, expected {expected}"):
        write_capture(dataclasses.replace(SMALL, **{field: value}), tmp_path / "capture")
    assert not any(tmp_path.iterdir())
    with pytest.raises(BadInputError, match="workers: found 0"):
        write_capture(SMALL, tmp_path / "capture", workers=0)


@pytest.mark.parametrize("subjects", [(), (2, 2)])
def test_no_subject_and_repeated_subjects_are_refused(tmp_path, subjects):
    with pytest.raises(BadInputError, match=r"studio\.subjects: found"):
        film_subjects(SMALL, subjects, tmp_path)
    assert not any(tmp_path.iterdir())
