"""Skinning weights of the template: labels by joint planes, diffused along the skin."""

import igl
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float, Int

from data_prep.studio.anatomy.field import smoothstep
from data_prep.studio.anatomy.primitives import PALM, digit_parts
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import digit_joints, rest_frames
from data_prep.studio.anatomy.skin import in_joint_frame, thumb_nearness
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES

MAX_INFLUENCES = 4
# Time of the diffusion, mm^2: half the variance of the blend across a joint. Around the thumb's
# base a narrow blend would fold the palm.
_NARROW, _WIDE = 20.0, 120.0
_LEAST = 0.01  # smaller weights are dropped


def skin_weights(
    proportions: Proportions,
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    part: Int[np.ndarray, " v"],
) -> Float[np.ndarray, "v 22"]:
    """Returns weights of at most four joints per vertex; rows sum to 1.

    Args:
        proportions: Measures of the hand.
        vertices: At rest in the hand's frame, mm.
        faces: Triangles of the mesh.
        part: Part of the hand of each vertex.
    """
    frames = rest_frames(proportions)
    labels = np.zeros((len(vertices), len(JOINT_NAMES)))
    labels[np.arange(len(vertices)), _labels(proportions, frames, vertices, part)] = 1.0
    stiffness = -igl.cotmatrix(vertices, faces.astype(np.int64))
    mass = igl.massmatrix(vertices, faces.astype(np.int64), igl.MASSMATRIX_TYPE_VORONOI)
    near_thumb = _diffused(_thumb_base(frames, vertices)[:, None], mass, stiffness, _NARROW)
    wide, narrow = (_diffused(labels, mass, stiffness, time) for time in (_WIDE, _NARROW))
    weights = np.clip(narrow + near_thumb * (wide - narrow), 0.0, None)
    weights[weights < _LEAST * weights.sum(axis=1, keepdims=True)] = 0.0
    weakest = np.argsort(-weights, axis=1, kind="stable")[:, MAX_INFLUENCES:]
    np.put_along_axis(weights, weakest, 0.0, axis=1)
    return weights / weights.sum(axis=1, keepdims=True)


def _labels(proportions, frames, vertices, part) -> Int[np.ndarray, " v"]:
    """The joint of each vertex if every vertex followed one joint."""
    label = np.full(len(vertices), JOINT_NAMES.index("wrist"))
    label = _thumb_labels(frames, vertices, part, label)
    for finger in FINGERS[1:]:
        half_width = proportions.radii[FINGERS.index(finger)][0] * 1.05
        x, _, z = in_joint_frame(vertices, frames[f"{finger}1"]).T
        mine = np.isin(part, digit_parts(finger))
        mine |= (part == PALM) & (x > 0) & (np.abs(z) < half_width)
        for joint in digit_joints(finger)[:-1]:
            beyond = mine & (in_joint_frame(vertices, frames[joint])[:, 0] > 0)
            label[beyond] = JOINT_NAMES.index(joint)
    return label


def _thumb_labels(frames, vertices, part, label) -> Int[np.ndarray, " v"]:
    """Adds the thumb's joints; in the palm they take what is nearest to the thumb's metacarpal."""
    label = label.copy()
    near = (part == PALM) & (thumb_nearness(frames, vertices) > 0)
    for joint in ("thumb0", "thumb1"):
        beyond = in_joint_frame(vertices, frames[joint])[:, 0] > 0
        label[near & beyond] = JOINT_NAMES.index(joint)
    on_thumb = np.isin(part, digit_parts("thumb"))
    label[on_thumb] = JOINT_NAMES.index("thumb1")
    for joint in ("thumb2", "thumb3"):
        beyond = in_joint_frame(vertices, frames[joint])[:, 0] > 0
        label[on_thumb & beyond] = JOINT_NAMES.index(joint)
    return label


def _thumb_base(frames, vertices) -> Float[np.ndarray, " v"]:
    """1 around the thumb's metacarpal, 0 beyond its next joint and far away."""
    x, y, z = in_joint_frame(vertices, frames["thumb1"]).T
    length = np.linalg.norm(frames["thumb2"][:3, 3] - frames["thumb1"][:3, 3])
    along = np.clip(x, -0.3 * length, 0.8 * length)
    distance = np.sqrt((x - along) ** 2 + y**2 + z**2)
    return np.clip(1.6 - distance / 28.0, 0.0, 1.0) * (1.0 - smoothstep((x / length - 0.45) / 0.35))


def _diffused(values, mass, stiffness, time: float) -> np.ndarray:
    """Two implicit steps of the heat equation."""
    solve = scipy.sparse.linalg.factorized((mass + time / 2 * stiffness).tocsc())
    for _ in range(2):
        values = np.stack([solve(column) for column in (mass @ values).T], axis=1)
    return values
