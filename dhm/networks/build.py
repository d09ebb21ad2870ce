"""A hand model from plain numbers, so that it can be rebuilt wherever they are stored."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from dhm.networks.encoder import ImageEncoder
from dhm.networks.hand_model import HandModel
from dhm.types import HandTemplate


class ModelSettings(NamedTuple):
    """The sizes of the networks; see `ImageEncoder` and `HandModel`."""

    depth: int = 50
    width: int = 64
    head_hidden: tuple[int, ...] = (512,)
    imagenet_normalisation: bool = False
    identity_size: int = 32
    skeleton_hidden: int = 256
    skin_hidden: int = 256
    pose_corrective_input: str = "enabled"


def build_model(
    template: HandTemplate,
    settings: ModelSettings,
    axis_name: str | None = None,
    encoder_dtype: Any = jnp.float32,
) -> HandModel:
    """The hand model of a template.

    Args:
        template: The artist's hand.
        settings: Sizes of the networks.
        axis_name: pmap axis over which training averages BatchNorm, None elsewhere.
        encoder_dtype: Of the ResNet's activations.
    """
    encoder = ImageEncoder(
        depth=settings.depth,
        width=settings.width,
        hidden=tuple(settings.head_hidden),
        imagenet_normalisation=settings.imagenet_normalisation,
        axis_name=axis_name,
        dtype=encoder_dtype,
    )
    return HandModel(
        template=template,
        encoder=encoder,
        identity_size=settings.identity_size,
        skeleton_hidden=settings.skeleton_hidden,
        skin_hidden=settings.skin_hidden,
        pose_corrective_input=settings.pose_corrective_input,
    )
