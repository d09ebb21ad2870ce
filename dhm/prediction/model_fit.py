"""The evidence fit with a trained model: its rig, its skin with correctives, its spheres."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dhm.errors import BadInputError
from dhm.fitting.evidence import Evidence
from dhm.fitting.evidence_fit import DEFAULTS, FitSettings, FittedHand, fit_evidence, fit_sequence
from dhm.fitting.penetration import BoneSpheres, bone_spheres
from dhm.fitting.rig import HandPose, Rig, make_rig
from dhm.fitting.surface import HandSurface, spread_sample, vertex_normals
from dhm.geometry.topology import boundary_loops
from dhm.networks.hand_model import HandModel, inverse_bind_pose

# Points of the skin that are matched with what was seen: one every 5 mm or so.
_NUM_SAMPLES = 1200


class ModelParts(NamedTuple):
    """What the fit needs of a model.

    Attributes:
        rig: Its refined skeleton.
        surface: A sample of its skin.
        spheres: Along its bones.
    """

    rig: Rig
    surface: HandSurface
    spheres: BoneSpheres


def model_parts(
    model: HandModel, variables: dict[str, Any], num_samples: int = _NUM_SAMPLES
) -> ModelParts:
    """Rig, skin and spheres of a trained model.

    Raises:
        BadInputError: If its decoder is another than the hand model's.
    """
    if not isinstance(model, HandModel):
        found = f"a {type(model).__name__}"
        raise BadInputError("the exported model", found, "a hand model, which has the 28 angles")
    template = model.template
    zero = model.apply(variables, jnp.zeros((1, model.encoder.num_dofs)), method="decode")
    v_zero = np.asarray(zero.v_zero[0])
    sample = spread_sample(v_zero, num_samples)
    border = np.concatenate([*boundary_loops(template.faces), np.zeros(0, int)])

    def refine(theta):
        return model.apply(variables, theta[None], method="refined_mesh")[0, sample]

    surface = HandSurface(
        lbs_weights=jnp.asarray(template.lbs_weights[sample], jnp.float32),
        T_joint_model=jnp.asarray(inverse_bind_pose(template), jnp.float32),
        normals=jnp.asarray(vertex_normals(v_zero, template.faces)[sample], jnp.float32),
        inner=~np.isin(sample, border),
        refine=refine,
    )
    rig = make_rig(
        model.apply(variables, method="skeleton"), template.parents, template.joint_names
    )
    spheres = bone_spheres(template, zero.joints_zero[0], zero.v_zero[0])
    return ModelParts(rig, surface, spheres)


def compiled_fit(parts: ModelParts, settings: FitSettings = DEFAULTS, sequence: bool = False):
    """`fit_evidence` or `fit_sequence` with a model, under jit: (evidence, starts) -> FittedHand."""
    fit = fit_sequence if sequence else fit_evidence
    return jax.jit(
        partial(fit, parts.rig, settings=settings, surface=parts.surface, spheres=parts.spheres)
    )
