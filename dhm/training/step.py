"""The training step (paper section 6): a pure function, and its pmap over devices."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from dhm.errors import BadInputError
from dhm.losses.objective import (
    ObjectiveSettings,
    ObjectiveTopology,
    objective,
    objective_topology,
    reduce_joint,
    rigid_penetration_term,
    weighted_total,
)
from dhm.losses.terms import joint_loss, skeleton_loss
from dhm.networks.hand_model import HandModel, decode_aligned, joints_aligned, mask_joints
from dhm.rendering import render_depth
from dhm.training.state import TrainState
from dhm.types import Batch

AXIS = "devices"
"""Name of the pmap axis that a batch is sharded over."""


class StepSpec(NamedTuple):
    """Static data of a training step, the same for all steps of a run.

    Attributes:
        model: The hand model.
        topology: Static data of the losses.
        settings: Weights and reductions of the losses.
        axis_name: pmap axis that the batch is sharded over, or None.
        mesh_pose: Pose of the meshes: "encoder", or "fitted" to the target joints.
        fixed_decoder: Whether the encoder alone is trained, by L_pose alone, with the output's
            bones at the lengths of the target's (section 8.4).
    """

    model: HandModel
    topology: ObjectiveTopology
    settings: ObjectiveSettings
    axis_name: str | None
    mesh_pose: str
    fixed_decoder: bool = False


def make_step_spec(
    model: HandModel,
    settings: ObjectiveSettings,
    axis_name: str | None = None,
    mesh_pose: str = "encoder",
    fixed_decoder: bool = False,
) -> StepSpec:
    """Builds the static data of the losses from the model's template."""
    topology = objective_topology(model.template)
    return StepSpec(model, topology, settings, axis_name, mesh_pose, fixed_decoder)


class LossTerms(NamedTuple):
    """Loss terms of a batch of b samples, of which the m with target views have meshes.

    Attributes:
        sample: Terms of all samples by name.
        mesh: Terms of the samples with meshes by name.
        counts: Whether a sample counts: enough of its joints are valid for the alignment.
        mesh_counts: The same of the samples with meshes.
    """

    sample: dict[str, Float[Array, " b"]]
    mesh: dict[str, Float[Array, " m"]]
    counts: Bool[Array, " b"]
    mesh_counts: Bool[Array, " m"]


def loss_terms(
    spec: StepSpec, variables: dict[str, Any], batch: Batch
) -> tuple[LossTerms, dict[str, Any]]:
    """Encodes and decodes a batch and computes its loss terms.

    Returns:
        The terms, and the encoder's new BatchNorm statistics.
    """
    theta, updates = spec.model.apply(
        variables, batch.image, train=True, method="encode", mutable=["batch_stats"]
    )
    batch = mask_joints(spec.model, batch)
    terms_of = _encoder_terms if spec.fixed_decoder else _hand_terms
    return terms_of(spec, variables, theta, batch), updates["batch_stats"]


def _hand_terms(
    spec: StepSpec, variables: dict[str, Any], theta: Float[Array, "b d"], batch: Batch
) -> LossTerms:
    """Terms of a step that trains the whole model.

    Meshes in a fitted pose have a term "joint_fitted", which trains the skeleton. Their fingers
    stand where the target's do and do not intersect: "penetration_rigid" is then of all samples,
    in the encoder's pose.
    """
    drawn = batch.with_targets()
    fitted = spec.mesh_pose == "fitted"
    pose = _fitted_pose(spec, variables, drawn) if fitted else theta[:: batch.target_stride]
    output, mesh_counts = decode_aligned(spec.model, variables, pose, drawn)
    size = drawn.target_depth.shape[-2:]
    faces = jnp.asarray(spec.model.template.faces, jnp.int32)
    with jax.named_scope("rasterize"):
        rendered = render_depth(output.vertices, faces, drawn.target_camera, size)
    mesh = objective(
        output, rendered, drawn.joints, drawn.joint_valid, drawn.target_depth,
        spec.topology, spec.settings,
    )  # fmt: skip
    joint_of_meshes = mesh.pop("joint")
    if not fitted and batch.target_stride == 1:
        sample = {"joint": joint_of_meshes, "P_err": _P_err(output.joints, batch)}
        return LossTerms(sample, mesh, mesh_counts, mesh_counts)
    # Fitted meshes train the skeleton; an unsure encoder would shorten its bones to err less.
    own = jax.lax.stop_gradient(variables) if fitted else variables
    joints, counts = joints_aligned(spec.model, own, theta, batch)
    sample = _joint_terms(joints, batch)
    if fitted:
        mesh["joint_fitted"] = joint_of_meshes
        zero = output.joints_zero[:1], output.v_zero[:1]  # of the subject: the same in all samples
        sample["penetration_rigid"] = rigid_penetration_term(
            joints, *zero, spec.topology.parts, spec.settings
        )
        del mesh["penetration_rigid"]
    return LossTerms(sample, mesh, counts, mesh_counts)


def _encoder_terms(
    spec: StepSpec, variables: dict[str, Any], theta: Float[Array, "b d"], batch: Batch
) -> LossTerms:
    """Terms of a step with a fixed decoder; makes no mesh, and reads no target views."""
    joints, counts = joints_aligned(spec.model, variables, theta, batch, bone_lengths=True)
    return LossTerms(_joint_terms(joints, batch), {}, counts, counts)


