"""Whether a capture's joints and cameras can be those of the template's hand and of the pictures.

Joints in another unit are refused. Joints in another order, of the other hand, cameras of other
pictures and rigs of other axes fit every file's layout: what a hand cannot look like is said.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_prep.captures.frames import Capture
from dhm.errors import BadInputError
from dhm.geometry.hand_rig import FINGERS
from dhm.geometry.kinematics import tree_levels
from dhm.types import HandTemplate

_FOUR = FINGERS[1:]
_KNUCKLES = tuple(f"{finger}1" for finger in _FOUR)
_PARTS = (("1", "2"), ("2", "3"), ("3", "_null"))
_BONES = (
    *(("wrist", knuckle) for knuckle in _KNUCKLES),
    *((finger + near, finger + far) for near, far in _PARTS for finger in FINGERS),
)
_MIN_BONES = 10  # with fewer nothing is said
_MAX_FRAMES = 2000  # that are looked at
_MM_PER_UNIT = {"metres": 1000.0, "centimetres": 10.0, "inches": 25.4}

_REFUSED_SCALE = 3.0  # no hand is that much larger or smaller than another
_OTHER_SCALE = 1.7
_MIXED_BONES = 2.5
"""Largest ratio between the parts of fingers, relative to the template's; it is below 1.5 between
people, and 4 where the tips change places with the knuckles."""
_DETOUR = 1.35
"""Largest way along the four knuckles over the distance of the outer ones; 1 to 1.15 of hands."""
_BACKWARDS = -0.15
"""Mean sine of the bend of the fingers' outer joints, which bend to the palm alone."""
_FLEXION = 0.5
"""Smallest mean cosine between the axis that bends a joint of the rig and that of a right hand."""
_OFF_CENTRE = 0.2
"""Largest distance of a principal point from the middle along both axes, as a share of the
picture's sides; of pictures of half the size it is a quarter."""


class _Joints(NamedTuple):
    """Joints of frames by name, NaN where not measured."""

    sequences: np.ndarray
    by_name: dict[str, Float[np.ndarray, "f 3"]]

    def between(self, start: str, end: str) -> Float[np.ndarray, "f 3"]:
        return self.by_name[end] - self.by_name[start]


def require_unit(root: Path, capture: Capture) -> None:
    """Refuses joints that are in another unit than mm.

    Args:
        root: Folder of the capture, for the message.
        capture: Its views and template.

    Raises:
        BadInputError: The joints' distances are more than three times, or less than a third of,
            the template's; the message has the likely unit.
    """
    ratios = _bone_ratios(capture)
    if ratios is None:
        return
    scale = float(np.median([*ratios.values()]))
    if not 1 / _REFUSED_SCALE < scale < _REFUSED_SCALE:
        names = [name for name, mm in _MM_PER_UNIT.items() if 0.5 < scale * mm < 2]
        inverse = [name for name, mm in _MM_PER_UNIT.items() if 0.5 < scale / mm < 2]
        likely = f", as of a file in {names[0]}" if names else ""
        likely = likely or (f", as of a template in {inverse[0]}, or joints scaled twice"
                            if inverse else "")  # fmt: skip
        found = f"joints whose distances are {scale:.3g} times the template's{likely}"
        raise BadInputError(root, found, "joints and a template of hands of one size, in mm")


def doubts(capture: Capture) -> tuple[str, ...]:
    """Returns a sentence for each thing about joints, template and cameras that may be wrong."""
    return (*_joint_doubts(capture), *_rig_doubts(capture.template), *_camera_doubts(capture))


def _joint_doubts(capture: Capture) -> Iterator[str]:
    ratios = _bone_ratios(capture)
    if ratios is None:
        return
    scale = float(np.median([*ratios.values()]))
    if not 1 / _OTHER_SCALE < scale < _OTHER_SCALE:
        yield (
            f"The joints' distances are {scale:.2g} times the template's: their unit or order, or "
            "the template, may be wrong."
        )
    joints = _joints(capture)
    if reason := _order_doubt(joints, ratios):
        yield f"{reason}: the joints may be in another order, under the wrong names."
        return  # of which no side can be told
    bends = _bends(joints)
    wrong = sorted({str(name) for name in np.unique(joints.sequences)
                    if _mean(bends[joints.sequences == name]) < _BACKWARDS})  # fmt: skip
    if wrong:
        more = f" and {len(wrong) - 1} more sequences" if len(wrong) > 1 else ""
        yield (
            f"The fingers of {wrong[0]}{more} bend to the back of a right hand: the joints may be "
            "those of a left hand, in mirrored axes, or from the little finger to the index finger."
        )


