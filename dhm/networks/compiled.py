"""The encoder and decoder of a trained model, compiled for inference."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel

Encode = Callable[[UInt8[Array, "b s s 3"]], Float[Array, "b d"]]
Decode = Callable[[Float[Array, "b d"]], tuple[Float[Array, "b v 3"], Float[Array, "b j 3"]]]


def compiled(
    model: HandModel | LinearHandModel, variables: dict[str, Any]
) -> tuple[Encode, Decode]:
    """Returns the encoder and the decoder under jit, with the variables bound.

    The encoder maps RGB images to angles, the decoder angles to vertices and joints in mm. The
    zero-pose mesh, which only training needs, is not computed. The identity corrective does not
    depend on the pose, so it is added to the template once, here.
    """
    encode = jax.jit(lambda variables, image: model.apply(variables, image, method="encode"))
    folded = _with_identity(model, variables)
    decode = jax.jit(lambda variables, theta: folded.apply(variables, theta, method="decode")[:2])
    return partial(encode, variables), partial(decode, variables)


def _with_identity(
    model: HandModel | LinearHandModel, variables: dict[str, Any]
) -> HandModel | LinearHandModel:
    """Returns the same model with M + Delta M_beta as its template's mesh."""
    if not isinstance(model, HandModel) or "identity" not in model.correctives:
        return model
    change = model.apply(variables, method=lambda m: m.identity_corrective(m.identity_code.value))
    mesh = np.asarray(jnp.asarray(model.template.v_template, jnp.float32) + change)
    return model.clone(
        template=dataclasses.replace(model.template, v_template=mesh),
        correctives=tuple(name for name in model.correctives if name != "identity"),
    )
