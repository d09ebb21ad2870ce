"""Records to batches: input views with random target views of the same frame (paper section 6)."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np
from jaxtyping import Float, UInt8

from dhm.data.augmentation import Augmentation, InputView, augment
from dhm.data.backgrounds import Backgrounds
from dhm.data.depth_codec import DepthCodes
from dhm.data.prepared_data import PreparedData
from dhm.data.sampling import depth_views_by_frame, draw_views, global_position, shuffled_record
from dhm.data.schema import HandRecord
from dhm.errors import BadInputError, DamagedRecordError
from dhm.types import Batch, Camera

log = logging.getLogger(__name__)

# Keeps its draws apart from those of `sampling`, which are 0 and 1.
_AUGMENTATION = 2
PADDING = -1
"""`Batch.record` of the rows that fill up the last batch of an ordered pass."""


def make_dataset(
    prepared: str | Path | PreparedData,
    split: str,
    *,
    batch_size: int,
    num_views: int,
    seed: int,
    shuffle: bool,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 4,
    prefetch_batches: int = 2,
    augmentation: Augmentation | None = None,
    target_stride: int = 1,
    damaged_share: float = 0.0,
) -> Iterable[Batch]:
    """Streams this process's slice of each global batch, as NumPy arrays.

    With `shuffle` the stream never ends: epochs follow each other without a seam, each a new
    permutation of the records, so batches may be larger than the split. Without it the records
    come once and in order; the last batch is filled up with copies of the last record, marked by
    `record == PADDING` (-1).

    The sample at position i of the global stream depends on `seed` and i alone. The slices of
    all processes, concatenated in the order of their indices, are therefore the batches of a
    single process, and a stream that starts at step k goes on exactly where one from 0 would be.

    A sample's target views are drawn among the views with depth of its frame (see
    `sampling.draw_views`). A frame without any gets its input view with an all-background map,
    on which the depth loss is zero.

    Args:
        prepared: A folder written by `data_prep.prepare`, or one that is open already.
        split: "train" or "test".
        batch_size: Global, over all processes.
        num_views: Target views C_out of each sample; 0 reads no depth.
        seed: Of the order and of the target views.
        shuffle: Endless shuffled stream instead of one ordered pass.
        start_step: Global step to start from.
        process_index: This process.
        process_count: All processes; has to divide `batch_size`.
        num_threads: Threads that read and decode; 0 does it in the caller's.
        prefetch_batches: Batches that are kept ready.
        augmentation: How far input pictures may change; not at all by default.
        target_stride: Only the first of every so many samples brings target views; the others'
            are not even read. Divides this process's slice.
        damaged_share: With `shuffle`, how large a share of the split's records may be damaged.
            Such a record is logged once and its neighbour, or another view of the frame, taken
            instead: always the same, so that streams stay as reproducible as without damage.

    Raises:
        BadInputError: If an argument is impossible or the folder, or that of the augmentation's
            backgrounds, cannot be used.
        DamagedRecordError: While iterating, if more records are damaged than may be.
    """
    data = prepared if isinstance(prepared, PreparedData) else PreparedData(prepared)
    _check_sizes(batch_size, process_index, process_count, target_stride)
    for name, value in {"num_views": num_views, "seed": seed, "start_step": start_step}.items():
        if value < 0:
            raise BadInputError(name, f"{value}", "0 or more")
    local_size = batch_size // process_count
    position_of = partial(
        global_position,
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
    )
    tolerance = _Tolerance(damaged_share if shuffle else 0.0, len(data.split_index(split).frame))
    augmentation = augmentation or Augmentation()
    samples = _Samples(data, split, num_views, seed, shuffle, augmentation, tolerance)
    steps = max(num_batches(samples.num_records, batch_size) - start_step, 0)
    length = sys.maxsize if shuffle else steps * local_size
    stream = _Stream(samples, position_of, start_step, local_size, target_stride, length)
    options = grain.ReadOptions(
        num_threads=num_threads,
        prefetch_buffer_size=max(prefetch_batches * local_size, num_threads) if num_threads else 0,
    )
    return (
        grain.MapDataset.source(stream)
        .to_iter_dataset(options, allow_nones=True)
        .batch(local_size, batch_fn=_stack)
    )


def num_batches(num_records: int, batch_size: int) -> int:
    """Number of batches of one ordered pass."""
    return -(-num_records // batch_size)


class _Sample(NamedTuple):
    """One sample before it is stacked; the target views are still apart, to be copied once.

    `targets` is None where the sample brings none.
    """

    own: HandRecord
    image: UInt8[np.ndarray, "h w 3"]
    targets: list[HandRecord] | None
    depths: list[DepthCodes]
    record: int


class _Tolerance:
    """Damaged records so far, of which there may be a share."""

    def __init__(self, share: float, num_records: int):
        self._share, self._num_records = share, num_records
        self._found: set[int] = set()
        self._lock = threading.Lock()

    def note(self, error: DamagedRecordError) -> None:
        """Logs a record when it is met first.

        Raises:
            DamagedRecordError: If it is one too many.
        """
        with self._lock:
            is_new = error.record not in self._found
            self._found.add(error.record)
            if len(self._found) > self._share * self._num_records:
                raise error
            if is_new:
                log.warning(
                    "%s; it is passed over, %d of %d so far",
                    error, len(self._found), self._num_records,
                )  # fmt: skip


class _Samples:
    """The samples of a split by their position in the global stream."""

    def __init__(
        self,
        data: PreparedData,
        split: str,
        num_views: int,
        seed: int,
        shuffle: bool,
        augmentation: Augmentation,
        tolerance: _Tolerance,
    ):
        self._data, self._split, self._seed, self._shuffle = data, split, seed, shuffle
        self._num_views, self._augmentation = num_views, augmentation
        needed = augmentation.background or augmentation.occlusion
        self._backgrounds = Backgrounds(data.image_size, augmentation.backgrounds if needed else "")
        self._tolerance = tolerance
        self._index = data.split_index(split)
        self._views = depth_views_by_frame(self._index)
        self.num_records = len(self._index.frame)

    def at(self, position: int, with_targets: bool) -> _Sample:
        if self._shuffle:
            return self._shuffled(position, with_targets)
        if position < self.num_records:
            return self._load(position, position, with_targets)
        last = self._load(self.num_records - 1, position, with_targets)
        return last._replace(record=PADDING)

    def _shuffled(self, position: int, with_targets: bool) -> _Sample:
        record = shuffled_record(self._seed, position, self.num_records)
        # What other samples found out must not matter here: it depends on the order of threads.
        damaged: set[int] = set()
        while True:
            try:
                return self._load(record, position, with_targets, frozenset(damaged))
            except DamagedRecordError as error:
                self._tolerance.note(error)
                damaged.add(error.record)
                while record in damaged:
                    record = (record + 1) % self.num_records

    def _load(
        self, record: int, position: int, with_targets: bool, damaged: frozenset[int] = frozenset()
    ) -> _Sample:
        targets = self._targets(record, position, damaged) if with_targets else []
        fields = {r: self._data.record(self._split, r) for r in {record, *targets}}
        depths = {r: self._data.depth_codes(self._split, r, fields[r]) for r in set(targets)}
        return _Sample(
            own=fields[record],
            image=self._image(record, fields[record], position),
            targets=[fields[r] for r in targets] if with_targets else None,
            depths=[depths[r] for r in targets],
            record=record,
        )

    def _image(self, record: int, fields: HandRecord, position: int) -> UInt8[np.ndarray, "h w 3"]:
        image = self._data.decode_image(self._split, record, fields)
        if not self._augmentation.changes_anything:
            return image
        mask = None
        if self._augmentation.background:
            mask = self._data.decode_mask(self._split, record, fields)
        rng = np.random.default_rng((self._seed, _AUGMENTATION, position))
        view = InputView(image, mask, fields.K, fields.T_camera_world)
        return augment(view, self._augmentation, rng, self._backgrounds).image

    def _targets(self, record: int, position: int, damaged: frozenset[int]) -> list[int]:
        views = self._views[self._index.frame_id[record]]
        views = views[~np.isin(views, list(damaged))]
        targets = draw_views(views, self._num_views, self._seed, position).tolist()
        return targets or [record] * self._num_views


class _Stream:
    """The process's part of the stream, as grain wants a source: a length and an item."""

    def __init__(
        self,
        samples: _Samples,
        position_of: Callable[[int, int], int],
        start_step: int,
        local_size: int,
        target_stride: int,
        length: int,
    ):
        self._samples, self._position_of = samples, position_of
        self._start_step, self._local_size, self._length = start_step, local_size, length
        self._target_stride = target_stride

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> _Sample:
        step, k = divmod(index, self._local_size)
        position = self._position_of(self._start_step + step, k)
        return self._samples.at(position, with_targets=k % self._target_stride == 0)


