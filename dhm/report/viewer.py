"""Meshes of the page's interactive viewer: turned upright, and packed as 16-bit coordinates."""

import base64
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from dhm.types import HandTemplate

SCRIPT = Path(__file__).with_name("viewer.js")
"""JavaScript of the viewer, in plain WebGL."""

_STEPS = 32767  # of 16 bits, to either side
_NEAR_WRIST, _UP, _THUMB_SIDE, _OTHER_SIDE = "wrist", "middle1", "index1", "pinky1"


class ViewerMesh(NamedTuple):
    """A mesh of the viewer.

    Attributes:
        name: Label of its button.
        vertices: mm, in any frame.
    """

    name: str
    vertices: Float[np.ndarray, "v 3"]


def upright(vertices: Float[np.ndarray, "v 3"], template: HandTemplate) -> Float[np.ndarray, "v 3"]:
    """Turns a hand about its centre: fingers to +y, the back of a right hand to +z.

    The directions are taken from parts of the skin, so that no joints are needed.
    """
    place = {
        name: _part(vertices, template, name)
        for name in (_NEAR_WRIST, _UP, _THUMB_SIDE, _OTHER_SIDE)
    }
    up = place[_UP] - place[_NEAR_WRIST]
    up /= np.linalg.norm(up)
    # From its back, a right hand has its little finger to the right of its index finger.
    right = place[_OTHER_SIDE] - place[_THUMB_SIDE]
    right -= up * (right @ up)
    right /= np.linalg.norm(right)
    turned = vertices @ np.stack([right, up, np.cross(right, up)]).T
    return turned - (turned.min(axis=0) + turned.max(axis=0)) / 2


def _part(vertices: np.ndarray, template: HandTemplate, joint: str) -> Float[np.ndarray, "3"]:
    """Mean of the vertices, by their skinning weights of a joint."""
    weights = template.lbs_weights[:, template.joint_names.index(joint)]
    return weights @ vertices / max(float(weights.sum()), 1e-12)


def pack(meshes: list[ViewerMesh], faces: Int[np.ndarray, "f 3"]) -> dict:
    """Packs meshes with the same faces into plain values for JSON.

    Coordinates are 16-bit integers about the centre of each mesh's bounding box, with a resolution
    of about 0.003 mm on a hand of 200 mm; the viewer computes normals.

    Args:
        meshes: At least one.
        faces: Counter-clockwise seen from outside.
    """
    index_type = np.uint16 if faces.max() < 1 << 16 else np.uint32
    packed = []
    for mesh in meshes:
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        middle, half = (low + high) / 2, max(float((high - low).max()) / 2, 1e-6)
        steps = np.rint((mesh.vertices - middle) / half * _STEPS)
        packed.append(
            {"name": mesh.name, "scale": half / _STEPS, "vertices": _text(steps.astype("<i2"))}
        )
    little_endian = faces.astype(np.dtype(index_type).newbyteorder("<"))
    bits = 8 * little_endian.itemsize
    return {"faces": _text(little_endian), "index_bits": bits, "meshes": packed}


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
