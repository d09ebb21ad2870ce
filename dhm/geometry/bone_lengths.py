"""Joints of one hand at the bone lengths of another (paper section 8.4)."""

import itertools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dhm.geometry.kinematics import tree_levels

# Shorter vectors have no direction that could be kept: they stay as they are.
_SHORTEST_MM = 1e-3


class _Level(NamedTuple):
    """The joints at one distance from the root, with the reference that their children need.

    Attributes:
        moved: Joints after the adjustment.
        shift: How far it moved them.
        anchor: Nearest joint up the tree, the joint itself included, whose target is known: before
            the adjustment, after it, and the target.
        has_anchor: Whether there is one.
    """

    moved: Float[Array, "*b n 3"]
    shift: Float[Array, "*b n 3"]
    anchor: tuple[Float[Array, "*b n 3"], Float[Array, "*b n 3"], Float[Array, "*b n 3"]]
    has_anchor: Bool[Array, "*b n 1"]


def adjust_bone_lengths(
    joints: Float[Array, "*b j 3"],
    target: Float[Array, "*b j 3"],
    valid: Bool[Array, "*b j"],
    parents: tuple[int, ...],
) -> Float[Array, "*b j 3"]:
    """Gives every bone its target's length and keeps its direction.

    From the root outwards each joint is put on the line from its parent through itself, at the
    distance that the two have in the target. Where a target is missing, the bone from the nearest
    joint up the tree whose target is known takes the place of the bone from the parent; a joint
    without a target of its own, or with none up the tree, moves along with its parent.

    Args:
        joints: In any frame, mm.
        target: Joints of the hand whose bone lengths are wanted, in any frame, mm.
        valid: Which targets are known.
        parents: Parent of each joint, -1 for the root. Static.

    Returns:
        The joints, the root where it was. Differentiable in both hands, with finite gradients
        where a bone has no length: of such an output bone the direction is unknown, and it stays.
    """
    levels = tree_levels(parents)
    done = [_root(joints, target, valid, np.array(levels[0]))]
    for above, level in itertools.pairwise(levels):
        slots = np.array([above.index(parents[joint]) for joint in level])
        done.append(_next_level(done[-1], slots, joints, target, valid, np.array(level)))
    order = np.argsort(np.concatenate([np.array(level) for level in levels]))
    return jnp.concatenate([level.moved for level in done], axis=-2)[..., order, :]


def _root(joints: Array, target: Array, valid: Array, chosen: np.ndarray) -> _Level:
    own = joints[..., chosen, :]
    anchor = (own, own, target[..., chosen, :])
    return _Level(own, jnp.zeros_like(own), anchor, valid[..., chosen, None])


def _next_level(
    above: _Level, slots: np.ndarray, joints: Array, target: Array, valid: Array, chosen: np.ndarray
) -> _Level:
    own, wanted = joints[..., chosen, :], target[..., chosen, :]
    known = valid[..., chosen, None]
    before, after, of_target = (anchor[..., slots, :] for anchor in above.anchor)
    has_anchor = above.has_anchor[..., slots, :]
    bone, is_bone = own - before, known & has_anchor
    scaled = after + bone * _ratio(_length(wanted - of_target, is_bone), bone, is_bone)
    moved = jnp.where(is_bone, scaled, own + above.shift[..., slots, :])
    anchors = ((own, before), (moved, after), (wanted, of_target))
    anchor = tuple(jnp.where(known, mine, inherited) for mine, inherited in anchors)
    return _Level(moved, moved - own, anchor, known | has_anchor)


def _length(vector: Float[Array, "*b n 3"], used: Bool[Array, "*b n 1"]) -> Float[Array, "*b n 1"]:
    """Computes lengths; 0 with gradient 0 where not used or below `_SHORTEST_MM`."""
    squared = jnp.sum(vector**2, axis=-1, keepdims=True)
    used = used & (squared > _SHORTEST_MM**2)
    return jnp.where(used, jnp.sqrt(jnp.where(used, squared, 1.0)), 0.0)


def _ratio(
    wanted: Float[Array, "*b n 1"], bone: Float[Array, "*b n 3"], used: Bool[Array, "*b n 1"]
) -> Float[Array, "*b n 1"]:
    length = _length(bone, used)
    return jnp.where(length > 0, wanted / jnp.where(length > 0, length, 1.0), 1.0)
