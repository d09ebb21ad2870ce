"""P_err of encoders with the same decoder, on images of several people (paper section 8.4)."""

import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from dhm.data.prepared_data import PreparedData
from dhm.evaluation.aligned_hands import aligned_hands, all_records, compile_step
from dhm.evaluation.metrics import mean_of_measured
from dhm.evaluation.metrics_file import OVERALL
from dhm.networks.hand_model import HandModel, joints_aligned
from dhm.types import Batch

NEW, FORMER = "new", "former"
"""The encoder of a run with a trained decoder, and the encoder that decoder was trained with."""

_PERSON = re.compile(r"s[0-9]+(?=_)")


class EncoderErrors(NamedTuple):
    """Errors of one image, mm; NaN where its joints do not determine an alignment.

    Attributes:
        sequence: Name of its sequence.
        P_err: Mean distance of its joints.
        adjusted: The same with the output's bones at the lengths of the true ones.
    """

    sequence: str
    P_err: float = math.nan
    adjusted: float = math.nan


def evaluate_encoder(
    model: HandModel,
    variables: dict[str, Any],
    data: PreparedData,
    *,
    batch_size: int,
    num_threads: int = 4,
) -> list[EncoderErrors]:
    """Measures every image of the evaluation split, in order; makes no meshes.

    Args:
        model: The hand model.
        variables: Its variables.
        data: A prepared folder.
        batch_size: Images a step.
        num_threads: Threads that read records.

    Raises:
        DhmError: If the model gives NaN or infinite joints.
        BadInputError: If a record is damaged.
    """

    def joints_step(model: HandModel, variables: dict[str, Any], batch: Batch):
        theta = model.apply(variables, batch.image, method="encode")
        plain, aligned = joints_aligned(model, variables, theta, batch)
        adjusted, _ = joints_aligned(model, variables, theta, batch, bone_lengths=True)
        return (plain, adjusted), aligned

    errors = []
    for batch in aligned_hands(
        compile_step(joints_step, model, variables),
        data,
        all_records(data),
        batch_size=batch_size,
        joint_mask=model.joint_mask,
        num_threads=num_threads,
        description="encoder",
    ):
        columns = [batch.joint_errors(joints) for joints in batch.hands]
        for row, fields in enumerate(batch.fields):
            values = [float(column[row]) for column in columns] if batch.aligned[row] else []
            errors.append(EncoderErrors(fields.sequence, *values))
    return errors


def summarise_encoder(
    errors: Iterable[EncoderErrors],
) -> dict[str, dict[str, float | int | None]]:
    """Computes means over the images of each person and over all images.

    The person is the prefix of a sequence's name, such as "s1" of "s1_0041_RT_gesture".

    Returns:
        "images", "P_err" and "adjusted" by person and overall.
    """
    groups: dict[str, list[EncoderErrors]] = {}
    overall = list(errors)
    for error in overall:
        if person := _PERSON.match(error.sequence):
            groups.setdefault(person[0], []).append(error)
    rows = {name: groups[name] for name in sorted(groups)} | {OVERALL: overall}
    return {name: _means(group) for name, group in rows.items()}


def comparison(
    encoders: dict[str, dict[str, dict[str, float | int | None]]],
) -> dict[str, dict[str, float | int | None]]:
    """Compares the summaries of the new and the former encoder, for `format_table`.

    "less_by_%" is by how many percent the new encoder's adjusted P_err is below the former's.
    """
    rows = {}
    for name, new in encoders[NEW].items():
        former = encoders[FORMER][name]
        row: dict[str, float | int | None] = {"images": new["images"]}
        for key, column in (("P_err", "P_err"), ("adjusted", "adj")):
            row |= {f"{NEW}_{column}": new[key], f"{FORMER}_{column}": former[key]}
        saved = None
        if new["adjusted"] is not None and former["adjusted"]:
            saved = 100.0 * (1.0 - new["adjusted"] / former["adjusted"])
        rows[name] = row | {"less_by_%": saved}
    return rows


def _means(group: list[EncoderErrors]) -> dict[str, float | int | None]:
    columns = {name: [getattr(error, name) for error in group] for name in ("P_err", "adjusted")}
    means = {name: mean_of_measured(values) for name, values in columns.items()}
    return {"images": len(group), **means}
