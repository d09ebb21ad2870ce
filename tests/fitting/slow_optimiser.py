"""The slow twin of the fit to joints: SciPy in float64, from many random starts."""

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from dhm.geometry.hand_rig import dof_indices, joint_limits
from tests.references import geometry as twin


class SlowFit:
    """Fits a rig's angles within their limits to joints, aligned by Kabsch.

    Args:
        T_parent_joint: Rest transforms, mm.
        parents: Tree.
        joint_names: Names.
    """

    def __init__(self, T_parent_joint, parents, joint_names):
        self.rest, self.parents = np.asarray(T_parent_joint, np.float64), parents
        self.dofs = dof_indices(joint_names)
        self.low, self.high = joint_limits(joint_names)

    def joints(self, theta):
        """Joints in the model's frame."""
        euler = np.zeros((len(self.parents), 3))
        for value, (joint, axis) in zip(theta, self.dofs, strict=True):
            euler[joint, axis] = value
        rotations = [twin.euler_matrix(e) for e in euler]
        return twin.forward_kinematics(self.rest, rotations, self.parents)[:, :3, 3]

    def errors(self, theta, target, valid):
        """Vectors from the valid targets to the aligned joints."""
        joints, points = self.joints(theta)[valid], target[valid]
        centre, middle = joints.mean(axis=0), points.mean(axis=0)
        rotation, _ = Rotation.align_vectors(points - middle, joints - centre)
        return rotation.apply(joints - centre) - (points - middle)

    def cost(self, theta, target, valid):
        """Sum of squared distances, mm^2."""
        return float((self.errors(theta, target, valid) ** 2).sum())

    def best(self, target, valid, starts):
        """Angles of the smallest cost that is found from any start."""

        def residuals(theta):
            return self.errors(theta, target, valid).ravel()

        ends = [
            least_squares(residuals, start, bounds=(self.low, self.high), max_nfev=150).x
            for start in starts
        ]
        return min(ends, key=lambda theta: self.cost(theta, target, valid))
