"""Measures of single hands: flexion, contact, penetration, and errors of the visible skin."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dhm.data.prepared_data import PreparedData
from dhm.evaluation.aligned_hands import (
    aligned_hands,
    compile_step,
    eval_step,
    first_views,
    fitted_step,
)
from dhm.evaluation.metrics import mean_of_measured, scan_distance, seen_vertices
from dhm.evaluation.penetration import PENETRATES_MM, HandParts, hand_parts, penetration
from dhm.fitting import fit_pose
from dhm.geometry.hand_rig import FINGERS, FINGERTIPS, dof_names, joint_indices
from dhm.networks.hand_model import HandModel
from dhm.types import Batch, Camera

POSES = ("encoder", "fitted")
"""Sources of a hand's angles."""

FLEXED_DEGREES = 45.0
"""Mean flexion of the fingers' joints above which a hand is flexed: half a right angle.
A hook or a fist is flexed; a relaxed or an open hand is not."""

CONTACT_MM = 18.0
"""Distance of joints below which a fingertip is in contact, mm: a finger is 15 to 20 mm thick and
its joints lie in its middle, so that the joints of two touching fingers are about one thickness
apart. Straight closed fingers have 22 mm, as fingertips are apart lengthwise."""

_FLEXIONS = tuple(f"{finger}{bone}_z" for finger in FINGERS[1:] for bone in (1, 2, 3))


def mean_flexion(
    theta: Float[np.ndarray, "*b d"], joint_names: tuple[str, ...]
) -> Float[np.ndarray, "*b"]:
    """Computes the mean of the twelve flexion angles of index to pinky, radians.

    Args:
        theta: Pose vectors, radians.
        joint_names: Of the rig.

    Raises:
        ValueError: If the rig lacks a joint of theta.
    """
    names = dof_names(joint_names)
    return np.asarray(theta)[..., [names.index(name) for name in _FLEXIONS]].mean(axis=-1)


def is_flexed(
    theta: Float[np.ndarray, "*b d"], joint_names: tuple[str, ...]
) -> Bool[np.ndarray, "*b"]:
    """Tests whether the mean flexion of index to pinky is above `FLEXED_DEGREES`.

    Args:
        theta: Pose vectors, radians, e.g. `dhm.fitting.fit_pose` of a capture's joints.
        joint_names: Of the rig.

    Raises:
        ValueError: If the rig lacks a joint of theta.
    """
    return mean_flexion(theta, joint_names) > np.radians(FLEXED_DEGREES)


def contact_distance(
    joints: Float[np.ndarray, "*b j 3"],
    valid: Bool[np.ndarray, "*b j"],
    joint_names: tuple[str, ...],
) -> Float[np.ndarray, "*b"]:
    """Computes the smallest distance of a fingertip to a joint of the palm or another digit, mm.

    Args:
        joints: True joints, mm.
        valid: False where a joint was not annotated.
        joint_names: Of the rig.

    Returns:
        Infinity without any pair of valid joints.

    Raises:
        ValueError: If the rig lacks a fingertip.
    """
    joints, valid = np.asarray(joints), np.asarray(valid)
    smallest = np.full(joints.shape[:-2], np.inf)
    for finger, tip in zip(FINGERS, joint_indices(joint_names, FINGERTIPS), strict=True):
        others = [j for j, name in enumerate(joint_names) if not name.startswith(finger)]
        distance = np.linalg.norm(joints[..., others, :] - joints[..., tip, None, :], axis=-1)
        counts = valid[..., others] & valid[..., tip, None]
        nearest = np.where(counts, distance, np.inf).min(axis=-1, initial=np.inf)
        smallest = np.minimum(smallest, nearest)
    return smallest


def is_contact(
    joints: Float[np.ndarray, "*b j 3"],
    valid: Bool[np.ndarray, "*b j"],
    joint_names: tuple[str, ...],
) -> Bool[np.ndarray, "*b"]:
    """Tests whether a fingertip touches the palm or another digit, by the distances of joints.

    A contact halfway between two joints is missed. On the average hand in the studio's named
    poses, 18 mm detects every folded hand and two of the six pinches; 20 mm detects five, but also
    the fingers of a hook, which only lie side by side.

    Args:
        joints: True joints, mm.
        valid: False where a joint was not annotated; such joints touch nothing.
        joint_names: Of the rig.

    Raises:
        ValueError: If the rig lacks a fingertip.
    """
    return contact_distance(joints, valid, joint_names) < CONTACT_MM


