"""An exported model applied to one photograph: crop, angles, refinement and placement."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from dhm.data.crop import crop_matrix, warp_image
from dhm.errors import BadInputError
from dhm.evidence.fitter import model_parts
from dhm.evidence.plausibility import (
    distance_doubt,
    keypoint_doubt,
    principal_point_doubt,
)
from dhm.export.hand_files import CAMERA, LEFT, MODEL, PredictedHand, mirror_transform
from dhm.export.package import CONFIG_FILE, load_model
from dhm.fitting.evidence import no_evidence
from dhm.fitting.evidence_fit import FitSettings, fit_evidence
from dhm.fitting.rig import HandPose
from dhm.formats.json_file import read_json
from dhm.formats.photo import Photo
from dhm.networks.compiled import compiled
from dhm.photos.doubts import contrast_doubt, focal_length_doubt
from dhm.photos.locate import LocatedHand, camera_intrinsics, mirror_picture
from dhm.photos.placement import NotPlaced, Placement, place_hand
from dhm.types import Camera, HandTemplate

CANONICAL_NOTE = "Not placed in the camera, shown in the canonical view: {}."
# One view leaves every joint's depth open: there the prediction decides. mm per radian.
_REFINEMENT = FitSettings(prior=8.0)


class CameraKeypoints(NamedTuple):
    """Keypoints of a right hand and the camera that sees them.

    Attributes:
        keypoints: Pixels, in the template's order.
        confidence: 0 for missing keypoints.
        K: Intrinsics.
    """

    keypoints: Float[np.ndarray, "j 2"]
    confidence: Float[np.ndarray, " j"]
    K: Float[np.ndarray, "3 3"]


class Prediction(NamedTuple):
    """A predicted hand.

    Attributes:
        hand: The hand.
        outlier: Keypoints that do not fit the placement, by joint.
    """

    hand: PredictedHand
    outlier: Bool[np.ndarray, " j"]


Adjust = Callable[[Float[np.ndarray, " d"], CameraKeypoints], Float[np.ndarray, " d"]]
"""Changes predicted angles, given the keypoints: a refinement, a filter over time."""


class Predictor:
    """An exported model, compiled at batch 1.

    Args:
        folder: Folder of the export.

    Raises:
        BadInputError: If a file is missing or damaged.
    """

    def __init__(self, folder: Path):
        model, variables = load_model(folder)
        self.model, self.variables = model, variables
        self.template: HandTemplate = model.template
        self.joint_mask = np.asarray(model.joint_mask)
        self.image_size = _image_size(folder / CONFIG_FILE)
        self._encode, self._decode = compiled(model, variables)
        self.decode(self.encode(self.blank_crop()))

    def blank_crop(self) -> UInt8[np.ndarray, "s s 3"]:
        """Returns a black picture of the encoder's size, to compile what it goes through."""
        return np.zeros((self.image_size, self.image_size, 3), np.uint8)

    def encode(self, crop: UInt8[np.ndarray, "s s 3"]) -> Float[np.ndarray, " d"]:
        """Returns the angles of the right hand in a crop, radians."""
        return np.asarray(self._encode(jnp.asarray(crop[None])))[0]

    def decode(
        self, theta: Float[np.ndarray, " d"]
    ) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "j 3"]]:
        """Returns vertices and joints in the model's frame, mm."""
        vertices, joints = self._decode(jnp.asarray(theta, jnp.float32)[None])
        return np.asarray(vertices)[0], np.asarray(joints)[0]

    def crop(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        low: Float[np.ndarray, " 2"],
        high: Float[np.ndarray, " 2"],
    ) -> UInt8[np.ndarray, "s s 3"]:
        """Cuts a rectangle out of a picture as the preparation of the training data does."""
        M_source_target = np.linalg.inv(crop_matrix(low, high, self.image_size))
        return warp_image(image, M_source_target, self.image_size)


def _image_size(path: Path) -> int:
    expected = "the config of the run, with data.image_size"
    data = read_json(path, expected).get("data")
    size = data.get("image_size") if isinstance(data, dict) else None
    if type(size) is not int or not 32 <= size <= 4096:
        raise BadInputError(path, f"data.image_size = {size!r}", expected)
    return size


