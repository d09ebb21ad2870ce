"""A toy hand in the released rig: six tubes (palm, thumb, fingers) with skinning and UVs.

It bends like a hand, which is enough to exercise every stage. The palm is open at the forearm; the
other tubes are closed and begin inside it.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy.array_math import smoothstep
from data_prep.studio.anatomy.proportions import Proportions
from data_prep.studio.anatomy.rig import (
    axis_rotation,
    digit_joints,
    rest_frames,
    rest_transforms,
    rig_parents,
)
from data_prep.toy.tubes import (
    Digit,
    TubeGrid,
    digit_profile,
    digit_surface,
    palm_profile,
    palm_surface,
    profile_length,
    tube_faces,
    tube_uvs,
)
from dhm.geometry.hand_rig import FINGERS, JOINT_NAMES
from dhm.types import HandTemplate

_AVERAGE = Proportions(
    radii=(
        (16.0, 16.5, 11.8, 10.6, 8.2),
        (11.0, 9.6, 8.4, 6.8),
        (11.2, 9.8, 8.6, 7.0),
        (10.6, 9.2, 8.1, 6.6),
        (9.4, 8.0, 7.1, 5.8),
    ),
    splay=(0.12, 0.01, -0.10, -0.22),
    roll=(-0.10, 0.0, 0.10, 0.21),
)
# As in the released rig, the wrist's rest transform is not the identity and fingers are bent.
_WRIST_ANGLES = (0.25, -0.35, 0.45)
_WRIST_POSITION = (12.0, -8.0, 20.0)
_REST_FLEXION = (0.15, 0.22, 0.15)
_WRIST = JOINT_NAMES.index("wrist")
_MAX_INFLUENCES = 4
_ATLAS_COLUMNS, _ATLAS_ROWS, _ATLAS_MARGIN = 3, 2, 0.02
_STRETCH = 1.3  # length of an edge along a tube over one around it


def make_toy_template(num_vertices_target: int = 12500) -> HandTemplate:
    """Returns the average hand with about that many vertices (within 2 % from 3,000 on)."""
    return _make_hand(_AVERAGE, _choose_grids(num_vertices_target))


def make_toy_subject(seed: int, num_vertices_target: int = 12500) -> HandTemplate:
    """Returns a random person's hand with the topology of the template of that size."""
    proportions = _varied(_AVERAGE, seed)
    return _make_hand(proportions, _choose_grids(num_vertices_target))


def _varied(proportions: Proportions, seed: int) -> Proportions:
    """Returns another person's measures, each of which differs by up to 10 %."""
    rng = np.random.default_rng(seed)
    size, fat = rng.uniform(0.94, 1.06), rng.uniform(0.93, 1.07)

    def scaled(rows: tuple, factor: float) -> tuple:
        return tuple(tuple(x * factor * rng.uniform(0.97, 1.03) for x in row) for row in rows)

    return replace(
        proportions,
        lengths=scaled(proportions.lengths, size),
        radii=scaled(proportions.radii, fat),
        roots=scaled(proportions.roots, size),
        splay=tuple(angle + rng.uniform(-0.03, 0.03) for angle in proportions.splay),
        thickness=proportions.thickness * fat,
    )


def model_from_hand() -> Float[np.ndarray, "4 4"]:
    """Returns the rest transform of the wrist: T_model_hand."""
    T_model_hand = np.eye(4)
    x, y, z = (axis_rotation(axis, angle) for axis, angle in enumerate(_WRIST_ANGLES))
    T_model_hand[:3, :3], T_model_hand[:3, 3] = z @ y @ x, _WRIST_POSITION
    return T_model_hand


def _choose_grids(num_vertices_target: int) -> list[TubeGrid]:
    """Chooses the grids of palm and digits such that all edges are about equally long."""
    profiles = [palm_profile(_AVERAGE), *map(digit_profile, _digits(_AVERAGE))]
    measures = [(profile_length(*p)[-1], 2 * np.pi * p[1].max()) for p in profiles]

    def grids(edge: float) -> list[TubeGrid]:
        return [
            TubeGrid(max(6, round(length / edge / _STRETCH)), max(8, round(girth / edge)), tube > 0)
            for tube, (length, girth) in enumerate(measures)
        ]

    edges = np.geomspace(1.0, 15.0, 400)
    counts = np.array([sum(grid.num_vertices for grid in grids(edge)) for edge in edges])
    return grids(edges[np.abs(counts - num_vertices_target).argmin()])


def _digits(proportions: Proportions) -> list[Digit]:
    frames = rest_frames(proportions, _REST_FLEXION)
    return [
        Digit(np.stack([frames[joint] for joint in digit_joints(name)]), radii)
        for name, radii in zip(FINGERS, proportions.radii, strict=True)
    ]


