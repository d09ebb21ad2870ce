"""The model of a config: what its files must be."""

import dataclasses
from types import SimpleNamespace

import pytest

from configs import demo_linear
from dhm.errors import BadInputError
from dhm.formats.mano_pickle import write_mano
from dhm.runs.model import make_model
from tests.references.mano import random_mano


def test_a_left_hands_linear_model_is_refused(tmp_path):
    """Records are right hands, left ones mirrored: the decoder has to be a right hand's."""
    config = demo_linear.get_config()
    config.mano.path = str(tmp_path / "MANO_LEFT.pkl")
    write_mano(tmp_path / "MANO_LEFT.pkl", dataclasses.replace(random_mano(0, 40, 2), side=None))
    with pytest.raises(BadInputError, match=r"MANO_LEFT\.pkl: found the model of a left hand"):
        make_model(config, SimpleNamespace(template=None), None)
