"""One training step as a pure function (paper section 6)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

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


class StepSpec(NamedTuple):
    """What a step needs besides its state and batch; fixed for a run.

    Attributes:
        model: The hand model.
        topology: Static data of the losses.
        settings: Weights and reductions of the losses.
        axis_name: pmap axis that the batch is sharded over, or None.
        mesh_pose: Which pose the meshes take, "encoder" or "fitted" to the target joints.
        fixed_decoder: Whether the encoder alone learns, by L_pose alone, with the targets' bone
            lengths for the output (section 8.4).
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


def sample_terms(
    spec: StepSpec, variables: dict[str, Any], theta: Float[Array, "b d"], batch: Batch
) -> tuple[dict[str, Float[Array, " n"]], Bool[Array, " b"]]:
    """Every loss term of each sample, and which samples count.

    "joint" and "P_err" are there for all samples, what needs the mesh for those with target views
    alone. Meshes in a fitted pose bring a "joint_fitted" of their own, by which the skeleton
    learns; where they stand fingers do not meet, so "penetration_rigid" is then that of the
    encoder's hands, of all samples.
    """
    batch = mask_joints(spec.model, batch)
    stride = len(theta) // len(batch.target_depth)
    chosen = batch._replace(joints=batch.joints[::stride], joint_valid=batch.joint_valid[::stride])
    fitted = spec.mesh_pose == "fitted"
    pose = _fitted_pose(spec, variables, chosen) if fitted else theta[::stride]
    output, aligned = decode_aligned(spec.model, variables, pose, chosen)
    size = batch.target_depth.shape[-2:]
    faces = jnp.asarray(spec.model.template.faces, jnp.int32)
    with jax.named_scope("rasterize"):
        rendered = render_depth(output.vertices, faces, chosen.target_camera, size)
    terms = objective(
        output, rendered, chosen.joints, chosen.joint_valid, chosen.target_depth,
        spec.topology, spec.settings,
    )  # fmt: skip
    joints = output.joints
    if fitted:
        terms["joint_fitted"] = terms["joint"]
    if stride > 1 or fitted:
        # Fitted meshes teach the skeleton; an unsure encoder would shorten its bones to err less.
        own = jax.lax.stop_gradient(variables) if fitted else variables
        joints, aligned = joints_aligned(spec.model, own, theta, batch)
        loss = joint_loss(joints, batch.joints, batch.joint_valid)
        terms["joint"] = reduce_joint(loss, batch.joint_valid)
    if fitted:
        zero = output.joints_zero[:1], output.v_zero[:1]  # of the subject: the same in all samples
        terms["penetration_rigid"] = rigid_penetration_term(
            joints, *zero, spec.topology.parts, spec.settings
        )
    distance = jnp.linalg.norm(jax.lax.stop_gradient(joints) - batch.joints, axis=-1)
    distance = jnp.sum(jnp.where(batch.joint_valid, distance, 0), axis=-1)
    terms["P_err"] = distance / jnp.maximum(jnp.sum(batch.joint_valid, axis=-1), 1)
    return terms, aligned


def pose_terms(
    spec: StepSpec, variables: dict[str, Any], theta: Float[Array, "b d"], batch: Batch
) -> tuple[dict[str, Float[Array, " b"]], Bool[Array, " b"]]:
    """The terms of a step with a fixed decoder: "joint" and "P_err" at the targets' bone lengths.

    No mesh is made, so the batch needs no target views.
    """
    batch = mask_joints(spec.model, batch)
    joints, aligned = joints_aligned(spec.model, variables, theta, batch, bone_lengths=True)
    loss = joint_loss(joints, batch.joints, batch.joint_valid)
    distance = jnp.linalg.norm(jax.lax.stop_gradient(joints) - batch.joints, axis=-1)
    error = reduce_joint(jnp.where(batch.joint_valid, distance, 0), batch.joint_valid)
    return {"joint": reduce_joint(loss, batch.joint_valid), "P_err": error}, aligned