def _make_hand(proportions: Proportions, grids: list[TubeGrid]) -> HandTemplate:
    frames = rest_frames(proportions, _REST_FLEXION)
    vertices = [palm_surface(proportions, grids[0])]
    weights = [_palm_weights(vertices[0], frames, proportions)]
    for name, digit, grid in zip(FINGERS, _digits(proportions), grids[1:], strict=True):
        surface, arc = digit_surface(digit, grid)
        vertices.append(surface)
        weights.append(_digit_weights(name, digit, arc))
    T_model_hand = model_from_hand()
    v_template = np.concatenate(vertices) @ T_model_hand[:3, :3].T + T_model_hand[:3, 3]
    uvs, faces_uv = _atlas(grids)
    return HandTemplate(
        joint_names=JOINT_NAMES,
        parents=rig_parents(),
        T_parent_joint=rest_transforms(frames, T_model_hand).astype(np.float32),
        v_template=v_template.astype(np.float32),
        faces=_joined([tube_faces(grid) for grid in grids], [len(v) for v in vertices]),
        lbs_weights=np.concatenate(weights).astype(np.float32),
        uvs=uvs.astype(np.float32),
        faces_uv=faces_uv,
    )


def _joined(parts: list[np.ndarray], sizes: list[int]) -> Int[np.ndarray, "f 3"]:
    offsets = np.cumsum([0, *sizes[:-1]])
    shifted = [part + offset for part, offset in zip(parts, offsets, strict=True)]
    return np.concatenate(shifted).astype(np.int32)


def _atlas(grids: list[TubeGrid]) -> tuple[np.ndarray, np.ndarray]:
    """Places the tubes' unit squares side by side, so that no two texels overlap."""
    cell = np.array([1 / _ATLAS_COLUMNS, 1 / _ATLAS_ROWS])
    placed, corners = [], []
    for index, grid in enumerate(grids):
        uvs, faces_uv = tube_uvs(grid)
        origin = np.array([index % _ATLAS_COLUMNS, index // _ATLAS_COLUMNS]) * cell
        placed.append(origin + _ATLAS_MARGIN + uvs * (cell - 2 * _ATLAS_MARGIN))
        corners.append(faces_uv)
    return np.concatenate(placed), _joined(corners, [len(uvs) for uvs in placed])


def _digit_weights(
    name: str, digit: Digit, arc: Float[np.ndarray, " v"]
) -> Float[np.ndarray, "v 22"]:
    """Blends from bone to bone along the digit, over about its thickness at each joint."""
    joints = [_WRIST, *map(JOINT_NAMES.index, digit_joints(name)[:-1])]
    reached = [np.ones_like(arc)]
    for station, radius in zip(digit.stations[:-1], digit.radii[:-1], strict=True):
        width = 1.6 * radius if len(reached) > 1 else 2.0 * radius
        reached.append(smoothstep((arc - station) / width + 0.5))
    weights = np.zeros((len(arc), len(JOINT_NAMES)))
    # The differences of consecutive steps sum to 1 along the chain.
    for joint, here, beyond in zip(joints, reached, [*reached[1:], 0.0], strict=True):
        weights[:, joint] = np.maximum(here - beyond, 0.0)
    return _strongest(weights)


def _palm_weights(
    vertices: Float[np.ndarray, "v 3"], frames: dict[str, np.ndarray], proportions: Proportions
) -> Float[np.ndarray, "v 22"]:
    """The palm follows the wrist, and near knuckles and thumb's base in part their joints."""
    weights = np.zeros((len(vertices), len(JOINT_NAMES)))
    for finger, name in enumerate(FINGERS[1:], start=1):
        T = frames[f"{name}1"]
        x, _, z = ((vertices - T[:3, 3]) @ T[:3, :3]).T
        near = np.exp(-((z / proportions.radii[finger][0]) ** 2))
        weights[:, JOINT_NAMES.index(f"{name}1")] = 0.7 * smoothstep((x + 12.0) / 24.0) * near
    start, end = frames["thumb1"][:3, 3], frames["thumb2"][:3, 3]
    along = np.clip((vertices - start) @ (end - start) / np.sum((end - start) ** 2), 0.0, 1.0)
    distance = np.linalg.norm(vertices - start - along[:, None] * (end - start), axis=1)
    thumb = 0.6 * smoothstep(2.0 - distance / 14.0)
    weights[:, JOINT_NAMES.index("thumb1")] = thumb * smoothstep(vertices[:, 0] / 25.0)
    total = weights.sum(axis=1, keepdims=True)
    weights *= np.minimum(1.0, 0.8 / np.maximum(total, 1e-9))
    weights[:, _WRIST] = 1.0 - weights.sum(axis=1)
    return _strongest(weights)


def _strongest(weights: np.ndarray) -> np.ndarray:
    """Keeps the four largest weights of each vertex, renormalised."""
    weights = np.where(weights < 1e-3, 0.0, weights)
    weakest = np.argsort(-weights, axis=1, kind="stable")[:, _MAX_INFLUENCES:]
    np.put_along_axis(weights, weakest, 0.0, axis=1)
    return weights / weights.sum(axis=1, keepdims=True)
