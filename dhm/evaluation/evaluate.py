"""Errors of a model over a split (paper section 8): by image, then by sequence."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from dhm.data.prepared_data import PreparedData
from dhm.evaluation.aligned_hands import (
    AlignedHands,
    aligned_hands,
    all_records,
    compile_step,
    eval_step,
    first_views,
    fitted_step,
)
from dhm.evaluation.metrics import mean_of_measured, mesh_error
from dhm.evaluation.metrics_file import OVERALL
from dhm.geometry.kinematics import forward_kinematics
from dhm.geometry.transforms import transform_points
from dhm.networks.hand_model import HandModel, align_to_joints
from dhm.types import Batch, HandOutput


class SampleErrors(NamedTuple):
    """Errors of one image, mm; NaN where there was nothing to compare with.

    Attributes:
        sequence: Name of its sequence.
        P_err: Mean distance of its joints.
        M_err: Mean distance of the output's vertices to the scan.
        scan_to_mesh: Mean distance of the scan's vertices to the output.
        chamfer: Mean of the two.
        beyond_cut: Number of vertices left out of M_err because they lie beyond the scan's cut.
    """

    sequence: str
    P_err: float
    M_err: float = math.nan
    scan_to_mesh: float = math.nan
    chamfer: float = math.nan
    beyond_cut: float = math.nan


METRICS = SampleErrors._fields[1:]
_NUM_WORST = 6  # images that `worst_images` lists


def evaluate(
    model: HandModel,
    variables: dict[str, Any],
    data: PreparedData,
    *,
    batch_size: int,
    mesh_stride: int = 1,
    num_threads: int = 4,
) -> list[SampleErrors]:
    """Measures every image of the evaluation split, in order.

    Images whose joints do not determine an alignment have NaN errors.

    Args:
        model: The hand model.
        variables: Its variables.
        data: A prepared folder.
        batch_size: Images a step.
        mesh_stride: Mesh errors are measured on every n-th image.
        num_threads: Threads that read records.

    Raises:
        DhmError: If the model gives a NaN or infinite hand.
        BadInputError: If a record or a scan is damaged.
    """
    hands = aligned_hands(
        compile_step(eval_step, model, variables),
        data,
        all_records(data),
        batch_size=batch_size,
        joint_mask=model.joint_mask,
        num_threads=num_threads,
        description="evaluate",
    )
    return _measure(hands, model.template.faces, data, mesh_stride)


def evaluate_fitted(
    model: HandModel, variables: dict[str, Any], data: PreparedData, *, batch_size: int
) -> list[SampleErrors]:
    """Measures the decoder alone: one sample a frame, with angles fitted to its true joints.

    Args:
        model: The hand model.
        variables: Its variables.
        data: A prepared folder.
        batch_size: Frames a step.

    Raises:
        DhmError: If the model gives a NaN or infinite hand.
        BadInputError: If a record or a scan is damaged.
    """
    hands = aligned_hands(
        compile_step(fitted_step, model, variables),
        data,
        first_views(data).tolist(),
        batch_size=batch_size,
        joint_mask=model.joint_mask,
        images=False,
        description="fitted angles",
    )
    return _measure(hands, model.template.faces, data)


def evaluate_template(data: PreparedData, *, batch_size: int) -> list[SampleErrors]:
    """Measures the untrained template at zero pose, one sample a frame.

    Args:
        data: A prepared folder.
        batch_size: Frames a step.

    Raises:
        BadInputError: If a record or a scan is damaged.
    """
    template = data.template
    T_model_joint = forward_kinematics(
        jnp.asarray(template.T_parent_joint),
        jnp.broadcast_to(jnp.eye(3), (template.num_joints, 3, 3)),
        template.parents,
    )
    joints = T_model_joint[:, :3, 3]

    @jax.jit
    def decode(batch: Batch) -> tuple[HandOutput, Bool[Array, " b"]]:
        size = len(batch.joints)
        at_rest = jnp.broadcast_to(joints, (size, *joints.shape))
        T_world_model, aligned = align_to_joints(template, at_rest, batch.joints, batch.joint_valid)
        v_zero = jnp.broadcast_to(template.v_template, (size, *template.v_template.shape))
        vertices, posed = (transform_points(T_world_model, x) for x in (v_zero, at_rest))
        return HandOutput(vertices, posed, v_zero, at_rest), aligned

    hands = aligned_hands(
        decode, data, first_views(data).tolist(), batch_size=batch_size, images=False,
        description="template",
    )  # fmt: skip
    return _measure(hands, template.faces, data)


def _measure(
    hands: Iterable[AlignedHands],
    faces: Int[np.ndarray, "f 3"],
    data: PreparedData,
    mesh_stride: int = 1,
) -> list[SampleErrors]:
    errors = []
    for batch in hands:
        P_err = batch.joint_errors(batch.hands.joints)
        for row, record in enumerate(batch.records):
            sample = SampleErrors(batch.fields[row].sequence, math.nan)
            if batch.aligned[row]:
                sample = sample._replace(P_err=float(P_err[row]))
                measured = record % mesh_stride == 0
                scan = data.scan(data.info.evaluation_split, record) if measured else None
                if scan is not None:
                    mesh = mesh_error(batch.hands.vertices[row], faces, *scan)
                    sample = sample._replace(**mesh._asdict())
            errors.append(sample)
    return errors


def summarise(errors: Iterable[SampleErrors]) -> dict[str, dict[str, float | int | None]]:
    """Computes means by sequence, then over all images; None where nothing was measured.

    Each row has the number of images, of those with an alignment and of those with mesh errors.
    """
    groups: dict[str, list[SampleErrors]] = {}
    for sample in errors:
        groups.setdefault(sample.sequence, []).append(sample)
    rows = {name: groups[name] for name in sorted(groups)}
    rows[OVERALL] = [sample for group in rows.values() for sample in group]
    return {name: _means(group) for name, group in rows.items()}


def _means(group: list[SampleErrors]) -> dict[str, float | int | None]:
    row: dict[str, float | int | None] = {
        "images": len(group),
        "aligned": sum(not math.isnan(sample.P_err) for sample in group),
        "with_scan": sum(not math.isnan(sample.M_err) for sample in group),
    }
    for name in METRICS:
        row[name] = mean_of_measured([getattr(sample, name) for sample in group])
    return row


def worst_images(errors: Sequence[SampleErrors], data: PreparedData) -> list[dict[str, Any]]:
    """Lists the images with the largest P_err, at most one a frame."""
    index = data.split_index(data.info.evaluation_split)
    aligned = [record for record, error in enumerate(errors) if not math.isnan(error.P_err)]
    listed: dict[int, dict[str, Any]] = {}
    for record in sorted(aligned, key=lambda record: -errors[record].P_err):
        error, frame_id = errors[record], int(index.frame_id[record])
        if len(listed) < _NUM_WORST and frame_id not in listed:
            listed[frame_id] = {
                "record": record,
                "sequence": error.sequence,
                "frame": int(index.frame[record]),
                "camera": data.index.cameras[index.camera_id[record]],
                "P_err": error.P_err,
                "M_err": None if math.isnan(error.M_err) else error.M_err,
            }
    return list(listed.values())


def format_table(summary: dict[str, dict[str, float | int | None]]) -> str:
    """Formats a summary for a terminal, one line a sequence, mm."""
    columns = list(next(iter(summary.values())))
    names = max(len(name) for name in summary)
    lines = [" " * names + "".join(f"{column:>14}" for column in columns)]
    for name, row in summary.items():
        cells = "".join(f"{_cell(row[column]):>14}" for column in columns)
        lines.append(f"{name:<{names}}{cells}")
    return "\n".join(lines)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"
