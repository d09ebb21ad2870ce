"""The evidence fit along a film: every frame starts from the one before as well."""

from functools import partial

import jax
import jax.numpy as jnp

from dhm.fitting.evidence import Evidence
from dhm.fitting.evidence_fit import DEFAULTS, FitSettings, FittedHand, fit_evidence
from dhm.fitting.penetration import BoneSpheres
from dhm.fitting.rig import HandPose, Rig
from dhm.fitting.surface import HandSurface


def fit_sequence(
    rig: Rig,
    evidence: Evidence,
    starts: HandPose,
    settings: FitSettings = DEFAULTS,
    *,
    surface: HandSurface | None = None,
    spheres: BoneSpheres | None = None,
) -> FittedHand:
    """`fit_evidence` of the frames of a film, each of which starts from the one before as well.

    What the evidence of a frame leaves open stays as it was: the prior's pose is the one before.

    Args:
        rig: As there.
        evidence: Of t frames in a row.
        starts: Poses [t n] to start from besides.
        settings: As there.
        surface: As there.
        spheres: As there.

    Returns:
        The best pose of each frame.
    """
    single = partial(fit_evidence, rig, settings=settings, surface=surface, spheres=spheres)

    def one(tree):
        return jax.tree.map(lambda x: x[None], tree)

    def follow(before: FittedHand, frame: tuple[Evidence, HandPose]):
        seen, starts = frame
        chosen = jax.tree.map(
            lambda a, b: jnp.concatenate([a[:, None], b[None]], axis=1), before.pose, starts
        )
        found = single(one(seen), chosen, prior_pose=before.pose.theta)
        return found, jax.tree.map(lambda x: x[0], found)

    first = single(*jax.tree.map(lambda x: x[:1], (evidence, starts)))
    rest = jax.tree.map(lambda x: x[1:], (evidence, starts))
    _, others = jax.lax.scan(follow, first, rest)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, others)
