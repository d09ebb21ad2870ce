"""Errors of a model over a split (paper section 8): sample by sample, then by sequence."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from tqdm import tqdm

from dhm.data.input_pipeline import PADDING, make_dataset, num_batches
from dhm.data.prepared_data import PreparedData
from dhm.data.schema import HandRecord
from dhm.errors import DhmError
from dhm.evaluation.metrics import joint_errors, mesh_error
from dhm.evaluation.metrics_file import OVERALL
from dhm.geometry.kinematics import forward_kinematics
from dhm.geometry.transforms import transform_points
from dhm.networks.hand_model import HandModel, align_to_joints, decode_aligned, mask_joints
from dhm.types import Batch, Camera, HandOutput


class SampleErrors(NamedTuple):
    """Errors of one image, mm; NaN where there was nothing to compare with.

    Attributes:
        sequence: Name of its sequence.
        P_err: Mean distance of its joints.
        M_err: Mean distance of the output's vertices to the scan.
        scan_to_mesh: Mean distance of the scan's vertices to the output.
        chamfer: Mean of the two.
        beyond_cut: Vertices left out of M_err because they lie beyond the scan's cut.
    """

    sequence: str
    P_err: float
    M_err: float = math.nan
    scan_to_mesh: float = math.nan
    chamfer: float = math.nan
    beyond_cut: float = math.nan


METRICS = SampleErrors._fields[1:]
_NUM_WORST = 6  # images that `worst_images` lists


def eval_step(
    model: HandModel, variables: dict[str, Any], batch: Batch
) -> tuple[Float[Array, "b d"], HandOutput, Bool[Array, " b"]]:
    """Pose vectors, hands aligned to the batch's joints, and which samples could be aligned."""
    theta = model.apply(variables, batch.image, method="encode")
    return theta, *decode_aligned(model, variables, theta, batch)


def evaluate(
    model: HandModel,
    variables: dict[str, Any],
    data: PreparedData,
    *,
    batch_size: int,
    mesh_stride: int = 1,
    num_threads: int = 4,
) -> list[SampleErrors]:
    """Errors of every image of the evaluation split, in order.

    An image whose joints do not fix an alignment has NaN errors.

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
    split = data.info.evaluation_split
    batches = make_dataset(
        data, split, batch_size=batch_size, num_views=0, seed=0, shuffle=False,
        num_threads=num_threads,
    )  # fmt: skip
    total = num_batches(len(data.split_index(split).frame), batch_size)
    step = jax.jit(lambda variables, batch: eval_step(model, variables, batch))
    errors = []
    for batch in tqdm(batches, total=total, desc="evaluate", unit="batch"):
        batch = mask_joints(model, batch)
        _, output, aligned = jax.device_get(step(variables, batch))
        errors += _batch_errors(batch, output, aligned, model.template.faces, data, mesh_stride)
    return errors


def evaluate_fitted(
    model: HandModel,
    variables: dict[str, Any],
    data: PreparedData,
    *,
    batch_size: int,
) -> list[SampleErrors]:
    """Errors of the decoder alone: one sample a frame, with angles fitted to its true joints.

    Args:
        model: The hand model.
        variables: Its variables.
        data: A prepared folder.
        batch_size: Frames a step.

    Raises:
        DhmError: If the model gives a NaN or infinite hand.
        BadInputError: If a record or a scan is damaged.
    """
    step = jax.jit(lambda variables, batch: fitted_step(model, variables, batch))

    def decode(batch: Batch) -> tuple[HandOutput, Bool[Array, " b"]]:
        return step(variables, batch)[1:]

    known = model.joint_mask
    return _frame_errors(decode, model.template.faces, data, batch_size, "fit", known)


def evaluate_template(data: PreparedData, *, batch_size: int) -> list[SampleErrors]:
    """Errors of the untrained template at zero pose, one sample a frame: what there is to learn.

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
        vertices = transform_points(T_world_model, v_zero)
        return HandOutput(
            vertices, transform_points(T_world_model, at_rest), v_zero, at_rest
        ), aligned

    return _frame_errors(decode, template.faces, data, batch_size, "template")


