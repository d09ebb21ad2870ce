"""A tiny exported model, as a run leaves it."""

from pathlib import Path

import pytest

from dhm.export.package import save_model


@pytest.fixture(scope="session")
def workdir(toy_model, tmp_path_factory) -> Path:
    """Folder of a run with an export; not to be changed."""
    settings, model, variables = toy_model
    folder = tmp_path_factory.mktemp("run")
    config = {"data": {"image_size": 32}}
    save_model(folder / "export", variables, model.template, settings, config)
    return folder


@pytest.fixture(scope="session")
def predictor(workdir):
    """The exported model, compiled."""
    from dhm.photos.predictor import Predictor

    return Predictor(workdir / "export")