def _stack(samples: list[_Sample]) -> Batch:
    images = np.stack([sample.image for sample in samples])
    depths = [depth for sample in samples for depth in sample.depths]
    groups = [sample.targets for sample in samples if sample.targets is not None]
    leading = (len(groups), len(groups[0]))
    targets = [target for group in groups for target in group]
    return Batch(
        image=images,
        joints=np.stack([sample.own.joints for sample in samples]),
        joint_valid=np.stack([sample.own.joint_valid for sample in samples]),
        target_depth=_depth_maps(depths, images.shape[1:3]).reshape(*leading, *images.shape[1:3]),
        target_camera=Camera(
            _matrices([target.K for target in targets], 3).reshape(*leading, 3, 3),
            _matrices([target.T_camera_world for target in targets], 4).reshape(*leading, 4, 4),
        ),
        frame=np.array([sample.own.frame for sample in samples], np.int32),
        record=np.array([sample.record for sample in samples], np.int32),
    )


def _depth_maps(depths: list[DepthCodes], shape: tuple[int, int]) -> Float[np.ndarray, "n h w"]:
    """Writes the maps to where they stay: of all that is read they are the most."""
    result = np.empty((len(depths), *shape), np.float32)
    for depth, place in zip(depths, result, strict=True):
        depth.fill(place)
    return result


def _matrices(matrices: list[np.ndarray], size: int) -> Float[np.ndarray, "n s s"]:
    return np.array(matrices, np.float32).reshape(-1, size, size)


def _check_sizes(
    batch_size: int, process_index: int, process_count: int, target_stride: int
) -> None:
    if process_count < 1 or not 0 <= process_index < process_count:
        raise BadInputError(
            "process_index", f"{process_index} of {process_count}", "an index below the count"
        )
    if batch_size < 1 or batch_size % process_count:
        raise BadInputError(
            "batch_size", f"{batch_size}", f"a positive multiple of {process_count} processes"
        )
    local_size = batch_size // process_count
    if target_stride < 1 or local_size % target_stride:
        raise BadInputError(
            "target_stride", f"{target_stride}", f"a divisor of the {local_size} samples a process"
        )
