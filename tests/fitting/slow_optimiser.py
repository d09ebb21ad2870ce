"""The slow twin of the fit to joints: SciPy in float64, from many random starts."""

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from dhm.geometry.hand_rig import dof_indices, joint_limits

_STEP = 1e-6


class SlowFit:
    """Fits a rig's angles within their limits to joints, aligned by Kabsch.

    Any number of poses at once, for the sake of the finite differences.

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
        """Joints of poses [n 28] in the model's frame [n j 3]."""
        euler = np.zeros((len(theta), len(self.parents), 3))
        for slot, (joint, axis) in enumerate(self.dofs):
            euler[:, joint, axis] = theta[:, slot]
        turns = np.tile(np.eye(4), (*euler.shape[:2], 1, 1))
        turns[..., :3, :3] = (
            Rotation.from_euler("xyz", euler.reshape(-1, 3)).as_matrix().reshape(*euler.shape, 3)
        )
        frames: dict[int, np.ndarray] = {}

        def frame(joint):
            if joint not in frames:
                own = self.rest[joint] @ turns[:, joint]
                parent = self.parents[joint]
                frames[joint] = own if parent < 0 else frame(parent) @ own
            return frames[joint]

        return np.stack([frame(j)[:, :3, 3] for j in range(len(self.parents))], axis=1)

    def errors(self, theta, target, valid):
        """From the valid targets to the aligned joints, [n k 3]."""
        joints, points = self.joints(theta)[:, valid], target[valid]
        joints, points = joints - joints.mean(axis=1, keepdims=True), points - points.mean(axis=0)
        U, _, Vt = np.linalg.svd(np.einsum("ki,nkj->nij", points, joints))
        sign = np.ones((len(theta), 3))
        sign[:, 2] = np.linalg.det(U @ Vt)
        return np.einsum("nij,nkj->nki", (U * sign[:, None]) @ Vt, joints) - points

    def cost(self, theta, target, valid):
        """Sum of squared distances of one pose, mm^2."""
        return float((self.errors(theta[None], target, valid) ** 2).sum())

    def best(self, target, valid, starts):
        """Angles of the smallest cost that is found from any start."""

        def residuals(theta):
            return self.errors(theta[None], target, valid).ravel()

        def jacobian(theta):
            steps = _STEP * np.eye(len(theta))
            moved = self.errors(np.concatenate([theta + steps, theta - steps]), target, valid)
            ahead, behind = moved.reshape(2, len(theta), -1)
            return (ahead - behind).T / (2 * _STEP)

        ends = [
            least_squares(residuals, start, jacobian, bounds=(self.low, self.high), max_nfev=200).x
            for start in starts
        ]
        return min(ends, key=lambda theta: self.cost(theta, target, valid))