def _order_doubt(joints: _Joints, ratios: dict[tuple[str, str], float]) -> str | None:
    parts = []
    for near, far in (("wrist", "1"), *_PARTS):
        bones = [(near if near == "wrist" else f + near, f + far) for f in _FOUR]
        known = [ratios[bone] for bone in bones if bone in ratios]
        if known:
            parts.append(float(np.median(known)))
    if min(parts) * _MIXED_BONES < max(parts):
        return (
            f"Parts of fingers are {min(parts):.2g} to {max(parts):.2g} times as long as the "
            "template's"
        )
    steps = [np.linalg.norm(joints.between(*pair), axis=1) for pair in pairwise(_KNUCKLES)]
    whole = np.linalg.norm(joints.between(_KNUCKLES[0], _KNUCKLES[-1]), axis=1)
    detours = sum(steps) / np.maximum(whole, 1e-6)
    detour = float(np.nanmedian(detours)) if np.isfinite(detours).any() else 0.0
    if detour > _DETOUR:
        return f"The way along the four knuckles is {detour:.2g} times as long as straight across"
    return None


def _bends(joints: _Joints) -> Float[np.ndarray, " f"]:
    """Returns the mean sine by which each frame's fingers bend to the palm of a right hand.

    The outer two joints of a finger bend about the axis from the little finger's knuckle to the
    index finger's, whatever the knuckles do, and hardly to the back.
    """
    across = _unit(joints.between(_KNUCKLES[-1], _KNUCKLES[0]))
    sines = []
    for finger in _FOUR:
        bones = [_unit(joints.between(finger + near, finger + far)) for near, far in _PARTS]
        for one, following in pairwise(bones):
            sines.append((np.cross(one, following) * across).sum(axis=1))
    return np.array([_mean(values) for values in np.stack(sines, axis=1)])


def _rig_doubts(template: HandTemplate) -> Iterator[str]:
    """A right hand's rig bends the fingers to the palm about the z axes of their joints."""
    names = template.joint_names
    bending = [finger + part for finger in _FOUR for part in "123"]
    if not {*bending, *_KNUCKLES} <= {*names}:
        return
    T = rest_transforms(template)
    at = {name: T[names.index(name)] for name in {*bending, *_KNUCKLES}}
    across = at[_KNUCKLES[0]][:3, 3] - at[_KNUCKLES[-1]][:3, 3]
    across = across / max(np.linalg.norm(across), 1e-6)
    cosine = float(np.mean([at[name][:3, 2] @ across for name in bending]))
    if cosine < _FLEXION:
        yield (
            "The template's joints do not bend the fingers to the palm of a right hand about their "
            f"z axes (cosine {cosine:.2f}): it may be a left hand's, or a rig of other axes."
        )


def _camera_doubts(capture: Capture) -> Iterator[str]:
    K = np.stack([view.K for view in capture.views])
    size = np.array([view.K_size[::-1] for view in capture.views])
    off = (np.abs(K[:, :2, 2] - (size - 1) / 2) > _OFF_CENTRE * size).all(axis=1)
    if off.any():
        view = capture.views[int(np.argmax(off))]
        at = f"({view.K[0, 2]:g}, {view.K[1, 2]:g})"
        yield (
            f"The principal points of {off.sum()} of {len(off)} pictures are far from the middle, "
            f"first: {view.image_path}: {at} in {view.K_size[1]} columns and {view.K_size[0]} "
            "rows. K may belong to pictures of another size; cut-out pictures are like that too."
        )


def _bone_ratios(capture: Capture) -> dict[tuple[str, str], float] | None:
    """Returns each bone's length over the template's, the median of the frames that measure it.

    Returns None where too few bones are measured to say anything.
    """
    names = capture.template.joint_names
    joints, at = _joints(capture), rest_transforms(capture.template)[:, :3, 3]
    ratios = {}
    for start, end in _BONES:
        if start not in names or end not in names:
            continue
        lengths = np.linalg.norm(joints.between(start, end), axis=1)
        own = np.linalg.norm(at[names.index(end)] - at[names.index(start)])
        if np.isfinite(lengths).any() and own > 0:
            ratios[start, end] = float(np.nanmedian(lengths) / own)
    return ratios if len(ratios) >= _MIN_BONES else None


def _joints(capture: Capture) -> _Joints:
    """The joints of frames spread over the capture, each frame once."""
    frames = {(view.sequence, view.frame): view for view in capture.views}
    views = [*frames.values()]
    views = views[:: -(-len(views) // _MAX_FRAMES)]
    points = np.stack([np.where(view.joint_valid[:, None], view.joints, np.nan) for view in views])
    missing = np.full((len(views), 3), np.nan)
    wanted = {name for bone in _BONES for name in bone}
    by_name = dict.fromkeys(wanted, missing)
    for joint, name in enumerate(capture.template.joint_names):
        by_name[name] = points[:, joint].astype(np.float64)
    return _Joints(np.array([view.sequence for view in views]), by_name)


def rest_transforms(template: HandTemplate) -> Float[np.ndarray, "j 4 4"]:
    """Returns the joints' transforms at rest, joint to model; children may precede parents."""
    result = template.T_parent_joint.astype(np.float64)
    for level in tree_levels(template.parents)[1:]:
        for joint in level:
            result[joint] = result[template.parents[joint]] @ result[joint]
    return result


def _unit(vectors: Float[np.ndarray, "f 3"]) -> Float[np.ndarray, "f 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _mean(values: np.ndarray) -> float:
    """Returns the mean of those that are known, 0 of none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
