"""Builds hand models from plain numbers, which runs and exports store."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from dhm.networks.encoder import ImageEncoder
from dhm.networks.hand_model import CORRECTIVES, HandModel
from dhm.networks.linear_hand_model import NUM_ANGLES, LinearHandModel, linear_template
from dhm.types import HandTemplate, ManoModel


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
    correctives: tuple[str, ...] = CORRECTIVES
    stop_pose_gradient: bool = True


DECODER_SETTINGS = tuple(
    name for name in ModelSettings._fields if name in HandModel.__dataclass_fields__
)
"""The settings of the decoder; all others are the encoder's."""


def build_model(
    template: HandTemplate,
    settings: ModelSettings,
    axis_name: str | None = None,
    encoder_dtype: Any = jnp.float32,
) -> HandModel:
    """Builds the hand model of a template.

    Args:
        template: The artist's hand.
        settings: Sizes of the networks.
        axis_name: pmap axis over which training averages BatchNorm, None elsewhere.
        encoder_dtype: Of the ResNet's activations.
    """
    return HandModel(
        template=template,
        encoder=_encoder(settings, axis_name, encoder_dtype),
        **{name: getattr(settings, name) for name in DECODER_SETTINGS},
    )


def build_linear_model(
    linear: ManoModel,
    rig: HandTemplate,
    settings: ModelSettings,
    axis_name: str | None = None,
    encoder_dtype: Any = jnp.float32,
) -> LinearHandModel:
    """Builds the baseline with a linear model as decoder.

    Args:
        linear: MANO or a model of its form.
        rig: The data's template, for the names of its joints.
        settings: Sizes of the networks; the decoder has none but the identity code.
        axis_name: pmap axis over which training averages BatchNorm, None elsewhere.
        encoder_dtype: Of the ResNet's activations.
    """
    return LinearHandModel(
        template=linear_template(linear, rig),
        encoder=_encoder(settings, axis_name, encoder_dtype, NUM_ANGLES),
        linear=linear,
        identity_size=settings.identity_size,
    )


def _encoder(
    settings: ModelSettings,
    axis_name: str | None,
    dtype: Any,
    num_dofs: int = ImageEncoder.num_dofs,
) -> ImageEncoder:
    return ImageEncoder(
        num_dofs=num_dofs,
        depth=settings.depth,
        width=settings.width,
        hidden=tuple(settings.head_hidden),
        imagenet_normalisation=settings.imagenet_normalisation,
        axis_name=axis_name,
        dtype=dtype,
    )
