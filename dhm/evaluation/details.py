"""What the ablations look at beside the mean errors: penetration, and errors of certain frames."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from dhm.data.prepared_data import PreparedData
from dhm.errors import DhmError
from dhm.evaluation.evaluate import batch_of, eval_step, fitted_step
from dhm.evaluation.frame_class import is_contact, is_flexed
from dhm.evaluation.metrics import joint_errors, scan_distance
from dhm.evaluation.penetration import HandParts, hand_parts, penetrating_share, penetration
from dhm.evaluation.visible import visible_mesh_error
from dhm.fitting import fit_pose
from dhm.networks.hand_model import HandModel, mask_joints
from dhm.types import Batch, Camera, HandOutput

POSES = ("encoder", "fitted")


class FrameDetails(NamedTuple):
    """One frame's hand; NaN where there was nothing to compare with.

    Attributes:
        sequence: Name of its sequence.
        flexed: Whether its fingers are bent, by angles fitted to its true joints.
        contact: Whether a fingertip touches, by its true joints.
        P_err: Mean distance of its joints, mm.
        M_err: Mean distance of the output's vertices to the scan, mm.
        M_err_visible: Of the vertices that one of the frame's cameras sees, mm.
        penetration_mean: Mean depth of the vertices inside another part, mm.
        penetration_max: Of the deepest, mm.
        penetration_volume: Overlap of the parts, mm^3.
    """

    sequence: str
    flexed: bool
    contact: bool
    P_err: float = math.nan
    M_err: float = math.nan
    M_err_visible: float = math.nan
    penetration_mean: float = math.nan
    penetration_max: float = math.nan
    penetration_volume: float = math.nan


def evaluate_details(
    model: HandModel,
    variables: dict[str, Any],
    data: PreparedData,
    *,
    batch_size: int,
    stride: int = 1,
) -> dict[str, list[FrameDetails]]:
    """Details of every n-th frame of the evaluation split, by the source of the angles (`POSES`).

    The encoder reads another hand off each view of a frame, and it has details of each, for those
    of one alone would say little of how often it penetrates. The scan is compared with the first
    view's hand.

    Args:
        model: The hand model.
        variables: Its variables.
        data: A prepared folder.
        batch_size: Frames a step.
        stride: n.

    Raises:
        DhmError: If the model gives a NaN or infinite hand.
        BadInputError: If a record or a scan is damaged.
    """
    split = data.info.evaluation_split
    frame_id = data.split_index(split).frame_id
    frames, first_views = np.unique(frame_id, return_index=True)
    others = np.setdiff1d(np.flatnonzero(np.isin(frame_id, frames[::stride])), first_views)
    batches = [
        (poses, views[start : start + batch_size].tolist())
        for poses, views in ((POSES, first_views[::stride]), (("encoder",), others))
        for start in range(0, len(views), batch_size)
    ]
    parts = hand_parts(model.template)
    steps = {
        name: jax.jit(lambda variables, batch, step=step: step(model, variables, batch)[1:])
        for name, step in zip(POSES, (eval_step, fitted_step), strict=True)
    }
    true_angles = jax.jit(lambda batch: _true_angles(data, batch))
    classes: dict[int, tuple[bool, bool]] = {}
    found: dict[str, list[FrameDetails]] = {name: [] for name in POSES}
    for poses, records in tqdm(batches, desc="details", unit="batch"):
        fields = [data.record(split, record) for record in records]
        images = [data.decode_image(split, *pair) for pair in zip(records, fields, strict=True)]
        batch = mask_joints(model, batch_of(records, fields, images, batch_size))
        is_first = poses == POSES
        if is_first:
            flexed = is_flexed(np.asarray(true_angles(batch)), data.template.joint_names)
            contact = is_contact(batch.joints, batch.joint_valid, data.template.joint_names)
            for i, record in enumerate(records):
                classes[int(frame_id[record])] = bool(flexed[i]), bool(contact[i])
        for name in poses:
            output, aligned = jax.device_get(steps[name](variables, batch))
            P_err = joint_errors(output.joints, batch.joints, batch.joint_valid)
            for i, record in enumerate(records):
                sequence = data.sequence(split, record)
                details = FrameDetails(sequence, *classes[int(frame_id[record])])
                if aligned[i]:
                    details = details._replace(P_err=float(P_err[i]))
                    details = _with_penetration(details, output, i, data, record, parts)
                    if is_first:
                        details = _with_scan(details, model, output, i, data, record)
                found[name].append(details)
    return found


def _true_angles(data: PreparedData, batch: Batch) -> jax.Array:
    template = data.template
    rest = jnp.asarray(template.T_parent_joint, jnp.float32)
    return fit_pose(
        rest, template.parents, template.joint_names, batch.joints, batch.joint_valid
    ).theta


def _with_penetration(
    details: FrameDetails,
    output: HandOutput,
    i: int,
    data: PreparedData,
    record: int,
    parts: HandParts,
) -> FrameDetails:
    vertices = output.vertices[i]
    if not np.isfinite(vertices).all():
        split = data.info.evaluation_split
        raise DhmError(f"the model gives NaN or infinity for {split} record {record}")
    overlap = penetration(vertices, parts)
    return details._replace(
        penetration_mean=overlap.mean_depth,
        penetration_max=overlap.max_depth,
        penetration_volume=overlap.volume,
    )


def _with_scan(
    details: FrameDetails,
    model: HandModel,
    output: HandOutput,
    i: int,
    data: PreparedData,
    record: int,
) -> FrameDetails:
    split, vertices = data.info.evaluation_split, output.vertices[i]
    scan = data.scan(split, record)
    if scan is None:
        return details
    distance, size = scan_distance(vertices, *scan), (data.info.image_size,) * 2
    visible = visible_mesh_error(
        vertices, model.template.faces, distance, _cameras(data, split, record), size
    )
    return details._replace(M_err=distance.mean(), M_err_visible=visible.M_err)


def _cameras(data: PreparedData, split: str, record: int) -> Camera:
    """Those that took a picture of a record's frame."""
    frames = data.split_index(split).frame_id
    fields = [data.record(split, view) for view in np.flatnonzero(frames == frames[record])]
    return Camera(
        np.stack([field.K for field in fields]).astype(np.float32),
        np.stack([field.T_camera_world for field in fields]).astype(np.float32),
    )


def summarise_details(details: Sequence[FrameDetails]) -> dict[str, float | int | None]:
    """Means over the hands; None where nothing was measured.

    Returns:
        "hands", "flexed" and "contact" (their numbers), the means of the measures, "M_err_flexed"
        and "M_err_contact", and "penetrating", the share of hands with more than
        `PENETRATES_MM` of penetration.
    """
    row: dict[str, float | int | None] = {
        "hands": len(details),
        "flexed": sum(frame.flexed for frame in details),
        "contact": sum(frame.contact for frame in details),
    }
    for name in FrameDetails._fields[3:]:
        row[name] = _mean([getattr(frame, name) for frame in details])
    row["M_err_flexed"] = _mean([frame.M_err for frame in details if frame.flexed])
    row["M_err_contact"] = _mean([frame.M_err for frame in details if frame.contact])
    share = penetrating_share(np.array([frame.penetration_max for frame in details], float))
    row["penetrating"] = None if math.isnan(share) else share
    return row


def _mean(values: Sequence[float]) -> float | None:
    measured = [value for value in values if not math.isnan(value)]
    return float(np.mean(measured)) if measured else None
