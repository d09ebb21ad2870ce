"""Steps whose loss is not finite: saved, and computed again to find the term and samples."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization
from flax.errors import FlaxError
from jaxtyping import Array, Float

from dhm.errors import BadInputError, DhmError
from dhm.training.step import LossTerms, StepSpec, batch_means, loss_terms
from dhm.types import Batch, Camera

# Causes before effects.
_ORDER = (
    "joint_fitted", "joint", "depth", "penetration_rigid", "penetration_non_rigid", "laplacian",
    "total", "P_err",
)  # fmt: skip
_GRADIENT = "gradient"


class NonFiniteLossError(DhmError):
    """A loss or gradient became NaN or infinite; training stopped, the last checkpoint is kept."""


class Replay(NamedTuple):
    """A training step to be computed again.

    Attributes:
        step: Its number.
        variables: The model's variables before the step.
        batch: Its input, one process's part of the global batch.
        samples: Description of each sample, for messages.
    """

    step: int
    variables: dict[str, Any]
    batch: Batch
    samples: tuple[str, ...]


class Finding(NamedTuple):
    """The first value of a step that is not finite.

    Attributes:
        term: The first such term in the order of causes, or "gradient".
        value: NaN or infinity.
        samples: Indices of the samples with such a value; empty if it arises from several samples
            together.
    """

    term: str
    value: float
    samples: tuple[int, ...]


def write_replay(path: Path, replay: Replay) -> None:
    """Writes a step to a msgpack file.

    Raises:
        OSError: If it cannot be written.
    """
    batch = replay.batch._replace(target_camera=replay.batch.target_camera._asdict())._asdict()
    content = {
        "step": replay.step,
        "variables": jax.device_get(replay.variables),
        "batch": jax.tree.map(np.asarray, batch),
        "samples": list(replay.samples),
    }
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(serialization.msgpack_serialize(content))


def read_replay(path: Path) -> Replay:
    """Reads a step that `write_replay` wrote.

    Raises:
        BadInputError: If the file is missing, or holds no step.
    """
    expected = "a step that a training saved"
    try:
        content = serialization.msgpack_restore(path.read_bytes())
        batch = dict(content["batch"])
        batch["target_camera"] = Camera(**batch["target_camera"])
        return Replay(
            int(content["step"]), content["variables"], Batch(**batch), tuple(content["samples"])
        )
    except OSError as error:
        raise BadInputError(path, str(error.strerror), expected) from error
    except Exception as error:  # msgpack's own errors have no common base
        raise BadInputError(path, f"damaged content ({error})", expected) from error


def non_finite_loss(spec: StepSpec, replay: Replay, folder: Path) -> NonFiniteLossError:
    """Saves a step and returns an error that names its first value that is not finite.

    Raises:
        OSError: If it cannot be saved.
    """
    process = f"_process_{jax.process_index()}" if jax.process_count() > 1 else ""
    path = folder / f"step_{replay.step}{process}.msgpack"
    write_replay(path, replay)
    return NonFiniteLossError(
        f"step {replay.step}: {describe(find_non_finite(spec, replay), replay.samples)}; training "
        f"stopped, the last checkpoint is untouched. The step is in {path}: the same command with "
        f"--replay {path} shows its terms"
    )


def step_terms(spec: StepSpec, replay: Replay) -> LossTerms:
    """Computes the loss terms of a saved step.

    Raises:
        BadInputError: If its variables or batch do not fit the model.
    """
    try:
        terms_of = jax.jit(_on_one_device(spec, loss_terms))
        terms, _ = jax.device_get(terms_of(replay.variables, replay.batch))
    except (TypeError, ValueError, KeyError, FlaxError) as error:
        found = f"variables or a batch of other shapes ({error})"
        raise BadInputError("the saved step", found, "those of the config's model") from error
    return terms


def format_terms(terms: LossTerms, replay: Replay) -> str:
    """Lays out the terms of a saved step for a terminal, one line a sample."""
    width, names = max(map(len, replay.samples)), _in_order(terms)
    lines = [" ".join([" " * width, *(f"{name:>21}" for name in names)])]
    for index, sample in enumerate(replay.samples):
        mesh, rest = divmod(index, replay.batch.target_stride)
        row = {name: values[index] for name, values in terms.sample.items()}
        row |= {name: values[mesh] for name, values in terms.mesh.items() if rest == 0}
        cells = (f"{row[name]:>21.6g}" if name in row else " " * 21 for name in names)
        note = "" if terms.counts[index] else " does not count"
        lines.append(" ".join([f"{sample:{width}}", *cells, note]))
    return "\n".join(lines)


def _in_order(terms: LossTerms) -> list[str]:
    return sorted([*terms.sample, *terms.mesh], key=_ORDER.index)


def find_non_finite(spec: StepSpec, replay: Replay) -> Finding | None:
    """Finds the first term, or else the gradient, that is NaN or infinite.

    Terms of samples that do not count are ignored.

    Returns:
        The finding, None if the whole step is finite.

    Raises:
        BadInputError: If its variables or batch do not fit the model.
    """
    terms = step_terms(spec, replay)
    for name in _in_order(terms):
        if name in terms.sample:
            values, counts, stride = terms.sample[name], terms.counts, 1
        else:
            values, counts = terms.mesh[name], terms.mesh_counts
            stride = replay.batch.target_stride
        bad = np.flatnonzero(~np.isfinite(values) & counts)
        if len(bad):
            return Finding(name, float(values[bad[0]]), tuple((bad * stride).tolist()))
    variables, batch = replay.variables, replay.batch
    norm_of = jax.jit(partial(_gradient_norm, spec))
    norm = float(norm_of(variables, batch))
    if np.isfinite(norm):
        return None
    indices = range(len(batch.image))
    alone = [i for i in indices if not np.isfinite(norm_of(variables, _copies(batch, i)))]
    return Finding(_GRADIENT, norm, tuple(alone))


def describe(finding: Finding | None, samples: tuple[str, ...]) -> str:
    """Describes a finding in words, with at most three of its samples by name."""
    if finding is None:
        return "all terms and the gradient are finite when computed again"
    where = ", ".join(samples[index] for index in finding.samples[:3])
    more = len(finding.samples) - 3
    where += f" and {more} more" if more > 0 else ""
    return f"{finding.term} is {finding.value}" + (f" for {where}" if where else "")


def _gradient_norm(spec: StepSpec, variables: dict[str, Any], batch: Batch) -> Float[Array, ""]:
    def norm(spec, variables, batch):
        def loss(params):
            return batch_means(spec, variables | {"params": params}, batch)[0]["total"]

        return optax.tree.norm(jax.grad(loss)(variables["params"]))

    return _on_one_device(spec, norm)(variables, batch)


def _on_one_device(spec: StepSpec, function: Callable) -> Callable:
    """Binds a function of spec, variables and batch to a device axis of size one."""

    def call(variables, batch):
        sharded = jax.tree.map(lambda x: jnp.asarray(x)[None], batch)
        result = jax.vmap(partial(function, spec, variables), axis_name=spec.axis_name)(sharded)
        return jax.tree.map(lambda x: x[0], result)

    return call


def _copies(batch: Batch, index: int) -> Batch:
    """Copies of one sample; with all-background depth maps where it brings no target views."""
    stride = batch.target_stride

    def repeated(tree, at):
        return jax.tree.map(lambda x: np.repeat(x[at : at + 1], len(x), axis=0), tree)

    depth, camera = repeated((batch.target_depth, batch.target_camera), index // stride)
    own = repeated(batch._replace(target_depth=None, target_camera=None), index)
    depth = depth if index % stride == 0 else np.zeros_like(depth)
    return own._replace(target_depth=depth, target_camera=camera)
