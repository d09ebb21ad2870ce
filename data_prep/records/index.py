"""Builds the index of a prepared folder."""

import numpy as np

from data_prep.records.hand_dataset import PlannedView, WrittenView
from dhm.data.schema import Index, SplitIndex


def build_index(
    splits: dict[str, list[PlannedView]], written: dict[str, list[WrittenView]]
) -> Index:
    """Collects what has to be known of the records without reading them.

    Args:
        splits: The views of each split, in record order.
        written: What was written of them.
    """
    views = [planned.view for planned_views in splits.values() for planned in planned_views]
    sequences = tuple(sorted({view.sequence for view in views}))
    cameras = tuple(sorted({view.camera for view in views}))
    columns = {
        split: _index_split(planned, written[split], sequences, cameras)
        for split, planned in splits.items()
    }
    return Index(columns, sequences, cameras)


def _index_split(
    planned: list[PlannedView],
    written: list[WrittenView],
    sequences: tuple[str, ...],
    cameras: tuple[str, ...],
) -> SplitIndex:
    views = [view for view, _ in planned]
    sequence_id = np.array([sequences.index(view.sequence) for view in views], np.int32)
    frame = np.array([view.frame for view in views], np.int64)
    _, frame_id = np.unique(np.stack([sequence_id, frame]), axis=1, return_inverse=True)
    return SplitIndex(
        frame_id=frame_id.ravel().astype(np.int32),
        frame=frame,
        sequence_id=sequence_id,
        camera_id=np.array([cameras.index(view.camera) for view in views], np.int32),
        has_depth=np.array([view.has_depth for view in written]),
    )
