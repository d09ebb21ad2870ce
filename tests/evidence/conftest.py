"""The exported model of the tests of photographs serves the fits, too."""

from tests.photos.conftest import predictor, workdir

__all__ = ["predictor", "workdir"]
