"""Slow, obvious float64 twins of dhm.losses, one loop a sum of the paper."""

import itertools

import numpy as np


def joint_loss(joints, target, valid):
    out = np.zeros(len(joints))
    for j in range(len(joints)):
        if valid[j]:
            out[j] = sum(abs(joints[j][axis] - target[j][axis]) for axis in range(3))
    return out


def depth_loss(rendered, target, beta):
    loss, mask = np.zeros(rendered.shape), np.zeros(rendered.shape, bool)
    for pixel in np.ndindex(rendered.shape):
        if rendered[pixel] > 0 and target[pixel] > 0:
            mask[pixel] = True
            e = abs(rendered[pixel] - target[pixel])
            loss[pixel] = e * e / (2 * beta) if e < beta else e - beta / 2
    return loss, mask


def laplacian_loss(vertices, faces):
    neighbours = [set() for _ in vertices]
    for face in faces:
        for a, b in itertools.permutations(face, 2):
            if a != b:
                neighbours[a].add(b)
    out = np.zeros(len(vertices))
    for v, around in enumerate(neighbours):
        if around:
            mean = sum(vertices[n] for n in around) / len(around)
            out[v] = np.sum((vertices[v] - mean) ** 2)
    return out


def spheres(joints, parents, v_zero, joints_zero, K):
    """Centres and radii of the K spheres of each bone, keyed (parent, joint)."""
    result = {}
    for child, parent in enumerate(parents):
        if parent < 0:
            continue
        both = []
        for k in range(K):
            t = k / (K - 1)
            c_zero = (1 - t) * joints_zero[parent] + t * joints_zero[child]
            radius = min(np.linalg.norm(c_zero - v) for v in v_zero)
            both.append(((1 - t) * joints[parent] + t * joints[child], radius))
        result[parent, child] = both
    return result


def rigid_penetration(spheres, at_rest=None):
    """Eq. 2: the sum over the unordered pairs of bones that share no joint.

    With the spheres at rest, only what is beyond their overlap.
    """
    total = 0.0
    for one, other in itertools.combinations(spheres, 2):
        if set(one) & set(other):
            continue
        pairs = itertools.product(spheres[one], spheres[other])
        rest = itertools.product(*((at_rest or spheres)[bone] for bone in (one, other)))
        for ((c, r), (c2, r2)), ((z, _), (z2, _)) in zip(pairs, rest, strict=True):
            free = max(r + r2 - np.linalg.norm(z - z2), 0) if at_rest else 0
            total += max(max(r + r2 - np.linalg.norm(c - c2), 0) - free, 0)
    return total


def non_rigid_penetration(spheres, tips, palm):
    """Eq. 3 and 4."""
    total = 0.0
    for bone in spheres:
        if bone[1] not in tips:
            continue
        d = [min(np.linalg.norm(c - v) for v in palm) for c, _ in spheres[bone]]
        r = [radius for _, radius in spheres[bone]]
        inside = [k for k in range(len(d)) if d[k] < r[k]]
        if inside:
            total += sum(abs(d[k] - r[k]) for k in range(inside[0], len(d)))
    return total
