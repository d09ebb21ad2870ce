"""Which record and which target views stand at each position of a stream; no input or output.

A position of a stream fixes its sample: what is drawn there depends on the seed and the position
alone, so a stream can start anywhere and be cut into slices for any number of processes.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Int

from dhm.data.schema import SplitIndex

# Keep the draws of the epochs' order and of the views apart.
_ORDER, _VIEWS = 0, 1


def global_position(step: int, k: int, batch_size: int, process_index: int, process_count: int):
    """Position in the stream of the k-th sample of a process's slice of batch `step`."""
    local_size = batch_size // process_count
    return step * batch_size + process_index * local_size + k


@lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, num_records: int) -> Int[np.ndarray, " n"]:
    """The order of the records in one epoch: a permutation."""
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(num_records)


def shuffled_record(seed: int, position: int, num_records: int) -> int:
    """The record at a position of the endless training stream; each epoch holds each one once."""
    epoch, k = divmod(position, num_records)
    return int(epoch_order(seed, epoch, num_records)[k])


def depth_views_by_frame(index: SplitIndex) -> tuple[Int[np.ndarray, " c"], ...]:
    """The records with depth of each frame, by `frame_id`."""
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
        num_views: How many to draw.
        seed: Seed of the stream.
        position: Position in the stream.

    Returns:
        `num_views` of `views`: different ones when there are enough, otherwise each as often as
        any other, give or take one. Empty when `views` is.
    """
    rng = np.random.default_rng((seed, _VIEWS, position))
    shuffled = rng.permutation(views)
    return np.resize(shuffled, num_views) if len(views) else shuffled
