"""Draws what `config.augment` does: `python -m data_prep.augmentation_sheet OUT.jpg`.

A row for each change at its limit, on crops of the studio, or of a folder with `--prepared DIR`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
from jaxtyping import UInt8

from data_prep.command import run
from data_prep.prepare import prepare
from data_prep.studio.stage.capture import write_capture
from data_prep.studio.stage.settings import StudioSettings
from dhm.data.augmentation import Augmentation, Backgrounds, InputView, augment
from dhm.data.prepared_data import PreparedData
from dhm.data.schema import TRAIN
from dhm.errors import BadInputError
from dhm.formats.paths import existing, refuse_overwriting, require_writable_place

ROWS = {
    "original": {},
    "rotation 60": {"rotation_deg": 60.0},
    "scale, shift": {"scale": 0.2, "shift": 0.08},
    "light": {"brightness": 0.4, "contrast": 0.4, "gamma": 0.5},
    "colour": {"channel_gain": 0.15, "saturation": 0.5, "hue_deg": 20.0},
    "blur 3 px": {"blur_px": 3.0},
    "motion 14 px": {"motion_px": 14.0},
    "jpeg": {"jpeg": 1.0},
    "occlusion": {"occlusion": 0.5},
    "background": {"background": 1.0},
    "all": {"rotation_deg": 60.0, "scale": 0.15, "shift": 0.06, "brightness": 0.25,
            "contrast": 0.25, "gamma": 0.25, "channel_gain": 0.08, "saturation": 0.25,
            "hue_deg": 10.0, "blur_px": 1.5, "motion_px": 6.0, "jpeg": 0.3, "occlusion": 0.35,
            "background": 1.0},
}  # fmt: skip
"""Title of each row, and its limits that are not zero."""

COLUMNS = 8
_TITLE_PX = 116
_SHOWN_PX = 112
_FILMED_PX = 128
_PICTURES = (".jpg", ".jpeg", ".png")
_BONE = (255, 220, 0)


def sheet(
    data: PreparedData, records: list[int], backgrounds: Backgrounds
) -> UInt8[np.ndarray, "h w 3"]:
    """Draws a row for each change; in the first three the target's joints are marked.

    Args:
        data: Records with depth maps or masks.
        records: Training records, one a column.
        backgrounds: New backgrounds.
    """
    rows = []
    for row, (title, limits) in enumerate(ROWS.items()):
        changed = []
        for column, record in enumerate(records):
            fields = data.record(TRAIN, record)
            view = InputView(
                data.decode_image(TRAIN, record, fields),
                data.decode_mask(TRAIN, record, fields),
                fields.K,
                fields.T_camera_world,
            )
            rng = np.random.default_rng((row, column))
            view = augment(view, Augmentation(**limits), rng, backgrounds)
            image = np.array(view.image)
            if row < 3:
                _mark_joints(image, view, fields.joints[fields.joint_valid])
            changed.append(cv2.resize(image, (_SHOWN_PX,) * 2, interpolation=cv2.INTER_AREA))
        rows.append(np.hstack([_title(title), *changed]))
    return np.vstack(rows)


def _mark_joints(image: np.ndarray, view: InputView, joints: np.ndarray) -> None:
    in_camera = joints @ view.T_camera_world[:3, :3].T + view.T_camera_world[:3, 3]
    pixels = in_camera / in_camera[:, 2:] @ view.K.T
    for u, v in pixels[:, :2]:
        cv2.circle(image, (round(16 * u), round(16 * v)), 16 * 2, _BONE, -1, cv2.LINE_AA, 4)


def _title(text: str) -> UInt8[np.ndarray, "h w 3"]:
    tile = np.full((_SHOWN_PX, _TITLE_PX, 3), 255, np.uint8)
    at = (6, _SHOWN_PX // 2 + 4)
    cv2.putText(tile, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1, cv2.LINE_AA)
    return tile


def _filmed(folder: Path) -> PreparedData:
    """Films and prepares a few frames in the studio."""
    settings = StudioSettings(
        subject=3, frames=40, test_frames=15, frame_step=30, cameras=16, pictures=1,
        depth_maps="pictured", scans="held_out", resolution_mm=2.0,
    )  # fmt: skip
    capture = write_capture(settings, folder / "capture", 2)
    prepare(capture, settings.subject, folder / "prepared", image_size=_FILMED_PX)
    return PreparedData(folder / "prepared")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code, see `data_prep.command`.
    """
    parser = argparse.ArgumentParser(prog="data_prep.augmentation_sheet", description=__doc__)
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("--prepared", type=Path, help="records with masks or depth maps")
    parser.add_argument("--backgrounds", default="", help="folder of pictures; made up by default")
    options = parser.parse_args(arguments)
    return run(lambda: _write(options.out, options.prepared, options.backgrounds))


def _write(out: Path, prepared: Path | None, backgrounds: str) -> None:
    """Draws the sheet and writes it.

    Raises:
        BadInputError: A path cannot be used.
    """
    out = existing(out)
    require_writable_place("OUT", out)
    if out.suffix.lower() not in _PICTURES:
        raise BadInputError("OUT", f"{out}", f"the name of a picture ({', '.join(_PICTURES)})")
    backgrounds = existing(backgrounds) if backgrounds else ""
    prepared = existing(prepared) if prepared else None
    folders = [folder for folder in (prepared, backgrounds) if folder]
    refuse_overwriting("OUT", [out], (), folders)
    data = PreparedData(prepared) if prepared else None
    source = Backgrounds(data.image_size if data else _FILMED_PX, backgrounds)
    with tempfile.TemporaryDirectory() as folder:
        data = data or _filmed(Path(folder))
        records = np.linspace(0, data.num_train - 1, COLUMNS).round().astype(int).tolist()
        picture = sheet(data, records, source)
    iio.imwrite(out, picture, quality=88)


if __name__ == "__main__":
    sys.exit(main())
