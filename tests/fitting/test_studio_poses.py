"""The fit to joints of a studio's person, whose bones are not the template's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.anatomy.rig import pose_rig
from data_prep.studio.motion.motions import HELD_OUT_POSES
from data_prep.studio.motion.poses import pose_angles
from data_prep.studio.template.hand_template import hand_template
from dhm.fitting import fit_pose
from tests.fitting.slow_optimiser import SlowFit
from tests.references import geometry as twin

TEMPLATE = hand_template("coarse")
FLOOR_MM = 0.02


def _target():
    """Joints of the poses that only the gestures show, somewhere in the world."""
    joints = [pose_rig(subject(1), pose_angles(name))[:, :3, 3] for name in HELD_OUT_POSES]
    R = twin.random_rotation(np.random.default_rng(0), len(joints))
    return np.einsum("nij,nkj->nki", R, np.stack(joints)) + np.array([100, -900, 300])


@pytest.mark.slow
def test_every_pose_is_as_near_as_random_starts_of_a_slow_optimiser_get():
    target = _target()
    valid = np.ones(target.shape[:2], bool)
    rest, parents, names = TEMPLATE.T_parent_joint, TEMPLATE.parents, TEMPLATE.joint_names
    fit = jax.jit(lambda p, v: fit_pose(jnp.asarray(rest), parents, names, p, v))
    theta = np.float64(fit(jnp.float32(target), valid).theta)
    slow, rng = SlowFit(rest, parents, names), np.random.default_rng(1)
    for angles, points in zip(theta, target, strict=True):
        starts = rng.uniform(slow.low, slow.high, size=(4, 28))
        best = slow.best(points, valid[0], starts)
        ours, theirs = (
            np.sqrt(slow.cost(x, points, valid[0]) / 22)
            for x in (np.clip(angles, slow.low, slow.high), best)
        )
        assert theirs > 0.5  # another hand's bones do not fit
        assert ours < 1.05 * theirs + FLOOR_MM
