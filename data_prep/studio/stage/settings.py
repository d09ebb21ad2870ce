"""What a synthetic capture is made from; the same settings give the same files."""

import dataclasses
import math
from dataclasses import dataclass

from data_prep.studio.anatomy.proportions import NUM_SUBJECTS
from data_prep.studio.motion.motions import HELD_OUT_NAMES, TRAINING_NAMES
from data_prep.studio.stage.cameras import MAX_CAMERAS
from dhm.errors import BadInputError

_MAX_FRAMES = 100_000


@dataclass(frozen=True)
class StudioSettings:
    """A capture of one of the studio's subjects.

    Attributes:
        subject: 1 to 4.
        frames: Frames of the training motions together.
        test_frames: Frames of the held-out gestures together.
        frame_step: Thirtieths of a second from frame to frame. The longer, the more poses the
            frames show: from one key pose to the next a hand takes 10 to 15.
        cameras: Calibrated cameras on the dome.
        pictures: How many of them take a picture of a frame; others in each frame.
        depth_maps: Of "all" cameras, of the "pictured" ones alone, which are all that training
            reads, or of "none".
        depth_shrink: 1 for depth maps of the pictures' size, 2 for half of it.
        scans: "all" frames, or those of the gestures alone ("held_out").
        resolution_mm: Edge of the grid that the skin is cut out of.
        varied: Other backgrounds, lamps and tones of skin in every frame instead of the dark studio
            and the subject's own tone.
        depth_noise_mm: Standard deviation of the depth sensor; above 0 it also loses what it sees
            at a grazing angle.
        joint_noise_mm: Standard deviation of each joint's coordinates.
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
    """Refuses impossible settings.

    Raises:
        BadInputError: Names the first one.
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
    for name, choices in (
        ("depth_maps", ("all", "pictured", "none")),
        ("scans", ("all", "held_out")),
        ("template", ("full", "coarse")),
    ):
        if getattr(settings, name) not in choices:
            raise BadInputError(
                f"studio.{name}", repr(getattr(settings, name)), f"one of {choices}"
            )


def as_dict(settings: StudioSettings) -> dict:
    """Returns the settings for a JSON file."""
    return dataclasses.asdict(settings)
