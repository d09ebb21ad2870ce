"""Where on the skin a point of the surface lies, whatever the pose."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from data_prep.studio.anatomy.anatomy import Anatomy
from data_prep.studio.anatomy.field import smoothstep
from data_prep.studio.anatomy.parts import PALM, PART_JOINTS, neighbours
from data_prep.studio.anatomy.vectors import row_norms

_STRETCH = 1.5  # mm, over which the skin passes from one part to its neighbour
_LEAST_SHARE = 1e-3
_THUMB_BALL = 16.0  # mm, over which the palm's skin begins to follow the thumb
_CONTACT = 1.2  # mm to the next part that is no neighbour, from where on the skin is free


class SkinCoordinates(NamedTuple):
    """Where points lie on the skin.

    Attributes:
        part: Part of the hand, an index into PART_JOINTS.
        rest: Position at rest in the hand's frame, mm: each part is taken back rigidly, with a
            smooth passage between neighbours.
        free: 1 on free skin, 0 where the part touches one that is no neighbour.
    """

    part: Int[np.ndarray, " v"]
    rest: Float[np.ndarray, "v 3"]
    free: Float[np.ndarray, " v"]


def skin_coordinates(
    anatomy: Anatomy, points: Float[np.ndarray, "v 3"], distances: Float[np.ndarray, "p v"]
) -> SkinCoordinates:
    """Returns the skin coordinates of points on the surface.

    Args:
        anatomy: The hand in its pose.
        points: In the hand's frame, mm.
        distances: From each point to each part.
    """
    near = neighbours()
    part = distances.argmin(axis=0)
    rest, shares = np.zeros_like(points), np.zeros(len(points))
    closest = distances.min(axis=0)
    for index in range(len(PART_JOINTS)):
        share = np.exp(-(distances[index] - closest) / _STRETCH) * near[index][part]
        chosen = np.flatnonzero(share > _LEAST_SHARE)
        # Counted from the least, so that no step remains where a part comes in.
        share = share[chosen] - _LEAST_SHARE
        rest[chosen] += share[:, None] * _back_to_rest(anatomy, index, points[chosen])
        shares[chosen] += share
    other = np.where(~near[:, part], distances, np.inf).min(axis=0) - closest
    return SkinCoordinates(part, rest / shares[:, None], smoothstep(other / _CONTACT))


def _back_to_rest(anatomy: Anatomy, part: int, points: np.ndarray) -> Float[np.ndarray, "v 3"]:
    own = _carried_back(anatomy, PART_JOINTS[part], points)
    if part != PALM:
        return own
    follows = _thumb_share(anatomy, points)[:, None]
    return own + follows * (_carried_back(anatomy, "thumb1", points) - own)


def thumb_nearness(
    frames: dict[str, Float[np.ndarray, "4 4"]], points: Float[np.ndarray, "v 3"]
) -> Float[np.ndarray, " v"]:
    """Returns by how much points are nearer to the thumb's metacarpal than to the palm's, mm."""

    def from_bone(start: str, end: str) -> np.ndarray:
        origin = frames[start][:3, 3]
        axis = frames[end][:3, 3] - origin
        along = np.clip((points - origin) @ axis / (axis @ axis), 0.0, 1.0)
        return row_norms(points - origin - along[:, None] * axis)

    metacarpus = np.minimum(from_bone("wrist", "index1"), from_bone("wrist", "middle1"))
    return metacarpus - from_bone("thumb1", "thumb2")


def _carried_back(anatomy: Anatomy, joint: str, points: np.ndarray) -> Float[np.ndarray, "v 3"]:
    T_rest_posed = anatomy.rest[joint] @ np.linalg.inv(anatomy.frames[joint])
    return points @ T_rest_posed[:3, :3].T + T_rest_posed[:3, 3]


def _thumb_share(anatomy: Anatomy, points: np.ndarray) -> Float[np.ndarray, " v"]:
    """How far the palm's skin follows the thumb: 1 along its metacarpal, 0 over the others."""
    return smoothstep(thumb_nearness(anatomy.frames, points) / _THUMB_BALL + 0.5)
