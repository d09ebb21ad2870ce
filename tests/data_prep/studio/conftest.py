"""A small capture of the studio that several tests read; they must not change it."""

from pathlib import Path

import pytest

from data_prep.studio.stage.capture import write_capture
from data_prep.studio.stage.settings import StudioSettings

SMALL = StudioSettings(
    subject=2,
    frames=40,
    test_frames=15,
    cameras=3,
    pictures=2,
    resolution_mm=4.0,
    template="coarse",
    seed=3,
)


@pytest.fixture(scope="session")
def studio_capture(tmp_path_factory) -> Path:
    return write_capture(SMALL, tmp_path_factory.mktemp("studio") / "capture", workers=1)
