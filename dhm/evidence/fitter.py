"""The evidence fit with a trained model: its rig, skin and spheres, and batches of frames."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from dhm.errors import BadInputError
from dhm.evidence.cameras import CameraView
from dhm.evidence.files import MIN_JOINTS, NUM_POINTS, EvidenceFile, FrameEvidence
from dhm.export.hand_files import LEFT, mirror_transform
from dhm.fitting.evidence import (
    Evidence,
    no_evidence,
    spread_sample,
    starts_from_joints,
    starts_from_one_view,
)
from dhm.fitting.evidence_fit import DEFAULTS, FitSettings, FittedHand, fit_evidence, fit_sequence
from dhm.fitting.joint_fit import default_starts
from dhm.fitting.rig import HandPose, Rig, SkinSample, make_rig
from dhm.fitting.terms import BoneSpheres, bone_spheres
from dhm.geometry.mesh import boundary_loops, vertex_normals
from dhm.networks.hand_model import HandModel, inverse_bind_pose

_NUM_SAMPLES = 1200  # skin points of the model that are matched: one every 5 mm or so
_MAX_BATCH = 16  # frames, so that the fit fits into memory
_MIRROR = np.array([-1.0, 1.0, 1.0])


class ModelParts(NamedTuple):
    """The parts of a model that the fit takes.

    Attributes:
        rig: The refined skeleton.
        surface: A sample of the skin.
        spheres: The spheres along the bones.
    """

    rig: Rig
    surface: SkinSample
    spheres: BoneSpheres


def model_parts(
    model: HandModel, variables: dict[str, Any], num_samples: int = _NUM_SAMPLES
) -> ModelParts:
    """Returns rig, skin and spheres of a trained model.

    Raises:
        BadInputError: If it is no `HandModel`: a linear model has other angles.
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

    surface = SkinSample(
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
    """Compiles `fit_evidence`, or `fit_sequence`, with a model.

    Returns:
        A function of evidence, starts and whether the size is fitted as well.
    """
    fit = fit_sequence if sequence else fit_evidence

    @jax.jit
    def run(
        evidence: Evidence, starts: HandPose, fit_scale: Bool[Array, ""] | bool = False
    ) -> FittedHand:
        return fit(
            parts.rig, evidence, starts, settings._replace(fit_scale=fit_scale),
            surface=parts.surface, spheres=parts.spheres,
        )  # fmt: skip

    return run


class FrameFitter:
    """Fits a trained model to the frames of evidence files, in batches of similar frames.

    Args:
        model: The hand model.
        variables: Its variables.

    Raises:
        BadInputError: If it is no `HandModel`: a linear model has other angles.
    """

    def __init__(self, model: HandModel, variables: dict[str, Any]):
        self._parts = model_parts(model, variables)
        self._fits = {kind: compiled_fit(self._parts, sequence=kind) for kind in (False, True)}

    def __call__(self, content: EvidenceFile) -> FittedHand:
        """Fits all frames of a file; left hands are fitted, and returned, in the mirrored world."""
        frames = [mirrored(f) if f.side == LEFT else f for f in content.frames]
        groups = [list(range(len(frames)))] if content.sequence else _group_similar(frames)
        found: dict[int, FittedHand] = {}
        for group in groups:
            hands = self._fit([frames[i] for i in group], content.sequence)
            for row, i in enumerate(group):
                found[i] = jax.tree.map(lambda x, row=row: x[row], hands)
        return jax.tree.map(lambda *rows: np.stack(rows), *(found[i] for i in range(len(frames))))

    def _fit(self, frames: list[FrameEvidence], sequence: bool) -> FittedHand:
        # Padding to a power of two keeps the number of compiled programs small.
        padding = 0 if sequence else (1 << (len(frames) - 1).bit_length()) - len(frames)
        padded = frames + frames[-1:] * padding
        evidence = stack_evidence(padded)
        starts = self._starts(padded, evidence)
        fit_scale = any(frame.fit_scale for frame in frames)
        return jax.device_get(self._fits[sequence](evidence, starts, fit_scale))

    def _starts(self, frames: list[FrameEvidence], evidence: Evidence) -> HandPose:
        """Returns starts by each frame's kind of evidence, repeated to the same number for all."""
        rig, kinds = self._parts.rig, [start_kind(frame) for frame in frames]
        middle = jnp.tile(default_starts(rig), (len(frames), 1, 1))
        made: dict[str, HandPose] = {}
        if "given" in kinds:
            made["given"] = _stack_starts(frames)
        if "space" in kinds:
            made["space"] = starts_from_joints(rig, evidence, middle)
        if "view" in kinds:
            made["view"] = starts_from_one_view(rig, evidence, middle[:, 0])
        count = max(poses.scale.shape[1] for poses in made.values())
        rows = [
            jax.tree.map(lambda x, i=i: np.resize(x[i], (count, *x.shape[2:])), made[kind])
            for i, kind in enumerate(kinds)
        ]
        return jax.tree.map(lambda *x: np.stack(x), *rows)


def start_kind(frame: FrameEvidence) -> str:
    """Returns what the fit of a frame starts from: "given", "space" (3D joints) or "view"."""
    if frame.start is not None:
        return "given"
    return "space" if frame.num_joints_in_space >= MIN_JOINTS else "view"


def mirrored(frame: FrameEvidence) -> FrameEvidence:
    """Returns the evidence of a left hand as that of a right hand in the mirrored world (x -> -x).

    The pictures are mirrored as well (u -> -u), so that the cameras stay proper ones.
    """
    views = tuple(
        view._replace(
            K=np.diag(_MIRROR) @ view.K @ np.diag(_MIRROR),
            T_camera_world=mirror_transform(view.T_camera_world),
            keypoints=view.keypoints * _MIRROR[:2],
        )
        for view in frame.views
    )
    return frame._replace(
        joints=frame.joints * _MIRROR,
        views=views,
        points=frame.points * _MIRROR,
        normals=frame.normals * _MIRROR,
        start=frame.start and (frame.start[0], mirror_transform(frame.start[1])),
    )


def stack_evidence(frames: Sequence[FrameEvidence]) -> Evidence:
    """Returns right hands' frames as one batch, padded with cameras and points of weight 0."""
    num_cameras = max(len(_views_with_keypoints(frame)) for frame in frames)
    num_points = NUM_POINTS if any(len(frame.points) for frame in frames) else 0
    batch = no_evidence(len(frames), len(frames[0].joints), num_cameras, num_points)
    for i, frame in enumerate(frames):
        batch.joints[i], batch.joint_weight[i] = frame.joints, frame.confidence
        for c, view in enumerate(_views_with_keypoints(frame)):
            batch.keypoints[i, c], batch.keypoint_weight[i, c] = view.keypoints, view.confidence
            batch.camera.K[i, c] = view.K
            batch.camera.T_camera_world[i, c] = view.T_camera_world
        count = len(frame.points)
        batch.points[i, :count], batch.normals[i, :count] = frame.points, frame.normals
        batch.point_weight[i, :count] = 1
    return batch


def _views_with_keypoints(frame: FrameEvidence) -> list[CameraView]:
    """Returns the cameras with keypoints, the one with the highest total confidence first."""
    views = [view for view in frame.views if (view.confidence > 0).any()]
    return sorted(views, key=lambda view: -view.confidence.sum())


def _stack_starts(frames: Sequence[FrameEvidence]) -> HandPose:
    """Returns the given starts as poses [b 1]; zeros for frames without one."""
    theta, T = zip(*(frame.start or (np.zeros(28), np.eye(4)) for frame in frames), strict=True)
    poses = (np.stack(theta)[:, None], np.stack(T)[:, None], np.ones((len(frames), 1)))
    return HandPose(*(np.float32(x) for x in poses))


def _group_similar(frames: list[FrameEvidence]) -> list[list[int]]:
    """Returns the indices of frames that one compiled program can fit, in batches."""
    groups: dict[tuple, list[int]] = {}
    for i, frame in enumerate(frames):
        num_views, has_points = len(_views_with_keypoints(frame)), len(frame.points) > 0
        key = start_kind(frame), has_points, num_views, frame.fit_scale
        groups.setdefault(key, []).append(i)
    return [
        group[at : at + _MAX_BATCH]
        for group in groups.values()
        for at in range(0, len(group), _MAX_BATCH)
    ]