def _fitted_pose(spec: StepSpec, variables: dict[str, Any], batch: Batch) -> Float[Array, "n d"]:
    """Angles that bring the present skeleton to the target joints; no gradient runs into them."""
    with jax.named_scope("fit"):
        fixed = jax.lax.stop_gradient(variables)
        pose = spec.model.apply(fixed, batch.joints, batch.joint_valid, method="fit")
    return jax.lax.stop_gradient(pose.theta)


def _sum_over_devices(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def _weighted_means(
    terms: dict[str, Float[Array, " n"]],
    counts: Bool[Array, " b"],
    settings: ObjectiveSettings,
    axis_name: str | None,
) -> tuple[dict[str, Float[Array, ""]], Float[Array, ""]]:
    """The device's share of each term's mean over the samples that count, and their number."""
    means, totals = {}, {}
    for name, term in terms.items():
        used = counts[:: len(counts) // len(term)]
        if len(term) not in totals:
            total = _sum_over_devices(jnp.sum(used.astype(jnp.float32)), axis_name)
            totals[len(term)] = total
        means[name] = jnp.sum(jnp.where(used, term, 0)) / jnp.maximum(totals[len(term)], 1)
    # Of the means, not the mean of the samples' totals: the terms may be means of unlike samples.
    one = {name: mean[None] for name, mean in means.items()}
    if "depth" in means:
        total = weighted_total(one, settings)[0] + settings.joint * means.get("joint_fitted", 0.0)
    else:  # the decoder is fixed
        total = settings.joint * means["joint"]
    return means | {"total": total}, totals[len(counts)]


def encoded_terms(
    spec: StepSpec, variables: dict[str, Any], batch: Batch
) -> tuple[dict[str, Float[Array, " n"]], Bool[Array, " b"], Any]:
    """The terms of the angles that the encoder reads, with BatchNorm's new statistics."""
    theta, updates = spec.model.apply(
        variables, batch.image, train=True, method="encode", mutable=["batch_stats"]
    )
    terms_of = pose_terms if spec.fixed_decoder else sample_terms
    return *terms_of(spec, variables, theta, batch), updates["batch_stats"]


def batch_means(
    spec: StepSpec, variables: dict[str, Any], batch: Batch
) -> tuple[dict[str, Float[Array, ""]], Float[Array, ""], Any]:
    """The loss of one global batch, of which each device holds a shard.

    Returns:
        This device's share of each term's mean, the number of samples that count over all devices,
        and BatchNorm's new statistics.
    """
    if spec.fixed_decoder:
        params = variables["params"]
        fixed = jax.lax.stop_gradient(params) | {"encoder": params["encoder"]}
        variables = {**variables, "params": fixed}
    terms, counts, batch_stats = encoded_terms(spec, variables, batch)
    means, total = _weighted_means(terms, counts, spec.settings, spec.axis_name)
    if spec.fixed_decoder:
        return means, total, batch_stats
    change = spec.model.apply(variables, method="skeleton_change")
    num_devices = _sum_over_devices(jnp.float32(1), spec.axis_name)
    means["skeleton"] = jnp.mean(skeleton_loss(change)) / num_devices
    means["total"] += spec.settings.skeleton * means["skeleton"]
    return means, total, batch_stats


def train_step(
    state: TrainState, batch: Batch, spec: StepSpec
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """One update on one global batch, of which each device holds a shard.

    Where a term or the gradient is not finite there is no update, and none after it.

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
        means, total, batch_stats = batch_means(spec, variables, batch)
        return means["total"], (means, total, batch_stats)

    gradients, (means, total, batch_stats) = jax.grad(loss, has_aux=True)(state.params)
    with jax.named_scope("update"):
        gradients, metrics = _sum_over_devices((gradients, means), spec.axis_name)
        metrics["grad_norm"] = optax.tree.norm(gradients)
        finite = jnp.all(jnp.isfinite(jnp.stack(list(metrics.values()))))
        after = state.apply_gradients(grads=gradients, batch_stats=batch_stats)
        after = after.replace(halted=jnp.logical_or(state.halted, ~finite))
        kept = state.replace(halted=after.halted)
        state = jax.tree.map(partial(jnp.where, after.halted), kept, after)
    size = _sum_over_devices(jnp.float32(len(batch.image)), spec.axis_name)
    return state, metrics | {"dropped": size - total}