def predict_hand(
    predictor: Predictor,
    photo: Photo,
    located: LocatedHand,
    source: str,
    focal_px: float | None = None,
    adjust: Adjust | None = None,
) -> Prediction:
    """Predicts a located hand and, if enough keypoints are known, places it in the camera.

    The model knows right hands: a left hand is predicted from the mirrored picture and mirrored
    back.

    Args:
        predictor: The model.
        photo: The upright picture.
        located: Where the hand is.
        source: Name of the picture, for the result.
        focal_px: Focal length of the command line, or None.
        adjust: Changes the angles before the hand is posed and placed.
    """
    known = located.confidence > 0
    K, K_source = camera_intrinsics(photo, located.K, focal_px)
    image, right = photo.image, located._replace(K=K)
    if located.side == LEFT:
        image, right = mirror_picture(image, right)
    picture = predictor.crop(image, right.low, right.high)
    theta = predictor.encode(picture)
    # Joints that the model lacks, such as a linear model's base of the thumb, place no hand.
    confidence = np.where(predictor.joint_mask, right.confidence, 0.0)
    keypoints = CameraKeypoints(right.keypoints, confidence, right.K)
    if adjust is not None:
        theta = adjust(theta, keypoints)
    vertices, joints = predictor.decode(theta)
    crop = [*located.low.tolist(), *(located.high - located.low).tolist()]
    hand = PredictedHand(
        vertices, joints, theta, side=located.side, source=source, details={"crop": crop}
    )
    doubts = [*located.doubts, contrast_doubt(picture)]
    placement = place_hand(joints, *keypoints)
    if isinstance(placement, NotPlaced):
        notes = (CANONICAL_NOTE.format(placement.reason), *located.notes)
        hand = hand._replace(frame=MODEL, notes=notes, doubts=tuple(filter(None, doubts)))
        return Prediction(hand, np.zeros(len(joints), bool))
    T = placement.T_camera_model
    doubts += [
        principal_point_doubt(K, photo.image.shape[:2]),
        focal_length_doubt(K, photo.image.shape[:2]),
        keypoint_doubt(placement.mean_error_px, located.keypoints[known]),
        distance_doubt(float((joints @ T[:3, :3].T + T[:3, 3])[:, 2].mean())),
    ]
    hand = hand._replace(
        doubts=tuple(filter(None, doubts)),
        frame=CAMERA,
        T_frame_model=mirror_transform(T) if located.side == LEFT else T,
        K=K,
        reprojection_error_px=placement.mean_error_px,
        notes=(f"Camera: {K_source}.", *located.notes),
        details=hand.details | _reprojection(placement, predictor.template.joint_names),
    )
    return Prediction(hand, placement.outlier)


def _reprojection(placement: Placement, names: tuple[str, ...]) -> dict[str, Any]:
    errors = zip(names, placement.errors_px.tolist(), strict=True)
    return {
        "reprojection_median_px": float(np.nanmedian(placement.errors_px)),
        "reprojection_px": {name: error for name, error in errors if np.isfinite(error)},
        "outliers": [name for name, out in zip(names, placement.outlier, strict=True) if out],
    }


class Refinement:
    """Fits predicted angles to the keypoints of one camera, staying near them (`--refine`).

    An `Adjust`.

    Args:
        predictor: The model.

    Raises:
        BadInputError: If it is no `HandModel`: a linear model has other angles.
    """

    def __init__(self, predictor: Predictor):
        parts = model_parts(predictor.model, predictor.variables)
        fit = partial(fit_evidence, parts.rig, settings=_REFINEMENT, spheres=parts.spheres)
        self._predictor = predictor

        def angles(evidence, starts: HandPose, prior: Float[Array, "1 d"]) -> Float[Array, "1 d"]:
            return fit(evidence, starts, prior_pose=prior).pose.theta

        self._angles = jax.jit(angles)
        self._compile()

    def _compile(self) -> None:
        """Fits the hand at rest to itself, so that the first picture does not wait."""
        K = np.array([[500.0, 0, 128], [0, 500, 128], [0, 0, 1]])
        theta = np.zeros_like(self._predictor.encode(self._predictor.blank_crop()))
        joints = self._predictor.decode(theta)[1]
        T = np.eye(4)
        T[:3, 3] = [0, 0, 500] - joints.mean(axis=0)
        pixels = (joints + T[:3, 3]) @ K.T
        keypoints = CameraKeypoints(pixels[:, :2] / pixels[:, 2:], np.ones(len(joints)), K)
        self._refined(theta, keypoints, T)

    def __call__(self, theta: Float[np.ndarray, " d"], keypoints: CameraKeypoints) -> np.ndarray:
        """Returns the refined angles, or the same ones if the hand cannot be placed."""
        placement = place_hand(self._predictor.decode(theta)[1], *keypoints)
        if isinstance(placement, NotPlaced):
            return theta
        return self._refined(theta, keypoints, placement.T_camera_model)

    def _refined(
        self,
        theta: Float[np.ndarray, " d"],
        keypoints: CameraKeypoints,
        T_camera_model: Float[np.ndarray, "4 4"],
    ) -> Float[np.ndarray, " d"]:
        T = jnp.asarray(T_camera_model, jnp.float32)
        known = keypoints.confidence[:, None] > 0
        evidence = no_evidence(1, len(known), num_cameras=1)._replace(
            keypoints=np.float32(np.where(known, keypoints.keypoints, 0))[None, None],
            keypoint_weight=np.float32(keypoints.confidence)[None, None],
            camera=Camera(
                np.float32(keypoints.K)[None, None], np.eye(4, dtype=np.float32)[None, None]
            ),
        )
        start = HandPose(jnp.asarray(theta)[None, None], T[None, None], jnp.ones((1, 1)))
        return np.asarray(self._angles(evidence, start, jnp.asarray(theta)[None])[0])
