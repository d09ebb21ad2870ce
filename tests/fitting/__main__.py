"""Measures the fit on a capture of the studio: `python -m tests.fitting --help`.

    python -m tests.fitting --export runs/demo/export --capture data/studio_subject1_... --frames 15

Prints, for held-out frames: how far the fit to joints is from the best of a slow optimiser's random
starts; frames a second; and what depth maps, noise and keypoints change.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_prep.studio.stage.capture import held_out_sequences
from dhm.evaluation.metrics import mesh_error
from dhm.evidence.fitter import compiled_fit, model_parts
from dhm.export.package import load_model
from dhm.fitting import fit_pose
from dhm.fitting.evidence import (
    Evidence,
    depth_points,
    no_evidence,
    spread_sample,
    starts_from_joints,
)
from dhm.fitting.joint_fit import default_starts
from dhm.fitting.rig import posed_joints
from dhm.formats.npz import Arrays
from dhm.formats.ply import read_ply
from dhm.formats.release_annotations import read_depth_pickle, read_krt
from dhm.geometry.transforms import transform_points
from dhm.types import Camera
from tests.fitting.slow_optimiser import SlowFit

_POINTS, _VIEWS, _PIXELS, _MM = 1500, 4, 2.0, 3.0
_FLOOR_MM = 0.02  # of the root mean square distance, below which 5 % say nothing
_NOISES = 4


class Frames(NamedTuple):
    """Held-out frames of a capture.

    Attributes:
        root: The capture.
        subject: Whose.
        numbers: Of the frames.
        joints: True joints [f j 3], world mm.
        valid: Which of them the capture annotates [j].
    """

    root: Path
    subject: int
    numbers: list[int]
    joints: np.ndarray
    valid: np.ndarray


def held_out(root: Path, count: int) -> Frames:
    """Frames spread over the gestures."""
    folder = next((root / "truth").iterdir())
    lengths = Arrays(root / "motions.npz")
    tested = sum(len(lengths[f"{name}/theta"]) for name in held_out_sequences())
    files = sorted(folder.glob("*.npz"))[-tested:]
    files = [files[i] for i in np.linspace(0, len(files) - 1, count).round().astype(int)]
    truth = [Arrays(file) for file in files]
    valid = truth[0]["joint_names"] != "thumb0"
    joints = np.stack([t["joints"] for t in truth]).astype(np.float32)
    subject = int(folder.name.removeprefix("subject_"))
    return Frames(root, subject, [int(file.stem) for file in files], joints, valid)


def against_random_starts(frames: Frames, rig, names, starts: int, seed: int = 0) -> None:
    """Judges the residual of `fit_pose` frame by frame."""
    slow = SlowFit(rig.T_parent_joint, rig.parents, names)
    valid = np.broadcast_to(frames.valid, frames.joints.shape[:2])
    fit = jax.jit(lambda p, v: fit_pose(rig.T_parent_joint, rig.parents, names, p, v))
    found = np.asarray(fit(frames.joints, valid).theta, np.float64)
    rng, ratios, worst = np.random.default_rng(seed), [], []
    for theta, target in zip(found, frames.joints.astype(np.float64), strict=True):
        random = rng.uniform(slow.low, slow.high, size=(starts, len(slow.low)))
        best = slow.best(target, frames.valid, random)
        ours, theirs = (
            np.sqrt(slow.cost(x, target, frames.valid) / frames.valid.sum())
            for x in (np.clip(theta, slow.low, slow.high), best)
        )
        ratios.append(ours / theirs)
        worst.append(ours > 1.05 * theirs + _FLOOR_MM)
        print(f"  rms {ours:.4f} mm, best of {starts} random starts {theirs:.4f} mm", flush=True)
    print(f"ratio: median {np.median(ratios):.4f}, largest {np.max(ratios):.4f}; "
          f"{sum(worst)} of {len(worst)} frames above 1.05 x + {_FLOOR_MM} mm")  # fmt: skip


def speed(rig, names, joints: np.ndarray, batch: int = 256) -> None:
    """Frames a second of `fit_pose`."""
    fit = jax.jit(lambda p, v: fit_pose(rig.T_parent_joint, rig.parents, names, p, v))
    points = np.resize(joints, (batch, *joints.shape[1:]))
    valid = np.ones(points.shape[:2], bool)
    jax.block_until_ready(fit(points, valid))
    wall, cpu = time.perf_counter(), time.process_time()
    rounds = 5
    for _ in range(rounds):
        jax.block_until_ready(fit(points, valid))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{rounds * batch / wall:.0f} frames/s by the clock, "
          f"{2 * rounds * batch / cpu:.0f} by the time of two cores, batch of {batch}")  # fmt: skip


class Judge:
    """Fits evidence with a model and measures P_err and M_err on the frames."""

    def __init__(self, frames: Frames, model, variables):
        self.frames, self.parts = frames, model_parts(model, variables)
        self.faces = model.template.faces
        self._fit = compiled_fit(self.parts)
        self._starts = jax.jit(lambda e, t: starts_from_joints(self.parts.rig, e, t))
        self._decode = jax.jit(lambda *pose: model.apply(variables, *pose, method="decode"))

    def poses(self, evidence: Evidence):
        theta = default_starts(self.parts.rig)
        starts = self._starts(evidence, jnp.tile(theta, (len(evidence.joints), 1, 1)))
        return self._fit(evidence, starts).pose

    def P_err(self, pose) -> float:
        """Mean over the frames, of all joints."""
        joints = transform_points(pose.T_world_model, posed_joints(self.parts.rig, pose.theta))
        truth = np.resize(self.frames.joints, joints.shape)
        return float(np.linalg.norm(np.asarray(joints) - truth, axis=-1).mean())

    def M_err(self, pose) -> np.ndarray:
        """Of each frame."""
        vertices = np.asarray(self._decode(pose.theta, pose.T_world_model).vertices, np.float64)
        root = self.frames.root / "annotations/3D_scans_decimated"
        folder = root / f"subject_{self.frames.subject}"
        scans = [read_ply(folder / f"{number:06d}.ply") for number in self.frames.numbers]
        pairs = zip(vertices, scans, strict=True)
        return np.array([mesh_error(v, self.faces, *scan).M_err for v, scan in pairs])


def joints_evidence(joints: np.ndarray, valid: np.ndarray) -> Evidence:
    weights = np.broadcast_to(valid.astype(np.float32), joints.shape[:2])
    nothing = no_evidence(*joints.shape[:2])
    return nothing._replace(joints=joints.astype(np.float32), joint_weight=weights)


def with_depth(evidence: Evidence, frames: Frames, views: int = 2) -> Evidence:
    """The evidence and what some cameras' depth maps show."""
    cameras = read_krt(frames.root / "annotations" / "KRT_512")
    rows = []
    for number in frames.numbers:
        folder = frames.root / f"annotations/depthmaps/subject_{frames.subject}/{number:06d}"
        files = sorted(folder.glob("*.pkl"))
        chosen = np.linspace(0, len(files) - 1, views).round().astype(int)
        rows.append(_skin([files[i] for i in chosen], cameras))
    points, normals, weights = (np.stack(x).astype(np.float32) for x in zip(*rows, strict=True))
    return evidence._replace(points=points, normals=normals, point_weight=weights)


