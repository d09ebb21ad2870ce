"""A hand made of tubes in the released rig, for measurements that have no capture and no download.

In the hand's frame the wrist is the origin, x points to the fingertips, y out of the palm and z to
the thumb. The x axis of every joint lies along its bone; a positive z rotation is flexion.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES
from dhm.types import HandTemplate

_WRIST = JOINT_NAMES.index("wrist")
# Coordinates are multiples of this, mm: the same on machines whose sines differ in the last bit.
_GRID = 2.0**-10


class _Digit(NamedTuple):
    """A finger's measures, mm and radians.

    Attributes:
        root: Position of its first joint.
        direction: Of its first bone.
        lengths: Of its bones.
        radii: Half-thickness at its root and at its tip.
    """

    root: tuple[float, float, float]
    direction: tuple[float, float, float]
    lengths: tuple[float, ...]
    radii: tuple[float, float]


_DIGITS = (
    _Digit((14, 4, 16), (0.72, 0.30, 0.62), (18, 44, 32, 28), (15, 8)),
    _Digit((90, -2, 24), (0.99, 0.0, 0.12), (43, 26, 22), (10.5, 7)),
    _Digit((91, -4, 2), (1.0, 0.0, 0.01), (48, 29, 24), (10.5, 7)),
    _Digit((85, -3, -19), (0.99, 0.0, -0.10), (45, 28, 24), (10, 6.5)),
    _Digit((76, 0, -37), (0.97, 0.0, -0.22), (36, 21, 20), (9, 6)),
)
# The palm: x from the forearm to the knuckles, half-thickness and half-width there.
_PALM = np.array([(-40, 18, 27), (0, 18, 28), (30, 18, 38), (70, 14, 43), (95, 10, 40)], float)


def procedural_hand(num_vertices: int = 12_500, flexion: float = 0.15) -> HandTemplate:
    """Returns a hand of about that many vertices and twice as many faces.

    Its parts are closed tubes that run into each other: a palm and five digits.

    Args:
        num_vertices: How many are wanted; 12,500 as in the released template.
        flexion: Angle at each joint of the four fingers in the zero pose, radians.
    """
    frames = _rest_frames(flexion)
    tubes, edge = [_palm(), *map(_straight_digit, _DIGITS)], 16.0
    while sum(_counts(tube, edge)[2] for tube in tubes) < num_vertices:
        edge *= 0.995
    vertices, faces, weights = [], [], []
    for part, tube in enumerate(tubes):
        points, triangles = _tube_mesh(tube, edge)
        bones = [] if part == 0 else _chain(FINGERS[part - 1])[:-1]
        influence = _influence(points[:, 0], _DIGITS[part - 1].lengths[:-1]) if part else None
        faces.append(triangles + sum(map(len, vertices)))
        weights.append(_columns(bones, influence, len(points)))
        vertices.append(points if part == 0 else _bent(points, part - 1, influence, frames))
    return HandTemplate(
        joint_names=JOINT_NAMES,
        parents=_parents(),
        T_parent_joint=_to_parents(frames).astype(np.float32),
        v_template=(np.round(np.concatenate(vertices) / _GRID) * _GRID).astype(np.float32),
        faces=np.concatenate(faces).astype(np.int32),
        lbs_weights=np.concatenate(weights).astype(np.float32),
        uvs=np.zeros((1, 2), np.float32),  # it has no texture
        faces_uv=np.zeros((sum(map(len, faces)), 3), np.int32),
    )


def _chain(finger: str) -> list[str]:
    """Returns a finger's joints from its root to its tip."""
    numbers = ("0", "1", "2", "3") if finger == "thumb" else ("1", "2", "3")
    return [*(finger + number for number in numbers), f"{finger}_null"]


def _parents() -> tuple[int, ...]:
    above = {"wrist": -1}
    for finger in FINGERS:
        for parent, name in pairwise(["wrist", *_chain(finger)]):
            above[name] = JOINT_NAMES.index(parent)
    return tuple(above[name] for name in JOINT_NAMES)


def _rest_frames(flexion: float) -> dict[str, Float[np.ndarray, "4 4"]]:
    """Returns the frame of each joint in the hand's frame, by name."""
    frames = {"wrist": np.eye(4)}
    for finger, digit in zip(FINGERS, _DIGITS, strict=True):
        x = np.array(digit.direction) / np.linalg.norm(digit.direction)
        # The thumb flexes across the palm, the fingers towards it.
        z = np.cross(x, (0.0, 0.5, -0.85) if finger == "thumb" else (0.0, 1.0, 0.0))
        z /= np.linalg.norm(z)
        rotation, position = np.stack([x, np.cross(z, x), z], axis=1), np.array(digit.root, float)
        angle = 0.15 if finger == "thumb" else flexion
        bend = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0],
                         [0, 0, 1]])  # fmt: skip
        for name, length in zip(_chain(finger), (*digit.lengths, 0.0), strict=True):
            if not name.endswith("_null"):
                rotation = rotation @ bend
            frames[name] = np.eye(4)
            frames[name][:3, :3], frames[name][:3, 3] = rotation, position
            position = position + rotation[:, 0] * length
    return frames