def _frame_errors(
    decode: Callable[[Batch], tuple[HandOutput, Bool[Array, " b"]]],
    faces: np.ndarray,
    data: PreparedData,
    batch_size: int,
    name: str,
    known: Bool[np.ndarray, " j"] | bool = True,
) -> list[SampleErrors]:
    """Errors of what `decode` makes of each frame's joints, of which only the known count."""
    split = data.info.evaluation_split
    _, first_views = np.unique(data.split_index(split).frame_id, return_index=True)
    errors = []
    for start in tqdm(range(0, len(first_views), batch_size), desc=name, unit="batch"):
        records = first_views[start : start + batch_size].tolist()
        fields = [data.record(split, record) for record in records]
        batch = batch_of(records, fields, size=batch_size)
        batch = batch._replace(joint_valid=batch.joint_valid & known)
        output, aligned = jax.device_get(decode(batch))
        errors += _batch_errors(batch, output, aligned, faces, data, 1)
    return errors


def fitted_step(
    model: HandModel, variables: dict[str, Any], batch: Batch
) -> tuple[Float[Array, "b d"], HandOutput, Bool[Array, " b"]]:
    """As `eval_step`, with the angles that bring the model's joints closest to the batch's."""
    theta = model.apply(variables, batch.joints, batch.joint_valid, method="fit").theta
    return theta, *decode_aligned(model, variables, theta, batch)


def batch_of(
    records: Sequence[int],
    fields: Sequence[HandRecord],
    images: Sequence[np.ndarray] = (),
    size: int | None = None,
) -> Batch:
    """Records without target views as a batch, filled up with copies of the last.

    Args:
        records: Indices of the records; the copies have `PADDING`.
        fields: What is stored of them.
        images: Their pictures; without any the batch has none.
        size: Of the batch, the number of records by default.
    """
    size = size or len(records)
    index = [min(row, len(records) - 1) for row in range(size)]
    return Batch(
        image=np.stack([images[i] for i in index])
        if images
        else np.zeros((size, 0, 0, 3), np.uint8),
        joints=np.stack([fields[i].joints for i in index]).astype(np.float32),
        joint_valid=np.stack([fields[i].joint_valid for i in index]),
        target_depth=np.zeros((size, 0, 0, 0), np.float32),
        target_camera=Camera(*np.zeros((2, size, 0), np.float32)),
        frame=np.array([fields[i].frame for i in index], np.int32),
        record=np.array([*records, *[PADDING] * (size - len(records))], np.int32),
    )


def _batch_errors(
    batch: Batch,
    output: HandOutput,
    aligned: np.ndarray,
    faces: np.ndarray,
    data: PreparedData,
    mesh_stride: int,
) -> Iterator[SampleErrors]:
    split = data.info.evaluation_split
    P_err = joint_errors(output.joints, batch.joints, batch.joint_valid)
    for i, record in enumerate(batch.record.tolist()):
        if record == PADDING:
            continue
        errors = SampleErrors(data.sequence(split, record), math.nan)
        if aligned[i]:
            if not np.isfinite(output.vertices[i]).all():
                raise DhmError(f"the model gives NaN or infinity for {split} record {record}")
            errors = errors._replace(P_err=float(P_err[i]))
            scan = data.scan(split, record) if record % mesh_stride == 0 else None
            if scan is not None:
                errors = errors._replace(**mesh_error(output.vertices[i], faces, *scan)._asdict())
        yield errors


def summarise(errors: Iterable[SampleErrors]) -> dict[str, dict[str, float | int | None]]:
    """Means by sequence, then over all images; None where nothing was measured.

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
        values = np.array([getattr(sample, name) for sample in group])
        measured = values[~np.isnan(values)]
        row[name] = float(measured.mean()) if len(measured) else None
    return row


def worst_images(errors: Sequence[SampleErrors], data: PreparedData) -> list[dict[str, Any]]:
    """The images with the largest P_err, the worst of each frame alone; None: not measured."""
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
    """Lays out a summary for a terminal, one line a sequence, mm."""
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
