"""The networks: image encoder, hand model with its correctives, and MANO."""

from dhm.networks import mano
from dhm.networks.build import ModelSettings, build_model
from dhm.networks.hand_model import HandModel

__all__ = ["HandModel", "ModelSettings", "build_model", "mano"]
