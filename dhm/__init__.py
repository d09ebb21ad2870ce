"""A personal hand model learned from a multi-view capture, in JAX.

    import dhm

    hand = dhm.load("runs/demo")
    output = hand.decode(hand.encode(image))  # output.vertices, output.joints in mm

`import dhm` is cheap: a name of `__all__` is imported when it is first used, and JAX with it.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "BadInputError",
    "Batch",
    "Camera",
    "DhmError",
    "Hand",
    "HandModel",
    "HandOutput",
    "HandTemplate",
    "__version__",
    "depth_loss",
    "euler_angles_to_matrix",
    "fit_evidence",
    "fit_pose",
    "forward_kinematics",
    "joint_loss",
    "laplacian_loss",
    "linear_blend_skinning",
    "load",
    "mano",
    "non_rigid_penetration_loss",
    "rasterize",
    "render_depth",
    "rigid_alignment",
    "rigid_penetration_loss",
    "skeleton_loss",
]

if TYPE_CHECKING:  # What `_MODULES` says, for type checkers and editors.
    from dhm.errors import BadInputError, DhmError
    from dhm.export.hand import Hand, load
    from dhm.fitting import fit_evidence, fit_pose
    from dhm.geometry import (
        euler_angles_to_matrix,
        forward_kinematics,
        linear_blend_skinning,
        rigid_alignment,
    )
    from dhm.losses import (
        depth_loss,
        joint_loss,
        laplacian_loss,
        non_rigid_penetration_loss,
        rigid_penetration_loss,
        skeleton_loss,
    )
    from dhm.networks import HandModel
    from dhm.networks.mano import mano
    from dhm.rendering import rasterize, render_depth
    from dhm.types import Batch, Camera, HandOutput, HandTemplate

_MODULES = {
    "dhm.errors": ("BadInputError", "DhmError"),
    "dhm.export.hand": ("Hand", "load"),
    "dhm.fitting": ("fit_evidence", "fit_pose"),
    "dhm.geometry": (
        "euler_angles_to_matrix", "forward_kinematics", "linear_blend_skinning", "rigid_alignment",
    ),
    "dhm.losses": (
        "depth_loss", "joint_loss", "laplacian_loss", "non_rigid_penetration_loss",
        "rigid_penetration_loss", "skeleton_loss",
    ),
    "dhm.networks": ("HandModel",),
    "dhm.networks.mano": ("mano",),
    "dhm.rendering": ("rasterize", "render_depth"),
    "dhm.types": ("Batch", "Camera", "HandOutput", "HandTemplate"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
