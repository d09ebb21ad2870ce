"""A small prepared folder that the tests of this room share; they must not change it."""

import pytest

from data_prep.prepare import PrepareOptions, prepare_views
from tests.data_prep import synthetic


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """15 training records of 24 x 24 pixels: five frames, three views each, one without depth."""
    root = tmp_path_factory.mktemp("prepared")
    capture = synthetic.write_capture(root / "capture")
    prepare_views(capture, root / "capture", root / "out", PrepareOptions(4, image_size=24))
    return root / "out"
