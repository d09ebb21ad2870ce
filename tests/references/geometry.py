"""Slow, obvious float64 twins of dhm.geometry."""

import numpy as np
from scipy.spatial.transform import Rotation


def euler_matrix(euler):
    """R = Rz Ry Rx of one triple: rotations about the fixed axes x, then y, then z."""
    return Rotation.from_euler("xyz", euler).as_matrix()


def forward_kinematics(T_parent_joint, rotations, parents):
    """World transforms by recursion, for one pose."""

    def world(j):
        local = np.array(T_parent_joint[j], np.float64)
        spin = np.eye(4)
        spin[:3, :3] = rotations[j]
        return (np.eye(4) if parents[j] < 0 else world(parents[j])) @ local @ spin

    return np.stack([world(j) for j in range(len(parents))])


def linear_blend_skinning(vertices, weights, T_world_joint, T_joint_model):
    """Eq. 1, vertex by vertex and joint by joint."""
    out = np.zeros((len(vertices), 3))
    for v, vertex in enumerate(vertices):
        for j, weight in enumerate(weights[v]):
            moved = T_world_joint[j] @ T_joint_model[j] @ np.append(vertex, 1.0)
            out[v] += weight * moved[:3]
    return out


def random_rotation(rng, n):
    """N uniformly random rotation matrices."""
    return Rotation.random(n, random_state=rng).as_matrix()


def random_rig(rng, num_joints):
    """A random tree in which children often precede their parents, with random rest frames."""
    order = rng.permutation(num_joints)
    parents = [-1] * num_joints
    for i in range(1, num_joints):
        parents[order[i]] = int(order[rng.integers(i)])
    T = np.tile(np.eye(4), (num_joints, 1, 1))
    T[:, :3, :3] = random_rotation(rng, num_joints)
    T[:, :3, 3] = rng.normal(scale=40, size=(num_joints, 3))
    return tuple(parents), T
