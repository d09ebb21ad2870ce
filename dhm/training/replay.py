"""A step whose loss was not finite: what in it was not, and the batch kept for another look."""

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
from jaxtyping import Array, Bool, Float

from dhm.errors import BadInputError, DhmError
from dhm.training.step import StepSpec, batch_means, encoded_terms
from dhm.types import Batch, Camera

# Causes before effects.
_ORDER = (
    "joint_fitted", "joint", "depth", "penetration_rigid", "penetration_non_rigid", "laplacian",
    "total", "P_err",
)  # fmt: skip
_GRADIENT = "gradient"


class NonFiniteLossError(DhmError):
    """A loss or gradient became NaN or infinite; training stopped, the last checkpoint stays."""


class Replay(NamedTuple):
    """A step to be looked at again.

    Attributes:
        step: Its number.
        variables: The model's variables before it.
        batch: What it was given, one process's part of the batch.
        samples: What each sample is, for messages.
    """

    step: int
    variables: dict[str, Any]
    batch: Batch
    samples: tuple[str, ...]


class Finding(NamedTuple):
    """What is not finite in a step.

    Attributes:
        term: The first term in the order of causes, or "gradient".
        value: What it is.
        samples: Indices of the samples of which it is so; empty if only all together do it.
    """

    term: str
    value: float
    samples: tuple[int, ...]


def write_replay(path: Path, replay: Replay) -> None:
    """Writes a step as msgpack.

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
    """Reads what `write_replay` wrote.

    Raises:
        BadInputError: If there is no such file, or it is not one.
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
    """Saves a step that was not finite and returns an error that names the culprit in it.

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


def step_terms(
    spec: StepSpec, replay: Replay
) -> tuple[dict[str, Float[np.ndarray, " n"]], Bool[np.ndarray, " b"]]:
    """`sample_terms` of a saved step, causes before effects.

    Raises:
        BadInputError: If its variables or batch do not fit the model.
    """
    try:
        terms_of = jax.jit(_on_one_device(spec, encoded_terms))
        terms, counts, _ = jax.device_get(terms_of(replay.variables, replay.batch))
    except (TypeError, ValueError, KeyError, FlaxError) as error:
        found = f"variables or a batch of other shapes ({error})"
        raise BadInputError("the saved step", found, "those of the config's model") from error
    return {name: terms[name] for name in sorted(terms, key=_ORDER.index)}, counts


def find_non_finite(spec: StepSpec, replay: Replay) -> Finding | None:
    """Looks for the first term, and then the gradient, that is NaN or infinite.

    Samples that do not count are left out.

    Returns:
        What was found, None if all of the step is finite.

    Raises:
        BadInputError: If its variables or batch do not fit the model.
    """
    terms, counts = step_terms(spec, replay)
    for term, values in terms.items():
        stride = len(counts) // len(values)
        bad = np.flatnonzero(~np.isfinite(values) & counts[::stride])
        if len(bad):
            return Finding(term, float(values[bad[0]]), tuple((bad * stride).tolist()))
    variables, batch = replay.variables, replay.batch
    norm_of = jax.jit(partial(_gradient_norm, spec))
    norm = float(norm_of(variables, batch))
    if np.isfinite(norm):
        return None
    indices = range(len(batch.image))
    alone = [i for i in indices if not np.isfinite(norm_of(variables, _copies(batch, i)))]
    return Finding(_GRADIENT, norm, tuple(alone))


def describe(finding: Finding | None, samples: tuple[str, ...]) -> str:
    """A finding in words, with at most three of its samples by name."""
    if finding is None:
        return "all terms and the gradient are finite when calculated again"
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
    """A function of spec, variables and batch, where a device axis of size one is all there is."""

    def call(variables, batch):
        sharded = jax.tree.map(lambda x: jnp.asarray(x)[None], batch)
        result = jax.vmap(partial(function, spec, variables), axis_name=spec.axis_name)(sharded)
        return jax.tree.map(lambda x: x[0], result)

    return call


def _copies(batch: Batch, index: int) -> Batch:
    """A batch of one sample alone; of all background where it brings no target views."""
    stride = len(batch.image) // len(batch.target_depth)

    def repeated(tree, at):
        return jax.tree.map(lambda x: np.repeat(x[at : at + 1], len(x), axis=0), tree)

    depth, camera = repeated((batch.target_depth, batch.target_camera), index // stride)
    own = repeated(batch._replace(target_depth=None, target_camera=None), index)
    depth = depth if index % stride == 0 else np.zeros_like(depth)
    return own._replace(target_depth=depth, target_camera=camera)
