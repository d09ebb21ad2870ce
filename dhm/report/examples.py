"""Hands that a trained model predicts for chosen images, measured against their scans."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from dhm.data.prepared_data import PreparedData
from dhm.data.schema import HandRecord, Scan
from dhm.evaluation.aligned_hands import (
    AlignedHands,
    aligned_hands,
    compile_step,
    eval_step,
    first_views,
    fitted_step,
)
from dhm.evaluation.metrics import scan_distance
from dhm.networks.hand_model import HandModel, decode_aligned
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.types import Batch, HandOutput

_TITLES = {"skeleton": "skeleton corrective", "identity": "identity corrective",
           "pose": "pose corrective"}  # fmt: skip


class Hand(NamedTuple):
    """A mesh in the world, aligned to the target joints.

    Attributes:
        vertices: World mm.
        P_err: mm.
        M_err: mm; None where the frame has no scan.
        distance: From each vertex to the scan, mm; None where the frame has no scan.
        is_measured: False beyond the scan's cut, where the distance is no error.
    """

    vertices: Float[np.ndarray, "v 3"]
    P_err: float
    M_err: float | None
    distance: Float[np.ndarray, " v"] | None
    is_measured: Bool[np.ndarray, " v"] | None


class Example(NamedTuple):
    """The model's output for one image.

    Attributes:
        record: Its index in the evaluation split.
        fields: The stored record.
        image: The input image.
        scan: Of the frame, world mm; None where it has none.
        hand: With the encoder's angles.
        fitted: With angles fitted to the true joints.
    """

    record: int
    fields: HandRecord
    image: UInt8[np.ndarray, "s s 3"]
    scan: Scan | None
    hand: Hand
    fitted: Hand

    @property
    def name(self) -> str:
        """Sequence, frame and camera, for captions."""
        fields = self.fields
        return f"{fields.sequence}, frame {fields.frame}, camera {fields.camera}"


def make_examples(
    model: HandModel | LinearHandModel,
    variables: dict[str, Any],
    data: PreparedData,
    records: Sequence[int],
) -> list[Example]:
    """Runs the model on records of the evaluation split.

    Args:
        model: The hand model, or a linear one.
        variables: Its variables.
        data: A prepared folder.
        records: Indices; those whose joints do not determine an alignment are left out.

    Raises:
        DhmError: If the model gives a NaN or infinite hand.
        BadInputError: If a record or a scan is damaged.
    """

    def step(model: HandModel, variables: dict[str, Any], batch: Batch):
        encoded, aligned = eval_step(model, variables, batch)
        return (encoded, fitted_step(model, variables, batch)[0]), aligned

    examples = []
    decode = compile_step(step, model, variables)
    for decoded in aligned_hands(decode, data, records, joint_mask=model.joint_mask):
        for row, record in enumerate(decoded.records):
            if decoded.aligned[row]:
                scan = data.scan(data.info.evaluation_split, record)
                fields, image = decoded.fields[row], decoded.batch.image[row]
                hands = (_measured(decoded, hand, row, scan) for hand in decoded.hands)
                examples.append(Example(record, fields, image, scan, *hands))
    return examples


def corrective_steps(
    model: HandModel, variables: dict[str, Any], data: PreparedData, examples: Sequence[Example]
) -> list[dict[str, Hand]]:
    """Decodes each example with one corrective more at each step (figures 4 and 9 of the paper).

    All steps have the angles that bring the whole model's joints closest to the true ones, and
    each is aligned by itself.

    Args:
        model: The hand model, with some or all correctives.
        variables: Its variables.
        data: The prepared folder of the examples.
        examples: From `make_examples`.

    Returns:
        Hands by the name of the step, for each example.
    """
    counts = range(len(model.correctives) + 1)
    names = [f"+ {_TITLES[model.correctives[i - 1]]}" if i else "Template, skinned" for i in counts]

    def step(
        model: HandModel, variables: dict[str, Any], batch: Batch
    ) -> tuple[list[HandOutput], Bool[Array, " b"]]:
        theta = model.apply(variables, batch.joints, batch.joint_valid, method="fit").theta
        models = [model.clone(correctives=model.correctives[:count]) for count in counts]
        steps = [decode_aligned(fewer, variables, theta, batch) for fewer in models]
        return [output for output, _ in steps], steps[-1][1]

    result = []
    decode, records = compile_step(step, model, variables), [one.record for one in examples]
    mask = model.joint_mask
    for decoded in aligned_hands(decode, data, records, joint_mask=mask, images=False):
        for row, example in enumerate(examples):
            hands = [_measured(decoded, hand, row, example.scan) for hand in decoded.hands]
            result.append(dict(zip(names, hands, strict=True)))
    return result


def _measured(decoded: AlignedHands, output: HandOutput, row: int, scan: Scan | None) -> Hand:
    """One hand of a batch with its errors."""
    vertices, P_err = output.vertices[row], float(decoded.joint_errors(output.joints)[row])
    if scan is None:
        return Hand(vertices, P_err, None, None, None)
    to_scan = scan_distance(vertices, *scan)
    is_measured = ~to_scan.beyond_cut
    M_err = to_scan.mean() if is_measured.any() else None
    return Hand(vertices, P_err, M_err, to_scan.distance, is_measured)


def spread_records(data: PreparedData, count: int) -> list[int]:
    """Chooses records spread over the evaluation split, one a frame, if possible with scans.

    From frame to frame it is another of the frame's views.

    Args:
        data: A prepared folder.
        count: Maximum number of records.
    """
    split = data.info.evaluation_split
    frame_id = data.split_index(split).frame_id
    # Some more candidates than needed, so that scans are found without reading all of them.
    candidates = _evenly(first_views(data), 4 * count)
    with_scan = [record for record in candidates if data.scan(split, record) is not None]
    views = [
        np.flatnonzero(frame_id == frame_id[record])
        for record in _evenly(np.array(with_scan or candidates), count)
    ]
    return [int(records[place % len(records)]) for place, records in enumerate(views)]


def _evenly(records: Int[np.ndarray, " n"], count: int) -> list[int]:
    at = np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int)
    return records[at].tolist()
