"""Which hand a model of MANO's form is, and whether its shape directions are that hand's.

The left hand's file that MANO's authors publish has the template, the regressor and the pose
directions of a left hand and the shape directions of the right one: with betas other than 0 its
hands are wrong by a centimetre. Their x has the wrong sign.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dhm.types import ManoModel

LEFT, RIGHT = "left", "right"
SIDES = (LEFT, RIGHT)

MIRROR = np.array([-1.0, 1.0, 1.0])
"""MANO's left hand is the right one with x mirrored."""

# First joint of each finger, and its tip among `tip_vertices`: index, middle, ring, little finger.
_FINGERS = ((1, 1), (4, 2), (10, 3), (7, 4))
_THUMB, _THUMB_TIP = (14, 15), 0
_CLEAR_THUMB, _CLEAR_FLEXION = 0.1, 0.1  # of the palm's width; radians
_CLEAR_AGREEMENT = 0.5
_SAME = 0.01  # relative difference of arrays that are one


def side_of_name(path: Path) -> str | None:
    """Returns the side in a file's name, None if it has none or both."""
    found = [side for side in SIDES if side in path.stem.lower()]
    return found[0] if len(found) == 1 else None


def right_hand_file(path: Path) -> Path:
    """Returns the path of the right hand's file beside a left hand's."""

    def right(match: re.Match) -> str:
        text = match[0]
        if text.isupper():
            return RIGHT.upper()
        return RIGHT.capitalize() if text[0].isupper() else RIGHT

    return path.with_name(re.sub(LEFT, right, path.name, flags=re.IGNORECASE))


def side_of_shape(model: ManoModel) -> str | None:
    """Returns which hand a model's rest pose is: palm down and fingers forward, a right hand's
    thumb is at the left.

    The palm is the side that the thumb lies towards and that the mean pose bends the fingers to.

    Returns:
        The side; None where the joints do not form a hand, or the two signs of the palm are weak or
        contradict each other.
    """
    joints = model.J_regressor @ model.v_template
    tips = model.v_template[list(model.tip_vertices)]
    forward = _unit(sum(tips[tip] - joints[first] for first, tip in _FINGERS))
    across = joints[1] - joints[7]  # from the little finger to the index finger
    across = across - forward * (across @ forward)
    width = np.linalg.norm(across)
    across = _unit(across)
    if not _is_hand(joints, tips, forward, across):
        return None
    up = np.cross(forward, across)  # of a right hand the back
    palm = joints[[0, 1, 7]].mean(axis=0)
    thumb = np.stack([*joints[list(_THUMB)], tips[_THUMB_TIP]]).mean(axis=0)
    bends = np.cross(model.hands_mean.reshape(-1, 3)[:12], forward)  # of the four fingers
    towards_thumb, towards_palm = (thumb - palm) @ up / width, (bends @ up).mean()
    signs = {
        np.sign(value)
        for value, clear in ((towards_thumb, _CLEAR_THUMB), (towards_palm, _CLEAR_FLEXION))
        if abs(value) > clear
    }
    if len(signs) != 1:
        return None
    return RIGHT if signs == {-1.0} else LEFT


def _is_hand(joints: np.ndarray, tips: np.ndarray, forward: np.ndarray, across: np.ndarray) -> bool:
    """Whether fingers follow each other from the thumb's side on, joint before joint."""
    chains = [np.stack([joints[0], *joints[first : first + 3], tips[tip]])
              for first, tip in _FINGERS]  # fmt: skip
    bases = joints[[first for first, _ in _FINGERS]]
    in_line = all((np.diff(chain @ forward) > 0).all() for chain in chains)
    return in_line and bool((np.diff(bases @ across) < 0).all())


def shape_agreement(model: ManoModel) -> float:
    """Returns how well the shape directions fit the template, from -1 to 1.

    A larger hand is larger along every axis. Of each shape direction, how much it stretches the
    template along x is correlated with how much it does along y and z. Directions of the other hand
    stretch y and z and shrink x: the correlation is minus that of the hand's own.
    """
    centred = model.v_template - model.v_template.mean(axis=0)
    along = np.einsum("vck,vc->kc", model.shapedirs, centred)
    x, other = along[:, 0], along[:, 1] + along[:, 2]
    return float(x @ other / max(np.linalg.norm(x) * np.linalg.norm(other), 1e-12))


def has_other_shapes(left: ManoModel, right: ManoModel | None) -> bool | None:
    """Returns whether a left hand's model has the right hand's shape directions.

    Args:
        left: The left hand's model.
        right: The right hand's, where it is known: then the two are compared.

    Returns:
        None where nothing tells.
    """
    if right is not None and _is_pair(left, right):
        own, other = (left.shapedirs - right.shapedirs * sign for sign in (MIRROR[:, None], 1.0))
        return bool(np.linalg.norm(other) < np.linalg.norm(own))
    agreement = shape_agreement(left)
    if abs(agreement) < _CLEAR_AGREEMENT or side_of_shape(left) is None:
        return None
    return agreement < 0


def _is_pair(left: ManoModel, right: ManoModel) -> bool:
    """Whether one model's template is the other's mirrored one."""
    if left.shapedirs.shape != right.shapedirs.shape:
        return False
    off = np.linalg.norm(left.v_template - right.v_template * MIRROR)
    return bool(off < _SAME * np.linalg.norm(right.v_template))


def _unit(vector: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
