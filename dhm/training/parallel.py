"""The training step over all devices; the only file that knows pmap."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from dhm.errors import BadInputError
from dhm.training.state import TrainState
from dhm.training.step import StepSpec, train_step
from dhm.types import Batch

AXIS = "devices"


def axis_over(num_devices: int) -> str | None:
    """The axis that a step of so many devices, of all processes, averages over.

    None for one: XLA's CPU backend copies what it sums, even alone.
    """
    return AXIS if num_devices > 1 else None


ParallelStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Float[Array, ""]]]]


def make_parallel_step(spec: StepSpec, devices: Sequence[jax.Device]) -> ParallelStep:
    """A step on states from `replicate` and host batches from `shard`.

    The state is replicated without a leading device axis and its buffers are reused.
    """
    alone = len(devices) == jax.process_count() == 1
    assert alone or spec.axis_name == AXIS, "BatchNorm and the losses must average over the axis"
    return jax.pmap(
        partial(train_step, spec=spec),
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=None,
        devices=devices,
        donate_argnums=(0,),
    )


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """Puts a tree on every device, placed as a step returns it: so no step compiles twice.

    Arrays that are on a device already may be reused, and are gone after the first step.
    """
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec())
    if jax.process_count() > 1:  # else JAX would send one process's arrays to the others
        tree = jax.device_get(tree)
    return jax.device_put(tree, sharding)


def shard(batch: Batch, num_devices: int) -> Batch:
    """Splits this process's batch over its devices: [b ...] becomes [d b/d ...].

    Raises:
        BadInputError: If the batch does not divide evenly.
    """
    size = len(batch.image)
    if size % num_devices:
        raise BadInputError(
            "config.train.batch_size",
            f"{size} samples a process",
            f"a multiple of its {num_devices} devices",
        )
    return jax.tree.map(
        lambda x: x.reshape(num_devices, len(x) // num_devices, *x.shape[1:]), batch
    )
