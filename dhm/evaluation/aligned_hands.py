"""The loop over evaluated images: hands decoded in batches and aligned to their true joints."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from tqdm import tqdm

from dhm.data.input_pipeline import PADDING
from dhm.data.prepared_data import PreparedData
from dhm.data.schema import HandRecord
from dhm.errors import DhmError
from dhm.evaluation.metrics import joint_errors
from dhm.networks.hand_model import HandModel, decode_aligned
from dhm.types import Batch, Camera, HandOutput

_PREFETCH_BATCHES = 2

Step = Callable[[HandModel, dict[str, Any], Batch], tuple[Any, Bool[Array, " b"]]]
Decode = Callable[[Batch], tuple[Any, Bool[Array, " b"]]]
"""Both return hands, arrays with a leading batch axis, and which samples could be aligned."""


class AlignedHands(NamedTuple):
    """Hands of n records, decoded as a batch of b >= n samples.

    Attributes:
        records: Indices of the records in the evaluation split.
        fields: The stored records.
        batch: Their batch, filled up with copies of the last record.
        hands: The decoder's output, NumPy arrays with a leading axis of b.
        aligned: Whether a sample has enough valid joints for an alignment.
    """

    records: Sequence[int]
    fields: Sequence[HandRecord]
    batch: Batch
    hands: Any
    aligned: Bool[np.ndarray, " b"]

    def joint_errors(self, joints: Float[np.ndarray, "b j 3"]) -> Float[np.ndarray, " b"]:
        """P_err of aligned joints of the batch, mm."""
        return joint_errors(joints, self.batch.joints, self.batch.joint_valid)


def aligned_hands(
    decode: Decode,
    data: PreparedData,
    records: Sequence[int],
    *,
    batch_size: int | None = None,
    joint_mask: Bool[np.ndarray, " j"] | bool = True,
    images: bool = True,
    num_threads: int = 4,
    description: str = "",
) -> Iterator[AlignedHands]:
    """Decodes records of the evaluation split in batches of one size, in order.

    Args:
        decode: Compiled once, for the size of the batches.
        data: A prepared folder.
        records: Indices of the records.
        batch_size: Samples a batch; None for one batch of all records.
        joint_mask: Joints that the model has; the batches' other joints are not valid.
        images: Whether `decode` reads the images; without them the batches have none.
        num_threads: Threads that read records.
        description: Title of the progress bar; "" shows none.

    Raises:
        DhmError: If an aligned hand is NaN or infinite.
        BadInputError: If a record is damaged.
    """
    split = data.info.evaluation_split
    size = batch_size or max(len(records), 1)
    chunks = [records[start : start + size] for start in range(0, len(records), size)]
    loaded = _load(data, chunks, images, num_threads)
    bar = tqdm(loaded, description, len(chunks), unit="batch", disable=not description)
    for chunk, (fields, pictures) in zip(chunks, bar, strict=True):
        batch = make_batch(chunk, fields, pictures, size)
        batch = batch._replace(joint_valid=batch.joint_valid & joint_mask)
        hands, aligned = jax.device_get(decode(batch))
        for row, record in enumerate(chunk):
            finite = all(np.isfinite(leaf[row]).all() for leaf in jax.tree.leaves(hands))
            if aligned[row] and not finite:
                raise DhmError(f"the model gives NaN or infinity for {split} record {record}")
        yield AlignedHands(chunk, fields, batch, hands, aligned)


def _load(
    data: PreparedData, chunks: Sequence[Sequence[int]], images: bool, num_threads: int
) -> Iterator[tuple[list[HandRecord], list[np.ndarray]]]:
    """Yields the fields and images of each chunk; reads the next chunks meanwhile."""
    split = data.info.evaluation_split

    def load(record: int) -> tuple[HandRecord, np.ndarray | None]:
        fields = data.record(split, record)
        return fields, data.decode_image(split, record, fields) if images else None

    with ThreadPoolExecutor(max(num_threads, 1)) as pool:
        waiting: deque[list[Future]] = deque()
        for number in range(len(chunks) + _PREFETCH_BATCHES):
            if number < len(chunks):
                waiting.append([pool.submit(load, record) for record in chunks[number]])
            if number >= _PREFETCH_BATCHES:
                results = [future.result() for future in waiting.popleft()]
                pictures = [image for _, image in results if image is not None]
                yield [fields for fields, _ in results], pictures


def make_batch(
    records: Sequence[int],
    fields: Sequence[HandRecord],
    images: Sequence[np.ndarray] = (),
    size: int | None = None,
) -> Batch:
    """Builds a batch without target views, filled up with copies of the last record.

    Args:
        records: Indices of the records; `Batch.record` is `PADDING` for the copies.
        fields: The stored records.
        images: Their images; without any the batch has none.
        size: Of the batch, the number of records by default.
    """
    size = size or len(records)
    index = [min(row, len(records) - 1) for row in range(size)]
    pictures = [images[i] for i in index] if images else np.zeros((size, 0, 0, 3), np.uint8)
    return Batch(
        image=np.stack(pictures),
        joints=np.stack([fields[i].joints for i in index]).astype(np.float32),
        joint_valid=np.stack([fields[i].joint_valid for i in index]),
        target_depth=np.zeros((size, 0, 0, 0), np.float32),
        target_camera=Camera(*np.zeros((2, size, 0), np.float32)),
        frame=np.array([fields[i].frame for i in index], np.int32),
        record=np.array([*records, *[PADDING] * (size - len(records))], np.int32),
    )


def all_records(data: PreparedData) -> range:
    """Records of the evaluation split."""
    return range(len(data.split_index(data.info.evaluation_split).frame_id))


def first_views(data: PreparedData) -> Int[np.ndarray, " f"]:
    """First record of each frame of the evaluation split."""
    frame_id = data.split_index(data.info.evaluation_split).frame_id
    return np.unique(frame_id, return_index=True)[1]


def compile_step(step: Step, model: HandModel, variables: dict[str, Any]) -> Decode:
    """Compiles a step such as `eval_step` of a model with its variables."""
    compiled = jax.jit(lambda variables, batch: step(model, variables, batch))
    return partial(compiled, variables)


def eval_step(
    model: HandModel, variables: dict[str, Any], batch: Batch
) -> tuple[HandOutput, Bool[Array, " b"]]:
    """Hands with the encoder's angles, aligned to the batch's joints, and whether they could be."""
    theta = model.apply(variables, batch.image, method="encode")
    return decode_aligned(model, variables, theta, batch)


def fitted_step(
    model: HandModel, variables: dict[str, Any], batch: Batch
) -> tuple[HandOutput, Bool[Array, " b"]]:
    """As `eval_step`, with angles fitted to the batch's joints; reads no images."""
    theta = model.apply(variables, batch.joints, batch.joint_valid, method="fit").theta
    return decode_aligned(model, variables, theta, batch)
