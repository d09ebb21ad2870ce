"""Streams batches: input views with random target views of the same frame (paper section 6).

What is drawn at a position of the stream depends on the seed and the position alone, so that a
stream can start anywhere and be sliced for any number of processes.
"""

import logging
import sys
import threading
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import grain
import numpy as np
from jaxtyping import Int, UInt8

from dhm.data.augmentation import Augmentation, Backgrounds, InputView, augment
from dhm.data.depth_codec import DepthCodes
from dhm.data.prepared_data import PreparedData
from dhm.data.schema import HandRecord, SplitIndex
from dhm.errors import BadInputError, DamagedRecordError
from dhm.types import Batch, Camera

log = logging.getLogger(__name__)

# Each kind of random draw has a stream of its own.
_ORDER, _VIEWS, _AUGMENTATION = 0, 1, 2
_LOOKED_AT = 16  # records in which masks are looked for
PADDING = -1
"""`Batch.record` of the rows that pad the last batch of an ordered pass."""


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

    With `shuffle` the stream is endless: each epoch is a new permutation of the records, and
    batches may span epochs. Without it the records come once and in order; the last batch is padded
    with copies of the last record, marked by `record == PADDING` (-1).

    The slices of all processes, concatenated in the order of their indices, are the batches of a
    single process, and a stream that starts at step k equals one from 0 after k batches.

    A sample's target views are drawn among the views with depth of its frame (see `draw_views`). A
    frame without any gets its input view with an all-background map, on which the depth loss is
    zero.

    Args:
        prepared: A folder written by `data_prep.prepare`, or the opened folder.
        split: "train" or "test".
        batch_size: Global, over all processes.
        num_views: Target views C_out of each sample; 0 reads no depth.
        seed: Seed of the order, the target views and the augmentation.
        shuffle: Endless shuffled stream instead of one ordered pass.
        start_step: Global step to start from.
        process_index: This process.
        process_count: All processes; has to divide `batch_size`.
        num_threads: Threads that read and decode; 0 for the caller's own.
        prefetch_batches: Number of batches that are kept ready.
        augmentation: Limits of the changes of input images; none by default.
        target_stride: Only the first of every `target_stride` samples has target views; those of
            the others are not read. Must divide this process's slice.
        damaged_share: With `shuffle`, the share of the split's records that may be damaged. A
            damaged record is logged once and replaced by the next record, or by another view of
            the frame: always the same, so that streams stay reproducible.

    Raises:
        BadInputError: An argument is out of range, or the folder or that of the augmentation's
            backgrounds cannot be used.
        DamagedRecordError: While iterating: more records are damaged than `damaged_share` allows.
    """
    data = prepared if isinstance(prepared, PreparedData) else PreparedData(prepared)
    _check_sizes(batch_size, process_index, process_count, target_stride)
    for name, value in {"num_views": num_views, "seed": seed, "start_step": start_step}.items():
        if value < 0:
            raise BadInputError(name, f"{value}", "0 or more")
    local_size = batch_size // process_count
    tolerance = _Tolerance(damaged_share if shuffle else 0.0, len(data.split_index(split).frame))
    augmentation = augmentation or Augmentation()
    samples = _Samples(data, split, num_views, seed, shuffle, augmentation, tolerance)
    steps = max(num_batches(samples.num_records, batch_size) - start_step, 0)

    def sample(index: int) -> _Sample:
        step, k = divmod(index, local_size)
        position = global_position(start_step + step, k, batch_size, process_index, process_count)
        return samples.at(position, with_targets=k % target_stride == 0)

    options = grain.ReadOptions(
        num_threads=num_threads,
        prefetch_buffer_size=max(prefetch_batches * local_size, num_threads) if num_threads else 0,
    )
    return (
        grain.MapDataset.range(sys.maxsize if shuffle else steps * local_size)
        .map(sample)
        .to_iter_dataset(options, allow_nones=True)
        .batch(local_size, batch_fn=_stack)
    )


def num_batches(num_records: int, batch_size: int) -> int:
    """Returns the number of batches of one ordered pass."""
    return -(-num_records // batch_size)


def global_position(
    step: int, k: int, batch_size: int, process_index: int, process_count: int
) -> int:
    """Returns the stream position of the k-th sample of a process's slice of batch `step`."""
    local_size = batch_size // process_count
    return step * batch_size + process_index * local_size + k


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, num_records: int) -> Int[np.ndarray, " n"]:
    """Returns the order of the records in an epoch: a permutation."""
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(num_records)