def _joint_terms(joints: Float[Array, "b j 3"], batch: Batch) -> dict[str, Float[Array, " b"]]:
    loss = joint_loss(joints, batch.joints, batch.joint_valid)
    joint = reduce_joint(loss, batch.joint_valid)
    return {"joint": joint, "P_err": _P_err(joints, batch)}


def _P_err(joints: Float[Array, "b j 3"], batch: Batch) -> Float[Array, " b"]:
    """Mean distance of the valid joints, mm, without a gradient."""
    distance = jnp.linalg.norm(jax.lax.stop_gradient(joints) - batch.joints, axis=-1)
    return reduce_joint(jnp.where(batch.joint_valid, distance, 0), batch.joint_valid)


def _fitted_pose(spec: StepSpec, variables: dict[str, Any], batch: Batch) -> Float[Array, "n d"]:
    """Angles that bring the current skeleton to the target joints, without a gradient."""
    with jax.named_scope("fit"):
        fixed = jax.lax.stop_gradient(variables)
        pose = spec.model.apply(fixed, batch.joints, batch.joint_valid, method="fit")
    return jax.lax.stop_gradient(pose.theta)


def batch_means(
    spec: StepSpec, variables: dict[str, Any], batch: Batch
) -> tuple[dict[str, Float[Array, ""]], Float[Array, ""], dict[str, Any]]:
    """The loss of one global batch, of which each device holds a shard.

    Returns:
        This device's share of each term's mean, the number of samples that count over all devices,
        and the encoder's new BatchNorm statistics.
    """
    if spec.fixed_decoder:
        params = variables["params"]
        fixed = jax.lax.stop_gradient(params) | {"encoder": params["encoder"]}
        variables = {**variables, "params": fixed}
    terms, batch_stats = loss_terms(spec, variables, batch)
    means, num_samples = _shares_of_means(terms, spec.axis_name)
    settings = spec.settings
    if spec.fixed_decoder:
        means["total"] = settings.joint * means["joint"]
        return means, num_samples, batch_stats
    # Of the means, not the mean of the samples' totals: the terms may be of different samples.
    of_one = {name: mean[None] for name, mean in means.items()}
    means["total"] = weighted_total(of_one, settings)[0]
    means["total"] += settings.joint * means.get("joint_fitted", 0.0)
    change = spec.model.apply(variables, method="skeleton_change")
    num_devices = _sum_over_devices(jnp.float32(1), spec.axis_name)
    means["skeleton"] = jnp.mean(skeleton_loss(change)) / num_devices
    means["total"] += settings.skeleton * means["skeleton"]
    return means, num_samples, batch_stats


def _shares_of_means(
    terms: LossTerms, axis_name: str | None
) -> tuple[dict[str, Float[Array, ""]], Float[Array, ""]]:
    """Shares of this device in the means over the samples that count, and their number."""
    counts = terms.counts, terms.mesh_counts
    numbers = jnp.stack([jnp.sum(kind.astype(jnp.float32)) for kind in counts])
    num_samples, num_meshes = _sum_over_devices(numbers, axis_name)

    def share(term, counts, number):
        return jnp.sum(jnp.where(counts, term, 0)) / jnp.maximum(number, 1)

    means = {name: share(x, terms.counts, num_samples) for name, x in terms.sample.items()}
    means |= {name: share(x, terms.mesh_counts, num_meshes) for name, x in terms.mesh.items()}
    return means, num_samples


def _sum_over_devices(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def train_step(
    state: TrainState, batch: Batch, spec: StepSpec
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """One update on one global batch, of which each device holds a shard.

    Once a term or the gradient is not finite, the state does not change any more.

    Samples with fewer than three valid alignment joints do not count in the losses; their images
    still enter BatchNorm's statistics.

    Args:
        state: Replicated over the devices.
        batch: This device's shard.
        spec: Static.

    Returns:
        The new state and, by name, the mean of every term over the global batch, "P_err" (mm),
        "grad_norm" and "dropped", the number of samples that did not count.
    """

    def loss(params):
        variables = {**state.variables, "params": params}
        means, num_samples, batch_stats = batch_means(spec, variables, batch)
        return means["total"], (means, num_samples, batch_stats)

    gradients, (means, num_samples, batch_stats) = jax.grad(loss, has_aux=True)(state.params)
    with jax.named_scope("update"):
        gradients, metrics = _sum_over_devices((gradients, means), spec.axis_name)
        metrics["grad_norm"] = optax.tree.norm(gradients)
        finite = jnp.all(jnp.isfinite(jnp.stack(list(metrics.values()))))
        after = state.apply_gradients(grads=gradients, batch_stats=batch_stats)
        after = after.replace(halted=jnp.logical_or(state.halted, ~finite))
        kept = state.replace(halted=after.halted)
        state = jax.tree.map(partial(jnp.where, after.halted), kept, after)
    size = _sum_over_devices(jnp.float32(len(batch.image)), spec.axis_name)
    return state, metrics | {"dropped": size - num_samples}


ParallelStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, Float[Array, ""]]]]


def axis_over(num_devices: int) -> str | None:
    """Name of the axis that a step on this many devices, of all processes, averages over.

    None for one: XLA's CPU backend copies what it sums, even over one device.
    """
    return AXIS if num_devices > 1 else None


def make_parallel_step(spec: StepSpec, devices: Sequence[jax.Device]) -> ParallelStep:
    """Compiles the step for devices: of states from `replicate` and host batches from `shard`.

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
    """Puts a tree on every device, placed as a step returns it, so that no step compiles twice.

    Arrays that are on a device already may be reused, and are deleted by the first step.
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