def _to_parents(frames: dict[str, np.ndarray]) -> Float[np.ndarray, "j 4 4"]:
    """Returns each joint's frame in its parent's."""
    world = np.stack([frames[name] for name in JOINT_NAMES])
    above = [np.eye(4) if parent < 0 else world[parent] for parent in _parents()]
    return np.linalg.inv(np.stack(above)) @ world


class _Tube(NamedTuple):
    """A closed surface around the x axis: half-measures along y and z at each x, mm."""

    x: Float[np.ndarray, " n"]
    half_y: Float[np.ndarray, " n"]
    half_z: Float[np.ndarray, " n"]


def _rounded(x: np.ndarray, caps: tuple[float, float]) -> np.ndarray:
    """Returns the factor that rounds both ends of a tube over the lengths of its caps."""
    inward = np.minimum((x - x[0]) / caps[0], (x[-1] - x) / caps[1]).clip(0, 1)
    return np.sqrt(1 - (1 - inward) ** 2)


def _palm() -> _Tube:
    x = -40 + 142 * (1 - np.cos(np.linspace(0, np.pi, 400))) / 2
    half_y, half_z = (np.interp(x, _PALM[:, 0], _PALM[:, column]) for column in (1, 2))
    factor = _rounded(x, (6, 12))
    return _Tube(x, half_y * factor, half_z * factor)


def _straight_digit(digit: _Digit) -> _Tube:
    """Returns a digit stretched along x, its first joint at the origin."""
    first, last = -digit.radii[0], sum(digit.lengths) + 1.5
    x = first + (last - first) * (1 - np.cos(np.linspace(0, np.pi, 400))) / 2
    radius = np.interp(x, (0, last), digit.radii)
    radius = radius * _rounded(x, (digit.radii[0], 1.3 * digit.radii[1]))
    return _Tube(x, radius, radius)


def _counts(tube: _Tube, edge: float) -> tuple[int, int, int]:
    """Returns rings, columns and vertices of a tube whose edges are about that long."""
    length = _arc(tube)[-1]
    girth = 2 * np.pi * np.sqrt((tube.half_y**2 + tube.half_z**2) / 2).max()
    rings, columns = max(4, round(length / edge)), max(6, round(girth / edge))
    return rings, columns, rings * columns + 2


def _arc(tube: _Tube) -> Float[np.ndarray, " n"]:
    """Returns the length of the tube's profile up to each of its points."""
    profile = np.stack([tube.x, (tube.half_y + tube.half_z) / 2])
    return np.append(0, np.cumsum(np.linalg.norm(np.diff(profile, axis=1), axis=0)))


def _tube_mesh(tube: _Tube, edge: float) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Returns rings of columns and a pole at each end; faces counter-clockwise from outside."""
    rings, columns, _ = _counts(tube, edge)
    arc = _arc(tube)
    x, half_y, half_z = (
        np.interp(np.linspace(0, arc[-1], rings + 2), arc, measure)[:, None] for measure in tube
    )
    angle = 2 * np.pi * np.arange(columns) / columns
    body = np.stack(np.broadcast_arrays(x, half_y * np.cos(angle), half_z * np.sin(angle)), -1)
    points = np.concatenate([body[1:-1].reshape(-1, 3), body[-1, :1], body[0, :1]])
    here = np.arange(rings * columns).reshape(rings, columns)
    beside = np.roll(here, -1, axis=1)
    end = np.full(columns, rings * columns)
    corners = [
        (here[:-1], beside[:-1], beside[1:]), (here[:-1], beside[1:], here[1:]),
        (here[-1], beside[-1], end), (beside[0], here[0], end + 1),
    ]  # fmt: skip
    return points, np.concatenate([np.stack(c, -1).reshape(-1, 3) for c in corners])


def _influence(x: Float[np.ndarray, " v"], lengths: tuple[float, ...]) -> Float[np.ndarray, "v k"]:
    """Returns the weight of each bone of a straight digit; bones blend within 8 mm of a joint."""
    passed = [np.ones_like(x)]
    for joint in np.cumsum(lengths):
        share = np.clip((x - joint) / 16 + 0.5, 0, 1)
        passed.append(share * share * (3 - 2 * share))
    return -np.diff([*passed, np.zeros_like(x)], axis=0).T


def _bent(
    points: np.ndarray, digit: int, influence: np.ndarray, frames: dict[str, np.ndarray]
) -> Float[np.ndarray, "v 3"]:
    """Returns a straight digit's points after its bones took their frames."""
    starts = np.append(0, np.cumsum(_DIGITS[digit].lengths))
    bent = np.zeros_like(points)
    for bone, name in enumerate(_chain(FINGERS[digit])[:-1]):
        local = points - [starts[bone], 0, 0]
        moved = local @ frames[name][:3, :3].T + frames[name][:3, 3]
        bent += influence[:, bone, None] * moved
    return bent


def _columns(
    bones: list[str], influence: np.ndarray | None, count: int
) -> Float[np.ndarray, "v j"]:
    """Returns skinning weights over all joints; what no bone moves follows the wrist."""
    weights = np.zeros((count, len(JOINT_NAMES)))
    if influence is None:
        weights[:, _WRIST] = 1
    else:
        weights[:, [JOINT_NAMES.index(bone) for bone in bones]] = influence
    return weights
