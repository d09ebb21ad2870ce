"""Predicted angles made to fit the keypoints of the picture, too (`--refine`)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dhm.evidence.model_fit import model_parts
from dhm.fitting.evidence import no_evidence
from dhm.fitting.evidence_fit import FitSettings, fit_evidence
from dhm.fitting.rig import HandPose
from dhm.photos.placement import place_hand
from dhm.photos.predict_hand import Evidence
from dhm.photos.predictor import Predictor
from dhm.types import Camera

# One view leaves every joint's depth open: there the prediction decides. mm per radian.
_SETTINGS = FitSettings(prior=8.0)


class Refinement:
    """Fits angles and place to the keypoints, from the prediction on and near to it; an `Adjust`.

    Args:
        predictor: The model.

    Raises:
        BadInputError: If its decoder is none that can be fitted.
    """

    def __init__(self, predictor: Predictor):
        parts = model_parts(predictor.model, predictor.variables)
        fit = partial(fit_evidence, parts.rig, settings=_SETTINGS, spheres=parts.spheres)
        self._predictor = predictor

        def angles(evidence, starts: HandPose, prior: Float[Array, "1 d"]) -> Float[Array, "1 d"]:
            return fit(evidence, starts, prior_pose=prior).pose.theta

        self._angles = jax.jit(angles)

    def __call__(self, theta: Float[np.ndarray, " d"], evidence: Evidence) -> np.ndarray:
        """The angles; as they were where too few keypoints are known to place the hand."""
        joints = self._predictor.decode(theta)[1]
        placement = place_hand(joints, *evidence)
        if isinstance(placement, str):
            return theta
        T = jnp.asarray(placement.T_camera_model, jnp.float32)
        seen = evidence.confidence > 0
        keypoints = np.where(seen[:, None], evidence.keypoints, 0)
        given = no_evidence(1, len(joints), num_cameras=1)._replace(
            keypoints=np.float32(keypoints)[None, None],
            keypoint_weight=np.float32(evidence.confidence)[None, None],
            camera=Camera(
                np.float32(evidence.K)[None, None], np.eye(4, dtype=np.float32)[None, None]
            ),
        )
        start = HandPose(jnp.asarray(theta)[None, None], T[None, None], jnp.ones((1, 1)))
        return np.asarray(self._angles(given, start, jnp.asarray(theta)[None])[0])
