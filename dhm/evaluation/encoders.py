"""P_err of encoders before one decoder, on images of several people (paper section 8.4)."""

import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from dhm.data.input_pipeline import PADDING, make_dataset, num_batches
from dhm.data.prepared_data import PreparedData
from dhm.errors import DhmError
from dhm.evaluation.evaluate import OVERALL
from dhm.evaluation.metrics import joint_errors
from dhm.networks.hand_model import HandModel, joints_aligned, mask_joints

NEW, FORMER = "new", "former"
"""The encoder of a run that kept a trained decoder, and the one this decoder was trained with."""

_PERSON = re.compile(r"s[0-9]+(?=_)")


class EncoderErrors(NamedTuple):
    """Errors of one image, mm; NaN where its joints do not fix an alignment.

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
    """Errors of every image of the evaluation split, in order; no mesh is made.

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
    split = data.info.evaluation_split
    batches = make_dataset(
        data, split, batch_size=batch_size, num_views=0, seed=0, shuffle=False,
        num_threads=num_threads,
    )  # fmt: skip

    @jax.jit
    def step(variables, batch):
        theta = model.apply(variables, batch.image, method="encode")
        plain, aligned = joints_aligned(model, variables, theta, batch)
        adjusted, _ = joints_aligned(model, variables, theta, batch, bone_lengths=True)
        return plain, adjusted, aligned

    errors = []
    total = num_batches(len(data.split_index(split).frame), batch_size)
    for batch in tqdm(batches, total=total, desc="encoder", unit="batch"):
        batch = mask_joints(model, batch)
        *hands, aligned = jax.device_get(step(variables, batch))
        columns = [joint_errors(hand, batch.joints, batch.joint_valid) for hand in hands]
        for record, fits, *values in zip(batch.record.tolist(), aligned, *columns, strict=True):
            if record == PADDING:
                continue
            if fits and not np.isfinite(values).all():
                raise DhmError(f"the model gives NaN or infinity for {split} record {record}")
            values = map(float, values) if fits else ()
            errors.append(EncoderErrors(data.sequence(split, record), *values))
    return errors


def summarise_encoder(
    errors: Iterable[EncoderErrors],
) -> dict[str, dict[str, float | int | None]]:
    """Means over the images of each person, where the sequences' names tell them, and over all.

    Returns:
        "images", "P_err" and "adjusted" by name of the person ("s1", ...) and overall.
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
    """A table of the summaries of the new and the former encoder, for `format_table`.

    "less_by" is the share of the former's adjusted P_err, in percent, that the new encoder saves.
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
    row: dict[str, float | int | None] = {"images": len(group)}
    for name in ("P_err", "adjusted"):
        values = np.array([getattr(error, name) for error in group])
        measured = values[~np.isnan(values)]
        row[name] = float(measured.mean()) if len(measured) else None
    return row
