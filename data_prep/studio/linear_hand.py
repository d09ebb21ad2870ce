"""A MANO-style linear model of the studio's hands: `python -m data_prep.studio.linear_hand FILE`.

It takes the place of MANO (Romero et al., "Embodied Hands", SIGGRAPH Asia 2017) for users without
MANO's licensed files: the same file format and parameters, 16 joints, ten shape and 135 pose
directions, learned by principal components and least squares from registered hands. The hands are
a population of the studio without its four subjects.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.optimize
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from data_prep.command import run
from data_prep.studio.anatomy.rig import pose_rig
from data_prep.studio.template.registration import Registration, population_member, random_pose
from dhm.errors import BadInputError
from dhm.formats.mano_pickle import write_mano
from dhm.formats.mano_side import RIGHT
from dhm.formats.paths import existing, require_writable_place
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES, MANO_JOINTS
from dhm.types import ManoModel

NUM_PERSONS, NUM_POSES, NUM_SHAPES = 64, 480, 10
_RIDGE = 0.02  # of the pose directions, relative to the mean square of a pose feature
_NEAREST = 40  # vertices around a joint that may contribute to its position
_SUM_WEIGHT = 1e3  # of the equation that a joint's vertex weights sum to 1
_ROOT = 0
_PARENTS = (-1, *(joint if joint % 3 else _ROOT for joint in range(15)))
# The joint that replaces one that this model lacks.
_MERGED_INTO = {"thumb0": "wrist"}


class _Posed(NamedTuple):
    """A registered hand in a pose.

    Attributes:
        rotations: Rotation of each joint but the root, relative to its parent and the rest pose.
        offsets: Displacement of the vertices by the pose, before skinning, mm.
        fitted: Whether each vertex lies on the skin, so that its offset is known.
    """

    rotations: Float[np.ndarray, "15 3 3"]
    offsets: Float[np.ndarray, "v 3"]
    fitted: Bool[np.ndarray, " v"]


def build_linear_hand(
    num_persons: int = NUM_PERSONS, num_poses: int = NUM_POSES, workers: int = 2
) -> ManoModel:
    """Registers a population at rest and in random poses, and fits the model to it.

    Args:
        num_persons: Number of hands at zero pose, more than `NUM_SHAPES`.
        num_poses: Number of hands in other poses, of these persons in turn.
        workers: Number of processes, which does not change the result.
    """
    # Spawned: JAX's threads do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_begin) as pool:
        rest = np.stack(_all(pool, _at_rest, range(num_persons), "hands at rest"))
        weights = _merged_weights(Registration().template.lbs_weights)
        joints = np.stack([_joints(number) for number in range(num_persons)])
        regressor = _joint_regressor(rest, joints)
        posed = partial(_pose, rest=rest, regressor=regressor, weights=weights)
        poses = _all(pool, posed, range(num_poses), "hands in poses")
    mean, shapedirs = _principal_components(rest)
    template = Registration().template
    features = np.stack([(pose.rotations - np.eye(3)).reshape(-1) for pose in poses])
    vectors = np.stack([Rotation.from_matrix(pose.rotations).as_rotvec() for pose in poses])
    hands_mean, components = _pose_components(vectors.reshape(len(poses), -1))
    return ManoModel(
        v_template=mean,
        shapedirs=shapedirs,
        posedirs=_pose_directions(features, poses),
        J_regressor=regressor,
        lbs_weights=weights,
        parents=_PARENTS,
        faces=template.faces,
        hands_components=components,
        hands_mean=hands_mean,
        tip_vertices=_tips(rest),
        side=RIGHT,
    )


def linear_hand(file: Path) -> Path:
    """Builds the model and writes it to a file, unless the file exists; returns the file."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        write_mano(partial, build_linear_hand())
        partial.replace(file)
    return file


_registration: Registration | None = None


def _begin() -> None:
    global _registration
    _registration = Registration()


def _all(pool: ProcessPoolExecutor, call: Callable, numbers: range, what: str) -> list:
    return list(tqdm(pool.map(call, numbers, chunksize=4), what, len(numbers)))


def _at_rest(number: int) -> Float[np.ndarray, "v 3"]:
    return _registration.at_rest(population_member(number))


def _joints(number: int) -> Float[np.ndarray, "16 3"]:
    frames = pose_rig(population_member(number), np.zeros(28))
    return frames[[JOINT_NAMES.index(name) for name in MANO_JOINTS], :3, 3]


def _pose(
    index: int,
    rest: Float[np.ndarray, "n v 3"],
    regressor: Float[np.ndarray, "16 v"],
    weights: Float[np.ndarray, "v 16"],
) -> _Posed:
    """Registers a person in a random pose, and undoes the linear model's skinning."""
    number = index % len(rest)
    person = population_member(number)
    theta = random_pose(np.random.default_rng(index))
    vertices, fitted = _registration.posed(person, rest[number], theta)
    turned = pose_rig(person, theta)[:, :3, :3]
    turned = turned @ np.swapaxes(pose_rig(person, np.zeros(28))[:, :3, :3], 1, 2)
    turned = turned[[JOINT_NAMES.index(name) for name in MANO_JOINTS]]
    rotations = np.stack(
        [turned[_PARENTS[joint]].T @ turned[joint] for joint in range(1, len(turned))]
    )
    joints = regressor @ rest[number]
    positions = joints.copy()
    for joint in range(1, len(joints)):
        parent = _PARENTS[joint]
        positions[joint] = positions[parent] + turned[parent] @ (joints[joint] - joints[parent])
    shift = positions - np.einsum("jab,jb->ja", turned, joints)
    blended = np.einsum("vj,jab->vab", weights, turned)
    unposed = np.linalg.solve(blended, (vertices - weights @ shift)[..., None])[..., 0]
    return _Posed(rotations, unposed - rest[number], fitted)


