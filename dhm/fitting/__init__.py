"""Poses of hands from evidence: 3D joints, 2D keypoints, depth maps and scans."""

from dhm.fitting.evidence import Evidence, no_evidence
from dhm.fitting.evidence_fit import FitSettings, FittedHand, fit_evidence, fit_sequence
from dhm.fitting.joint_fit import FittedPose, PoseSpace, fit_joints, fit_pose
from dhm.fitting.rig import HandPose

__all__ = [
    "Evidence",
    "FitSettings",
    "FittedHand",
    "FittedPose",
    "HandPose",
    "PoseSpace",
    "fit_evidence",
    "fit_joints",
    "fit_pose",
    "fit_sequence",
    "no_evidence",
]
