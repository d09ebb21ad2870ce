"""Prints the accuracy of placement and refinement: the figures of docs/prediction.md.

python -m tests.photos.accuracy                placement of synthetic hands
python -m tests.photos.accuracy runs/tiny      refinement on the toy capture's held-out pictures
"""

import sys
from pathlib import Path

import numpy as np

from data_prep.captures.release_capture import read_release_capture
from data_prep.studio.template.hand_template import hand_template
from dhm.data.crop import scale_matrix
from dhm.evidence.keypoints import Detection
from dhm.export.hand_files import placed_points
from dhm.formats.photo import read_photo
from dhm.networks.hand_model import inverse_bind_pose
from dhm.photos.locate import locate_hand
from dhm.photos.placement import place_hand
from dhm.photos.predictor import Predictor, Refinement, predict_hand
from tests.references.geometry import random_rotation

_K = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
_CAPTURE, _HELD_OUT = Path("data/toy_subject1"), "pinch"


def placement(num_hands: int = 200) -> None:
    """1 px of noise, 4 of 22 keypoints moved by about 100 px."""
    joints = np.linalg.inv(inverse_bind_pose(hand_template("coarse")))[:, :3, 3]
    rng, rows = np.random.default_rng(1), []
    for _ in range(num_hands):
        turn, at = random_rotation(rng, 1)[0], rng.uniform([-100, -100, 350], [100, 100, 900])
        points = (joints - joints.mean(axis=0)) @ turn.T + at
        pixels = points @ _K.T
        pixels = pixels[:, :2] / pixels[:, 2:] + rng.normal(0, 1, (len(joints), 2))
        pixels[rng.choice(len(joints), 4, replace=False)] += rng.normal(0, 100, (4, 2))
        T = place_hand(joints, pixels, np.ones(len(joints)), _K).T_camera_model
        cosine = (np.trace(T[:3, :3].T @ turn) - 1) / 2
        shift = T[:3, :3] @ joints.mean(axis=0) + T[:3, 3] - at
        rows.append((np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.linalg.norm(shift)))
    for share in (50, 99, 100):
        degrees, mm = np.percentile(rows, share, axis=0)
        print(f"{share} % of {num_hands} hands within {degrees:.1f} degrees, {mm:.1f} mm")


def refinement(workdir: Path) -> None:
    """P_err of predictions and refined ones, keypoints projected from the true joints."""
    predictor = Predictor(workdir / "export")
    refine, names = Refinement(predictor), predictor.template.joint_names
    capture = read_release_capture(_CAPTURE, 1)
    views = [view for view in capture.views if _HELD_OUT in view.sequence][::2]
    for noise in (0.0, 3.0):
        for title, adjust in (("predicted", None), ("refined", refine)):
            rng = np.random.default_rng(0)
            errors = [_errors(predictor, names, view, rng, noise, adjust) for view in views]
            mm, px = np.mean(errors, axis=0)
            print(
                f"{title}, {noise:g} px of noise, {len(views)} pictures: {mm:.1f} mm, {px:.1f} px"
            )


def _errors(predictor, names, view, rng, noise, adjust) -> tuple[float, float]:
    photo = read_photo(view.image_path)
    K = scale_matrix(view.K_size, photo.image.shape[:2]) @ view.K
    joints = view.joints @ view.T_camera_world[:3, :3].T + view.T_camera_world[:3, 3]
    pixels = joints @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:] + rng.normal(0, noise, (len(joints), 2))
    valid = np.flatnonzero(view.joint_valid)
    keypoints = {names[i]: (*pixels[i], 1.0) for i in valid}
    detection = Detection(None, keypoints, None, np.float64(K))
    located = locate_hand("", photo.image.shape[:2], detection, names, None, False)
    hand = predict_hand(predictor, photo, located, "", None, adjust).hand
    found = placed_points(hand.joints, hand)[valid]
    return _aligned_error(found, joints[valid]), hand.reprojection_error_px


def _aligned_error(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    U, _, Vt = np.linalg.svd(a.T @ b)
    turn = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    return float(np.linalg.norm(a @ turn - b, axis=1).mean())


if __name__ == "__main__":
    refinement(Path(sys.argv[1])) if len(sys.argv) > 1 else placement()
