"""Registration of the coarse template to people and poses of the studio.

Each vertex follows its joints to the person's bones and is then projected onto the person's skin.
So all hands have the same vertices, as a linear model needs to be learned.
"""

import numpy as np
from jaxtyping import Bool, Float

from data_prep.studio.anatomy.anatomy import Anatomy, pose_anatomy
from data_prep.studio.anatomy.field import FAR, blend_parts, part_distances
from data_prep.studio.anatomy.narrow_band import WRIST_CUT
from data_prep.studio.anatomy.primitives import adjacent_parts
from data_prep.studio.anatomy.proportions import Proportions, varied_proportions
from data_prep.studio.anatomy.rig import JOINT_LIMITS, pose_rig
from data_prep.studio.motion.poses import POSES, pose_angles
from data_prep.studio.template.hand_template import hand_template, project_to_surface
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES
from dhm.types import HandTemplate

# Standard deviations of size and stoutness around the average hand, as large as among the studio's
# four subjects.
_SIZE, _STOUTNESS = 0.08, 0.06
_SEED = 5000
_ROUNDS, _LONGEST_STEP = 4, 2.5
_ON_SKIN = 0.3  # largest distance of a fitted vertex, mm; in folds some remain further away


def population_member(number: int) -> Proportions:
    """Returns the measures of a person who is none of the studio's four subjects."""
    rng = np.random.default_rng(_SEED + number)
    size, stoutness = 1 + _SIZE * rng.normal(), 1 + _STOUTNESS * rng.normal()
    return varied_proportions(rng, size, stoutness, seed=_SEED + number)


def random_pose(rng: np.random.Generator) -> Float[np.ndarray, " 28"]:
    """Returns a random mixture of two named poses, another for each digit, within the limits.

    Parts may penetrate each other: each vertex is fitted to the skin of its own part.
    """
    one, other = (pose_angles(name) for name in rng.choice(sorted(POSES), 2, replace=False))
    share = np.repeat(rng.uniform(0, 1, len(FINGERS)), [8, 5, 5, 5, 5])
    theta = one + share * (other - one) + rng.normal(0, 0.08, 28)
    return np.clip(theta, *JOINT_LIMITS.T)


class Registration:
    """Fits the coarse template to the skin of people.

    Attributes:
        template: The template, of the average hand at rest.
    """

    def __init__(self) -> None:
        self.template: HandTemplate = hand_template("coarse")
        self._vertices = self.template.v_template.astype(float)
        average = pose_anatomy(Proportions(), np.zeros(28))
        distances = part_distances(average.cones, self._vertices)
        self._non_adjacent = ~adjacent_parts()[:, distances.argmin(axis=0)]
        self._rest = pose_rig(Proportions(), np.zeros(28))

    def at_rest(self, proportions: Proportions) -> Float[np.ndarray, "v 3"]:
        """Returns the template fitted to a person's hand at zero pose, in the hand's frame, mm."""
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
        """Returns a hand that was fitted at rest, fitted in a pose.

        Args:
            proportions: Measures of the person.
            rest: The result of `at_rest`.
            theta: The pose, radians.

        Returns:
            The vertices in mm, and which of them lie on the skin.
        """
        motion = pose_rig(proportions, theta) @ np.linalg.inv(pose_rig(proportions, np.zeros(28)))
        anatomy = pose_anatomy(proportions, theta)
        return self._onto_skin(anatomy, _blended(self.template, motion, rest))

    def _scaled_frames(self, proportions: Proportions) -> Float[np.ndarray, "j 4 4"]:
        """A person's rest frames, scaled by each bone's length and thickness over the average."""
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
        """Projects vertices onto the skin, and tells which lie on it; the rim stays in the cut."""
        on_rim = self._vertices[:, 0] < WRIST_CUT + 1e-3
        vertices = project_to_surface(
            lambda points: self._distance(anatomy, points), vertices, on_rim, _ROUNDS, _LONGEST_STEP
        )
        vertices[on_rim, 0] = WRIST_CUT
        return vertices, np.abs(self._distance(anatomy, vertices)) < _ON_SKIN

    def _distance(
        self, anatomy: Anatomy, points: Float[np.ndarray, "v 3"]
    ) -> Float[np.ndarray, " v"]:
        """Signed distance to the skin of each vertex's part and the parts adjacent to it, mm."""
        distances = part_distances(anatomy.cones, points)
        distances[self._non_adjacent] = FAR
        return blend_parts(anatomy, points, distances).astype(float)


def _blended(
    template: HandTemplate, motion: Float[np.ndarray, "j 4 4"], vertices: Float[np.ndarray, "v 3"]
) -> Float[np.ndarray, "v 3"]:
    blended = np.einsum("vj,jab->vab", template.lbs_weights.astype(float), motion)
    return np.einsum("vab,vb->va", blended[:, :3, :3], vertices) + blended[:, :3, 3]
