"""The model's pose from evidence: 3D joints, 2D keypoints, depth maps, scans."""

from dhm.fitting.joints import FittedPose, PoseSpace, fit_joints, fit_pose

__all__ = ["FittedPose", "PoseSpace", "fit_joints", "fit_pose"]
