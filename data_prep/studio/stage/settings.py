"""Settings of a synthetic capture; the same settings give the same files."""

import math
from dataclasses import dataclass

from data_prep.studio.anatomy.proportions import NUM_SUBJECTS
from data_prep.studio.motion.motions import HELD_OUT_NAMES, TRAINING_NAMES
from data_prep.studio.stage.cameras import MAX_CAMERAS
from dhm.errors import BadInputError

_MAX_FRAMES = 100_000
CHOICES = {
    "depth_maps": ("all", "pictured", "none"),
    "scans": ("all", "held_out"),
    "template": ("full", "coarse"),
}
"""Allowed values of the settings that are words."""


@dataclass(frozen=True)
class StudioSettings:
    """Settings of a capture of one of the studio's subjects.

    Attributes:
        subject: 1 to 4.
        frames: Total number of frames of the training motions.
        test_frames: Total number of frames of the held-out gestures.
        frame_step: Thirtieths of a second from frame to frame. A larger step shows more poses in
            as many frames: from one key pose to the next a hand needs 10 to 15 thirtieths.
        cameras: Calibrated cameras on the dome.
        pictures: Number of cameras that take a picture of a frame, drawn anew for each frame.
        depth_maps: Of "all" cameras, only of the "pictured" ones, which are all that training
            reads, or of "none".
        depth_shrink: 1 for depth maps of the pictures' size, 2 for half of it.
        scans: Of "all" frames, or only of those of the gestures ("held_out").
        resolution_mm: Edge of the grid from which the skin is extracted, mm.
        varied: Random background, lamps and tone of skin in each frame instead of the dark studio
            and the subject's own tone.
        depth_noise_mm: Standard deviation of the depth sensor, mm. Above 0 it also loses surfaces
            seen at a grazing angle.
        joint_noise_mm: Standard deviation of the joints along each axis, mm.
        template: "full" (about 12,500 vertices) or "coarse" (under 1,000) hand model.
        seed: Draws cameras, motions and noise.
    """

    subject: int = 1
    frames: int = 1500
    test_frames: int = 300
    frame_step: int = 5
    cameras: int = 16
    pictures: int = 16
    depth_maps: str = "all"
    depth_shrink: int = 1
    scans: str = "all"
    resolution_mm: float = 1.5
    varied: bool = False
    depth_noise_mm: float = 0.0
    joint_noise_mm: float = 0.0
    template: str = "full"
    seed: int = 0


def check_settings(settings: StudioSettings) -> None:
    """Checks the range of each setting.

    Raises:
        BadInputError: A setting is out of range.
    """
    numbers = {
        "subject": (1, NUM_SUBJECTS),
        "frames": (len(TRAINING_NAMES), _MAX_FRAMES),
        "test_frames": (len(HELD_OUT_NAMES), _MAX_FRAMES),
        "frame_step": (1, 30),
        "cameras": (1, MAX_CAMERAS),
        "pictures": (1, settings.cameras),
        "depth_shrink": (1, 2),
        "resolution_mm": (0.5, 4.0),
        "depth_noise_mm": (0.0, 100.0),
        "joint_noise_mm": (0.0, 100.0),
        "seed": (0, 2**32 - 1),
    }
    for name, (low, high) in numbers.items():
        value = getattr(settings, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise BadInputError(f"studio.{name}", str(value), f"{low} to {high}")
    for name, choices in CHOICES.items():
        value = getattr(settings, name)
        if value not in choices:
            raise BadInputError(f"studio.{name}", repr(value), f"one of {choices}")
