"""Hands in correspondence: the coarse template fitted to persons and poses of the studio.

Each vertex is carried by its joints to where the person's bones are, then moved onto the person's
skin. So all hands have the same vertices, which is what a linear model is learned from.
"""

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.studio.anatomy.anatomy import Anatomy, pose_anatomy
from data_prep.studio.anatomy.field import FAR, blend_parts, part_distances
from data_prep.studio.anatomy.narrow_band import WRIST_CUT
from data_prep.studio.anatomy.parts import neighbours
from data_prep.studio.anatomy.proportions import Proportions, varied_proportions
from data_prep.studio.anatomy.rig import JOINT_LIMITS, pose_rig
from data_prep.studio.motion.poses import POSES, pose_angles
from data_prep.studio.template.hand_template import hand_template
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES
from dhm.types import HandTemplate

# How persons differ, as the studio's four subjects do: standard deviations of overall size and of
# stoutness, around the template's average hand.
_SIZE, _STOUTNESS = 0.08, 0.06
_SEED = 5000
_ROUNDS, _LONGEST_STEP = 4, 2.5
_ON_SKIN = 0.3
"""Distance in mm up to which a vertex counts as fitted; in folds some stay further away."""


def person(number: int) -> Proportions:
    """A person of the population, none of the studio's four subjects."""
    rng = np.random.default_rng(_SEED + number)
    size, stoutness = 1 + _SIZE * rng.normal(), 1 + _STOUTNESS * rng.normal()
    return varied_proportions(rng, size, stoutness, seed=_SEED + number)


def random_pose(rng: np.random.Generator) -> Float[np.ndarray, " 28"]:
    """Angles between two named poses, each finger at its own place, with noise, within limits.

    Parts may pass through each other: each vertex is fitted to its own part's skin.
    """
    one, other = (pose_angles(name) for name in rng.choice(sorted(POSES), 2, replace=False))
    share = np.repeat(rng.uniform(0, 1, len(FINGERS)), [8, 5, 5, 5, 5])
    theta = one + share * (other - one) + rng.normal(0, 0.08, 28)
    return np.clip(theta, *JOINT_LIMITS.T)


class Registration:
    """The coarse template, ready to be fitted.

    Attributes:
        template: The template, of the average hand at rest.
        part: The part of the hand that each vertex lies on, an index into PART_JOINTS.
    """

    def __init__(self) -> None:
        self.template: HandTemplate = hand_template("coarse")
        average = pose_anatomy(Proportions(), np.zeros(28))
        self.part: Int[np.ndarray, " v"] = part_distances(average.cones, self._vertices).argmin(
            axis=0
        )
        self._rest = pose_rig(Proportions(), np.zeros(28))

    @cached_property
    def _vertices(self) -> Float[np.ndarray, "v 3"]:
        return self.template.v_template.astype(float)

    @cached_property
    def _strangers(self) -> Bool[np.ndarray, "p v"]:
        return ~neighbours()[:, self.part]

    def at_rest(self, proportions: Proportions) -> Float[np.ndarray, "v 3"]:
        """The template on a person's hand at zero pose, in the hand's frame, mm."""
        anatomy = pose_anatomy(proportions, np.zeros(28))
        scaled = self._scaled_frames(proportions) @ np.linalg.inv(self._rest)
        vertices, _ = self._onto_skin(anatomy, _blended(self.template, scaled, self._vertices))
        return vertices

    def posed(
        self,
        proportions: Proportions,
        rest: Float[np.ndarray, "v 3"],
        theta: Float[np.ndarray, " 28"],
    ) -> tuple[Float[np.ndarray, "v 3"], Bool[np.ndarray, " v"]]:
        """A hand fitted at rest, carried into a pose, and which vertices lie on the skin there."""
        motion = pose_rig(proportions, theta) @ np.linalg.inv(pose_rig(proportions, np.zeros(28)))
        anatomy = pose_anatomy(proportions, theta)
        return self._onto_skin(anatomy, _blended(self.template, motion, rest))

    def _scaled_frames(self, proportions: Proportions) -> Float[np.ndarray, "j 4 4"]:
        """A person's rest frames, stretched along and across each bone against the average."""
        average = Proportions()
        frames = pose_rig(proportions, np.zeros(28)).copy()
        size = np.mean(np.divide(proportions.roots[1:], average.roots[1:])[:, 0])
        for joint, name in enumerate(JOINT_NAMES):
            along, across = size, proportions.thickness
            if name[-1] in "123":
                finger, bone = FINGERS.index(name[:-1]), int(name[-1])
                row = bone if finger == 0 else bone - 1
                along = proportions.lengths[finger][row] / average.lengths[finger][row]
                row = max(bone - 2, 0) if finger == 0 else bone - 1
                across = proportions.radii[finger][row] / average.radii[finger][row]
            frames[joint, :3, :3] = frames[joint, :3, :3] * (along, across, across)
        return frames

    def _onto_skin(
        self, anatomy: Anatomy, vertices: Float[np.ndarray, "v 3"]
    ) -> tuple[Float[np.ndarray, "v 3"], Bool[np.ndarray, " v"]]:
        """Damped Newton steps along the field's slope; the rim stays in the forearm's cut."""
        step, on_rim = 0.05, self._vertices[:, 0] < WRIST_CUT + 1e-3
        for _ in range(_ROUNDS):
            value = self._distance(anatomy, vertices)
            ends = (
                self._distance(anatomy, vertices + shift)
                - self._distance(anatomy, vertices - shift)
                for shift in step * np.eye(3)
            )
            slope = np.stack(list(ends), axis=1) / (2 * step)
            slope[on_rim, 0] = 0.0
            move = value[:, None] * slope / np.maximum((slope**2).sum(1, keepdims=True), 0.3)
            length = np.linalg.norm(move, axis=1, keepdims=True)
            vertices = vertices - move * np.minimum(1, _LONGEST_STEP / np.maximum(length, 1e-9))
        vertices[on_rim, 0] = WRIST_CUT
        return vertices, np.abs(self._distance(anatomy, vertices)) < _ON_SKIN

    def _distance(
        self, anatomy: Anatomy, points: Float[np.ndarray, "v 3"]
    ) -> Float[np.ndarray, " v"]:
        """To the skin of each vertex's own part and its neighbours, mm, negative inside."""
        distances = part_distances(anatomy.cones, points)
        return blend_parts(anatomy, points, np.where(self._strangers, FAR, distances)).astype(float)


def _blended(
    template: HandTemplate, motion: Float[np.ndarray, "j 4 4"], vertices: Float[np.ndarray, "v 3"]
) -> Float[np.ndarray, "v 3"]:
    blended = np.einsum("vj,jab->vab", template.lbs_weights.astype(float), motion)
    return np.einsum("vab,vb->va", blended[:, :3, :3], vertices) + blended[:, :3, 3]
