"""The evidence fit with a trained model: its rig, its skin with correctives, its spheres."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from dhm.errors import BadInputError
from dhm.evidence.batches import (
    mirrored,
    seeing_views,
    stack_evidence,
    stack_starts,
    start_kind,
)
from dhm.evidence.files import EvidenceFile, FrameEvidence
from dhm.export.hand_files import LEFT
from dhm.fitting.evidence import Evidence
from dhm.fitting.evidence_fit import DEFAULTS, FitSettings, FittedHand, fit_evidence
from dhm.fitting.joints import default_starts
from dhm.fitting.penetration import BoneSpheres, bone_spheres
from dhm.fitting.rig import HandPose, Rig, make_rig
from dhm.fitting.sequence_fit import fit_sequence
from dhm.fitting.starts import starts_in_one_view, starts_in_space
from dhm.fitting.surface import HandSurface, spread_sample, vertex_normals
from dhm.geometry.topology import boundary_loops
from dhm.networks.hand_model import HandModel, inverse_bind_pose

# Points of the skin that are matched with what was seen: one every 5 mm or so.
_NUM_SAMPLES = 1200
_BATCH = 16  # frames at a time


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


def compiled_fit(
    parts: ModelParts, settings: FitSettings = DEFAULTS, sequence: bool = False
) -> Callable[[Evidence, HandPose, Bool[Array, ""] | bool], FittedHand]:
    """`fit_evidence` or `fit_sequence` with a model, compiled.

    Returns:
        A function of evidence, starts and whether the size is fitted as well.
    """
    fit = fit_sequence if sequence else fit_evidence

    @jax.jit
    def run(
        evidence: Evidence, starts: HandPose, fit_scale: Bool[Array, ""] | bool = False
    ) -> FittedHand:
        asked = settings._replace(fit_scale=fit_scale)
        return fit(parts.rig, evidence, starts, asked, surface=parts.surface, spheres=parts.spheres)

    return run


class FrameFitter:
    """Fits the frames of files, those that need the same program together.

    Args:
        model: The hand model.
        variables: Its variables.

    Raises:
        BadInputError: If its decoder is another than the hand model's.
    """

    def __init__(self, model: HandModel, variables: dict[str, Any]):
        self._parts = model_parts(model, variables)
        self._fits = {kind: compiled_fit(self._parts, sequence=kind) for kind in (False, True)}

    def __call__(self, content: EvidenceFile) -> FittedHand:
        """Hands of all frames of a file; of left ones those of the mirrored world."""
        frames = [mirrored(f) if f.side == LEFT else f for f in content.frames]
        groups = [list(range(len(frames)))] if content.sequence else _alike(frames)
        found: dict[int, FittedHand] = {}
        for group in groups:
            hands = self._fit([frames[i] for i in group], content.sequence)
            for row, i in enumerate(group):
                found[i] = jax.tree.map(lambda x, row=row: x[row], hands)
        return jax.tree.map(lambda *rows: np.stack(rows), *(found[i] for i in range(len(frames))))

    def _fit(self, frames: list[FrameEvidence], sequence: bool) -> FittedHand:
        padded = frames if sequence else frames + frames[-1:] * (_padding(len(frames)))
        evidence = stack_evidence(padded)
        starts = self._starts(padded, evidence)
        fit_scale = any(frame.fit_scale for frame in frames)
        return jax.device_get(self._fits[sequence](evidence, starts, fit_scale))

    def _starts(self, frames: list[FrameEvidence], evidence: Evidence) -> HandPose:
        """Starts of each frame as its evidence allows, as many for all."""
        rig, size = self._parts.rig, len(frames)
        middle = jnp.tile(default_starts(rig), (size, 1, 1))
        kinds = [start_kind(frame) for frame in frames]
        made: dict[str, HandPose] = {}
        if "given" in kinds:
            made["given"] = stack_starts(frames)
        if "space" in kinds:
            made["space"] = starts_in_space(rig, evidence, middle)
        if "view" in kinds:
            made["view"] = starts_in_one_view(rig, evidence, middle[:, 0])
        count = max(poses.scale.shape[1] for poses in made.values())
        rows = [
            jax.tree.map(lambda x, i=i: np.resize(x[i], (count, *x.shape[2:])), made[kind])
            for i, kind in enumerate(kinds)
        ]
        return jax.tree.map(lambda *x: np.stack(x), *rows)


def _padding(size: int) -> int:
    """Frames to add, so that a power of two is compiled rather than any number."""
    return (1 << (size - 1).bit_length()) - size


def _alike(frames: list[FrameEvidence]) -> list[list[int]]:
    """Indices of frames that one program fits, in batches that fit into memory."""
    groups: dict[tuple, list[int]] = {}
    for i, frame in enumerate(frames):
        key = start_kind(frame), len(frame.points) > 0, len(seeing_views(frame)), frame.fit_scale
        groups.setdefault(key, []).append(i)
    return [
        group[at : at + _BATCH] for group in groups.values() for at in range(0, len(group), _BATCH)
    ]