def _merged_weights(weights: Float[np.ndarray, "v 22"]) -> Float[np.ndarray, "v 16"]:
    merged = np.zeros((len(weights), len(MANO_JOINTS)))
    for column, name in zip(weights.T, JOINT_NAMES, strict=True):
        name = _MERGED_INTO.get(name, name).replace("_null", "3")
        merged[:, MANO_JOINTS.index(name)] += column
    return merged / merged.sum(axis=1, keepdims=True)


def _joint_regressor(
    rest: Float[np.ndarray, "n v 3"], joints: Float[np.ndarray, "n 16 3"]
) -> Float[np.ndarray, "16 v"]:
    """Fits convex weights of the vertices around each joint by non-negative least squares."""
    regressor = np.zeros((joints.shape[1], rest.shape[1]))
    for joint, row in enumerate(regressor):
        distance = np.linalg.norm(rest.mean(axis=0) - joints[:, joint].mean(axis=0), axis=1)
        chosen = np.argsort(distance)[:_NEAREST]
        equations = rest[:, chosen].transpose(0, 2, 1).reshape(-1, _NEAREST)
        equations = np.concatenate([equations, np.full((1, _NEAREST), _SUM_WEIGHT)])
        values = np.append(joints[:, joint].reshape(-1), _SUM_WEIGHT)
        row[chosen], _ = scipy.optimize.nnls(equations, values)
        row /= row.sum()
    return regressor


def _principal_components(
    rest: Float[np.ndarray, "n v 3"],
) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "v 3 s"]]:
    """Returns the mean and directions whose length is one standard deviation of the population."""
    mean = rest.mean(axis=0)
    centred = (rest - mean).reshape(len(rest), -1)
    _, lengths, rows = np.linalg.svd(centred, full_matrices=False)
    directions = rows[:NUM_SHAPES] * (lengths[:NUM_SHAPES] / np.sqrt(len(rest) - 1))[:, None]
    return mean, np.moveaxis(directions.reshape(NUM_SHAPES, *mean.shape), 0, -1)


def _pose_directions(
    features: Float[np.ndarray, "n 135"], poses: list[_Posed]
) -> Float[np.ndarray, "v 3 135"]:
    """Ridge regression of each vertex on the poses in which it was fitted."""
    offsets = np.stack([pose.offsets for pose in poses])
    fitted = np.stack([pose.fitted for pose in poses]).astype(float)
    size = features.shape[1]
    prior = _RIDGE * len(poses) * np.mean(features**2) * np.eye(size)
    result = np.zeros((*offsets.shape[1:], size))
    for vertex, known in enumerate(fitted.T):
        used = features * known[:, None]
        result[vertex] = np.linalg.solve(used.T @ features + prior, used.T @ offsets[:, vertex]).T
    return result


def _pose_components(
    vectors: Float[np.ndarray, "n 45"],
) -> tuple[Float[np.ndarray, " 45"], Float[np.ndarray, "45 45"]]:
    """Returns the mean of the axis-angle vectors and their principal directions, largest first."""
    mean = vectors.mean(axis=0)
    _, _, rows = np.linalg.svd(vectors - mean, full_matrices=True)
    return mean, rows


def _tips(rest: Float[np.ndarray, "n v 3"]) -> tuple[int, ...]:
    """Returns the vertex nearest to the end of each digit, on average over the population."""
    found = []
    for finger in FINGERS:
        joint = JOINT_NAMES.index(f"{finger}_null")
        frames = [pose_rig(population_member(n), np.zeros(28)) for n in range(len(rest))]
        ends = [T[joint, :3, 3] for T in frames]
        distance = np.linalg.norm(rest - np.array(ends)[:, None], axis=-1).mean(axis=0)
        found.append(int(distance.argmin()))
    return tuple(found)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code, see `data_prep.command`.
    """
    parser = argparse.ArgumentParser(prog="data_prep.studio.linear_hand", description=__doc__)
    parser.add_argument("file", type=Path, help="file to write, a .pkl")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    options = parser.parse_args(arguments)
    return run(lambda: _write(existing(options.file), options.workers))


def _write(file: Path, workers: int) -> None:
    """Builds the model and writes it.

    Raises:
        BadInputError: The file cannot be written, or there is no process to build it.
    """
    if workers < 1:
        raise BadInputError("workers", f"{workers}", "1 or more processes")
    require_writable_place("FILE", file)
    model = build_linear_hand(workers=workers)
    write_mano(file, model)
    print(f"{file}: {len(model.v_template)} vertices")


if __name__ == "__main__":
    sys.exit(main())
