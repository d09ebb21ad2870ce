"""A copy of the toy capture to make mistakes in, and its preparation."""

import logging
import shutil

import pytest

from data_prep.prepare import main


@pytest.fixture
def capture(toy_prepared, tmp_path):
    """A copy of the toy capture, subject 1."""
    return shutil.copytree(toy_prepared.parent / "capture", tmp_path / "capture")


@pytest.fixture
def prepared(capture, capsys, caplog):
    """A function that prepares the capture: its exit code, what it said, and its folder."""
    caplog.set_level(logging.INFO)

    def run(*flags):
        out = capture.parent / "out"
        own = ["--capture", capture, "--subject", 1, "--out", out, "--image-size", 32]
        code = main([*map(str, own), "--test-sequences", "spread", *flags])
        return code, capsys.readouterr().err, out

    return run
