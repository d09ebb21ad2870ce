"""Films a synthetic capture: `python -m data_prep.studio --subject 1 --out DIR`."""

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

from data_prep.command import run
from data_prep.studio.stage.capture import SHEET_FILE, write_capture
from data_prep.studio.stage.settings import CHOICES, StudioSettings

_HELP = {
    "subject": "1 to 4",
    "frames": "total number of frames of the 40 training motions",
    "test_frames": "frames of the 15 held-out gestures together; default: a fifth of --frames",
    "frame_step": "thirtieths of a second from frame to frame",
    "cameras": "calibrated cameras; 80 is as many as the paper's",
    "pictures": "cameras that take a picture of a frame, drawn anew for each frame; default: all",
    "depth_maps": "of all cameras, of those that take a picture, or none",
    "depth_shrink": "factor by which depth maps are smaller than pictures: 1 or 2",
    "scans": "of all frames or of the held-out gestures",
    "resolution_mm": "edge of the grid from which the skin is extracted",
    "varied": "random background, lamps and tone of skin in each frame",
    "depth_noise_mm": "standard deviation; above 0 the sensor also loses grazing surfaces",
    "joint_noise_mm": "standard deviation along each axis",
    "template": "full: 12,500 vertices; coarse: under 1,000",
    "seed": "seed of cameras, motions and noise",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code, see `data_prep.command`.
    """
    parser = argparse.ArgumentParser(prog="data_prep.studio", description=__doc__)
    for field in dataclasses.fields(StudioSettings):
        flag = "--" + field.name.replace("_", "-")
        if field.type is bool:
            parser.add_argument(flag, action="store_true", help=_HELP[field.name])
            continue
        derived = field.name in ("test_frames", "pictures")
        parser.add_argument(
            flag, type=field.type, default=None if derived else field.default,
            choices=CHOICES.get(field.name), help=_HELP[field.name],
        )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the capture")
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    options = vars(parser.parse_args(arguments))
    out, workers = options.pop("out"), options.pop("workers")
    if options["test_frames"] is None:
        options["test_frames"] = max(options["frames"] // 5, 15)
    if options["pictures"] is None:
        options["pictures"] = options["cameras"]
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)

    def film() -> None:
        print(f"{write_capture(StudioSettings(**options), out, workers)}, see {SHEET_FILE}")

    return run(film, "interrupted; the same command resumes here")


if __name__ == "__main__":
    sys.exit(main())