def _skin(files: list[Path], cameras: dict):
    seen = []
    for file in files:
        camera, depth = cameras[file.stem.removeprefix("depthmap")], read_depth_pickle(file)
        shrink = 512 / len(depth)
        K = np.diag([1 / shrink, 1 / shrink, 1]) @ camera.K
        seen.append(depth_points(depth.astype(float), K, camera.T_camera_world))
    points, normals = (np.concatenate(x) for x in zip(*seen, strict=True))
    chosen = spread_sample(points, _POINTS)
    rest = ((0, _POINTS - len(chosen)), (0, 0))
    weights = (np.arange(_POINTS) < len(chosen)).astype(float)
    return np.pad(points[chosen], rest), np.pad(normals[chosen], rest), weights


def keypoint_evidence(frames: Frames, rng: np.random.Generator) -> Evidence:
    """Keypoints of four cameras with noise."""
    cameras = list(read_krt(frames.root / "annotations" / "KRT_512").values())[:_VIEWS]
    K = np.stack([camera.K for camera in cameras])
    T = np.stack([camera.T_camera_world for camera in cameras])
    at = np.einsum("cij,fkj->fcki", T[:, :3, :3], frames.joints) + T[None, :, None, :3, 3]
    pixels = np.einsum("cij,fckj->fcki", K, at)
    pixels = pixels[..., :2] / pixels[..., 2:] + rng.normal(scale=_PIXELS, size=(*at.shape[:3], 2))
    size = len(frames.joints)
    weights = np.broadcast_to(frames.valid.astype(np.float32), pixels.shape[:3])
    every = Camera(*(np.tile(x, (size, 1, 1, 1)).astype(np.float32) for x in (K, T)))
    nothing = no_evidence(*frames.joints.shape[:2], _VIEWS)
    return nothing._replace(
        keypoints=pixels.astype(np.float32), keypoint_weight=weights, camera=every
    )


def compare(judge: Judge, rng: np.random.Generator) -> None:
    """Depth, noise and keypoints against true joints."""
    frames = judge.frames
    joints = joints_evidence(frames.joints, frames.valid)
    pose = judge.poses(joints)
    P_true, M_joints = judge.P_err(pose), judge.M_err(pose)
    print(
        f"true joints:          P_err {P_true:.3f} mm, M_err {M_joints.mean():.3f} mm", flush=True
    )
    pose = judge.poses(with_depth(joints, frames))
    P_err, M_err = judge.P_err(pose), judge.M_err(pose)
    print(f"and 2 depth views:    P_err {P_err:.3f} mm, M_err {M_err.mean():.3f} mm, lower in "
          f"{(M_err < M_joints).sum()} of {len(M_err)} frames", flush=True)  # fmt: skip
    many = np.tile(frames.joints, (_NOISES, 1, 1))
    noisy = joints_evidence(many + rng.normal(scale=_MM, size=many.shape), frames.valid)
    P_err = judge.P_err(judge.poses(noisy))
    print(f"{_MM:g} mm noise an axis:   P_err {P_err:.3f} mm, {P_err - P_true:+.3f}", flush=True)
    P_err = judge.P_err(judge.poses(keypoint_evidence(frames, rng)))
    print(f"{_VIEWS} views, {_PIXELS:g} px noise:  P_err {P_err:.3f} mm, {P_err - P_true:+.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fitting", description=__doc__)
    parser.add_argument("--export", type=Path, required=True, help="a trained model")
    parser.add_argument("--capture", type=Path, required=True, help="a capture of the studio")
    parser.add_argument("--frames", type=int, default=15, help="held-out frames")
    parser.add_argument("--starts", type=int, default=20, help="random starts; 0: none")
    options = parser.parse_args()
    frames = held_out(options.capture, options.frames)
    model, variables = load_model(options.export)
    judge = Judge(frames, model, variables)
    names = model.template.joint_names
    speed(judge.parts.rig, names, frames.joints)
    compare(judge, np.random.default_rng(0))
    if options.starts:
        against_random_starts(frames, judge.parts.rig, names, options.starts)


if __name__ == "__main__":
    main()
