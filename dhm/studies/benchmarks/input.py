"""Speed of the input pipeline alone."""

import itertools
import time
from pathlib import Path

from dhm.data.input_pipeline import make_dataset
from dhm.data.prepared_data import PreparedData
from dhm.studies.benchmarks.timing import BenchmarkRow, one_core


def benchmark_input(
    prepared: Path, *, batch_size: int = 32, views: int = 6, batches: int = 30
) -> list[BenchmarkRow]:
    """Counts the images a second that one thread on one core reads, decodes and stacks.

    Args:
        prepared: A folder written by `data_prep.prepare`.
        batch_size: Samples a batch.
        views: Target depth maps a sample.
        batches: How many are timed, after one that is not.
    """
    data = PreparedData(prepared)
    stream = iter(
        make_dataset(
            data, "train", batch_size=batch_size, num_views=views, seed=0, shuffle=True,
            num_threads=0,
        )
    )  # fmt: skip
    with one_core():
        next(stream)
        began = time.perf_counter()
        count = sum(len(batch.image) for batch in itertools.islice(stream, batches))
        rate = count / (time.perf_counter() - began)
    side = data.image_size
    name = f"input, {side}x{side}, {views} depth maps a sample, one core"
    return [BenchmarkRow(name, f"{rate:.0f} images/s", ">= 500 images/s", "", rate, "images/s")]