class HandDetails(NamedTuple):
    """Measures of one hand; NaN where there was nothing to compare with.

    Attributes:
        sequence: Name of its sequence.
        flexed: Whether its fingers are bent, by angles fitted to its true joints.
        contact: Whether a fingertip touches, by its true joints.
        P_err: Mean distance of its joints, mm.
        M_err: Mean distance of the output's vertices to the scan, mm.
        M_err_visible: M_err of the vertices that one of the frame's cameras sees, mm.
        penetration_mean: Mean depth of the vertices inside another part, mm.
        penetration_max: Depth of the deepest of them, mm.
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
) -> dict[str, list[HandDetails]]:
    """Measures the hands of every n-th frame of the evaluation split.

    The encoder gives a hand for each view of a frame, and all are measured: those of one view
    alone would say little about how often hands penetrate. The scan is compared with the hand of
    the first view.

    Args:
        model: The hand model.
        variables: Its variables.
        data: A prepared folder.
        batch_size: Images a step.
        stride: n.

    Returns:
        Details by the source of the angles: for "fitted", of one hand a frame; for "encoder", of
        the frames' first views, then of all other views.

    Raises:
        DhmError: If the model gives a NaN or infinite hand.
        BadInputError: If a record or a scan is damaged.
    """
    frame_id = data.split_index(data.info.evaluation_split).frame_id
    first = first_views(data)[::stride]
    others = np.setdiff1d(np.flatnonzero(np.isin(frame_id, frame_id[first])), first)
    classes = dict(zip(frame_id[first], _classes(model, data, first, batch_size), strict=True))
    with_scan, parts = set(first.tolist()), hand_parts(model.template)
    found: dict[str, list[HandDetails]] = {pose: [] for pose in POSES}
    for pose, step, records in (
        ("encoder", eval_step, np.concatenate([first, others])),
        ("fitted", fitted_step, first),
    ):
        for decoded in aligned_hands(
            compile_step(step, model, variables),
            data,
            records.tolist(),
            batch_size=batch_size,
            joint_mask=model.joint_mask,
            images=pose == "encoder",
            description=f"details, {pose}",
        ):
            P_err = decoded.joint_errors(decoded.hands.joints)
            for row, record in enumerate(decoded.records):
                details = HandDetails(decoded.fields[row].sequence, *classes[frame_id[record]])
                if decoded.aligned[row]:
                    vertices = decoded.hands.vertices[row]
                    details = details._replace(P_err=float(P_err[row]))
                    details = _with_penetration(details, vertices, parts)
                    if record in with_scan:
                        details = _with_scan(details, vertices, model.template.faces, data, record)
                found[pose].append(details)
    return found


def _classes(
    model: HandModel, data: PreparedData, records: Int[np.ndarray, " n"], batch_size: int
) -> Iterator[tuple[bool, bool]]:
    """Yields whether the true hand of each record is flexed, and whether it is in contact."""
    template, names = data.template, data.template.joint_names
    rest = jnp.asarray(template.T_parent_joint, jnp.float32)

    @jax.jit
    def true_angles(batch: Batch) -> tuple[Float[Array, "b d"], Bool[Array, " b"]]:
        fit = fit_pose(rest, template.parents, names, batch.joints, batch.joint_valid)
        return fit.theta, jnp.zeros(len(batch.joints), bool)

    for decoded in aligned_hands(
        true_angles, data, records.tolist(), batch_size=batch_size,
        joint_mask=model.joint_mask, images=False,
    ):  # fmt: skip
        batch = decoded.batch
        flexed = is_flexed(decoded.hands, names)
        contact = is_contact(batch.joints, batch.joint_valid, names)
        for row in range(len(decoded.records)):
            yield bool(flexed[row]), bool(contact[row])


def _with_penetration(
    details: HandDetails, vertices: Float[np.ndarray, "v 3"], parts: HandParts
) -> HandDetails:
    found = penetration(vertices, parts)
    return details._replace(
        penetration_mean=found.mean_depth,
        penetration_max=found.max_depth,
        penetration_volume=found.volume,
    )


def _with_scan(
    details: HandDetails,
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    data: PreparedData,
    record: int,
) -> HandDetails:
    split, size = data.info.evaluation_split, (data.info.image_size,) * 2
    scan = data.scan(split, record)
    if scan is None:
        return details
    distance = scan_distance(vertices, *scan)
    seen = seen_vertices(vertices, faces, _cameras(data, split, record), size).any(axis=0)
    return details._replace(M_err=distance.mean(), M_err_visible=distance.mean(seen))


def _cameras(data: PreparedData, split: str, record: int) -> Camera:
    """Cameras of all views of a record's frame."""
    frames = data.split_index(split).frame_id
    fields = [data.record(split, view) for view in np.flatnonzero(frames == frames[record])]
    return Camera(
        np.stack([field.K for field in fields]).astype(np.float32),
        np.stack([field.T_camera_world for field in fields]).astype(np.float32),
    )


def summarise_details(details: Sequence[HandDetails]) -> dict[str, float | int | None]:
    """Computes the means over hands; None where nothing was measured.

    Returns:
        "hands", "flexed" and "contact" (their numbers), the means of the measures, "M_err_flexed"
        and "M_err_contact", and "penetrating", the share of hands with more than
        `PENETRATES_MM` of penetration.
    """
    row: dict[str, float | int | None] = {
        "hands": len(details),
        "flexed": sum(hand.flexed for hand in details),
        "contact": sum(hand.contact for hand in details),
    }
    for name in HandDetails._fields[3:]:
        row[name] = mean_of_measured([getattr(hand, name) for hand in details])
    row["M_err_flexed"] = mean_of_measured([hand.M_err for hand in details if hand.flexed])
    row["M_err_contact"] = mean_of_measured([hand.M_err for hand in details if hand.contact])
    depths = [hand.penetration_max for hand in details if not math.isnan(hand.penetration_max)]
    row["penetrating"] = mean_of_measured([depth > PENETRATES_MM for depth in depths])
    return row