def shuffled_record(seed: int, position: int, num_records: int) -> int:
    """Returns the record at a position of the endless stream; each epoch holds each record once."""
    epoch, k = divmod(position, num_records)
    return int(epoch_order(seed, epoch, num_records)[k])


def depth_views_by_frame(index: SplitIndex) -> tuple[Int[np.ndarray, " c"], ...]:
    """Returns the records with depth of each frame, by `frame_id`."""
    with_depth = np.flatnonzero(index.has_depth)
    ids = index.frame_id[with_depth]
    order = np.argsort(ids, kind="stable")
    bounds = np.searchsorted(ids[order], np.arange(1, index.frame_id.max(initial=-1) + 1))
    return tuple(np.split(with_depth[order], bounds))


def draw_views(
    views: Int[np.ndarray, " c"], num_views: int, seed: int, position: int
) -> Int[np.ndarray, " n"]:
    """Draws target views of a frame (paper section 6: C_out random views).

    Args:
        views: The frame's records with depth.
        num_views: Number of views to draw.
        seed: Seed of the stream.
        position: Position in the stream.

    Returns:
        `num_views` of `views`: different ones if there are enough, otherwise each equally often
        up to one. Empty if `views` is.
    """
    rng = np.random.default_rng((seed, _VIEWS, position))
    shuffled = rng.permutation(views)
    return np.resize(shuffled, num_views) if len(views) else shuffled


class _Sample(NamedTuple):
    """One sample before it is stacked; its depth maps are decoded straight into the batch.

    `targets` is None for a sample without target views (see `target_stride`).
    """

    own: HandRecord
    image: UInt8[np.ndarray, "h w 3"]
    targets: list[HandRecord] | None
    depths: list[DepthCodes]
    record: int


class _Tolerance:
    """The damaged records of a stream, of which a share is tolerated."""

    def __init__(self, share: float, num_records: int):
        self._share, self._num_records = share, num_records
        self._found: set[int] = set()
        self._lock = threading.Lock()

    def note(self, error: DamagedRecordError) -> None:
        """Logs a damaged record the first time.

        Raises:
            DamagedRecordError: There are more damaged records than tolerated.
        """
        with self._lock:
            is_new = error.record not in self._found
            self._found.add(error.record)
            if len(self._found) > self._share * self._num_records:
                raise error
            if is_new:
                log.warning(
                    "%s; another record replaces it (%d of %d records are damaged so far)",
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
        if augmentation.background and not self._shows_foreground():
            log.warning(
                "augment.background has no effect: the records of %s have neither masks nor depth "
                "maps to tell the hand from its background", data.root,
            )  # fmt: skip

    def _shows_foreground(self) -> bool:
        """Whether records have depth maps or, of a few that are looked at, a mask."""
        if self._index.has_depth.any():
            return True
        for record in np.linspace(0, self.num_records - 1, _LOOKED_AT).astype(int).tolist():
            try:
                if self._data.record(self._split, record).mask:
                    return True
            except DamagedRecordError:  # counted where it is drawn
                continue
        return False

    def at(self, position: int, with_targets: bool) -> _Sample:
        if self._shuffle:
            return self._shuffled(position, with_targets)
        if position < self.num_records:
            return self._load(position, position, with_targets)
        last = self._load(self.num_records - 1, position, with_targets)
        return last._replace(record=PADDING)

    def _shuffled(self, position: int, with_targets: bool) -> _Sample:
        record = shuffled_record(self._seed, position, self.num_records)
        # Damage that other samples found must not matter: its order depends on the threads.
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


def _stack(samples: list[_Sample]) -> Batch:
    images = np.stack([sample.image for sample in samples])
    groups = [sample.targets for sample in samples if sample.targets is not None]
    leading = (len(groups), len(groups[0]))
    targets = [target for group in groups for target in group]
    K = np.array([target.K for target in targets], np.float32)
    T = np.array([target.T_camera_world for target in targets], np.float32)
    # Depth maps are most of the bytes of a batch, and are decoded in place.
    depths = np.empty((len(targets), *images.shape[1:3]), np.float32)
    for codes, depth in zip((d for s in samples for d in s.depths), depths, strict=True):
        codes.fill(depth)
    return Batch(
        image=images,
        joints=np.stack([sample.own.joints for sample in samples]),
        joint_valid=np.stack([sample.own.joint_valid for sample in samples]),
        target_depth=depths.reshape(*leading, *images.shape[1:3]),
        target_camera=Camera(K.reshape(*leading, 3, 3), T.reshape(*leading, 4, 4)),
        frame=np.array([sample.own.frame for sample in samples], np.int32),
        record=np.array([sample.record for sample in samples], np.int32),
    )


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
