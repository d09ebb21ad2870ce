"""Prepares records from a capture or a data set.

`python -m data_prep.prepare --capture DIR --subject S --out DIR`, or `--dataset rhd` and others.
"""

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.captures.datasets import DATASETS, RELEASE, official_split, read_dataset
from data_prep.captures.frames import Capture, CaptureView, FaultyItemError
from data_prep.captures.left_out import MAX_FAULTY_SHARE, LeftOut
from data_prep.captures.plausibility import doubts, require_unit
from data_prep.captures.rhd import HAND, PERSON
from data_prep.command import run
from data_prep.records.crop import CAMERA_CONVENTION, NOT_SHOWN
from data_prep.records.hand_dataset import (
    PlannedView,
    WrittenDataset,
    WrittenView,
    build_index,
    write_dataset,
)
from data_prep.records.output_folder import fingerprint, replaced_when_done, up_to_date
from data_prep.records.splits import Pattern, plan_splits
from dhm.data.lock import hold
from dhm.data.schema import (
    MAX_IMAGE_SIZE,
    MIN_IMAGE_SIZE,
    SCHEMA_VERSION,
    TEMPLATE_FILE,
    TEST,
    TRAIN,
    PreparedInfo,
    file_sizes,
    write_index,
    write_info,
    write_scan,
)
from dhm.errors import BadInputError
from dhm.formats.hand_template import write_template
from dhm.formats.paths import existing, refuse_removing, require_folder
from dhm.formats.scan import read_scan
from dhm.geometry.hand_rig import REQUIRED_JOINTS

log = logging.getLogger(__name__)

BAD_SCAN = "evaluated frame whose scan cannot be used"
_SCAN_MARGIN_MM, _MIN_JOINTS_IN_SCAN = 20.0, 0.5


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
    """Options of a preparation; see `prepare`."""

    subject: int
    image_size: int = 256
    test_sequences: Pattern = ""
    train_sequences: Pattern | None = None
    workers: int = 2
    faulty_share: float = MAX_FAULTY_SHARE


def prepare(
    capture: Path,
    subject: int,
    out: Path,
    *,
    dataset: str = RELEASE,
    template: Path | None = None,
    every: int = 1,
    foreground: str = PERSON,
    image_size: int = 256,
    test_sequences: Pattern = "",
    train_sequences: Pattern | None = None,
    workers: int = 2,
    faulty_share: float = MAX_FAULTY_SHARE,
) -> PreparedInfo:
    """Prepares a capture in the released layout, or another data set.

    Pictures, frames and cameras that cannot be used are left out, counted by reason and logged with
    an example of each reason; the rest is prepared.

    Does nothing if `out` already holds the records of the same inputs and options. Otherwise builds
    them beside `out` and moves them there when they are complete.

    Args:
        capture: The folder of images, annotations and hand_model; or that of the data set.
        subject: Number of the subject, the key of the identity code; any number for a data set of
            many people.
        out: The folder to write.
        dataset: "release", or "rhd", "freihand", "interhand" (see their readers).
        template: template.npz of the hand model to use; by default the capture's own, or the
            studio's for a data set without one.
        every: Takes every n-th picture of a data set only.
        foreground: What RHD's masks keep, "person" or "hand".
        image_size: Side of the square crops, pixels (256 in paper section 7).
        test_sequences: Regular expression or list of names of the sequences to hold out. The
            paper holds out the conversational gestures (section 8.1). "" holds out the official
            test split of a data set and nothing of a capture, whose evaluation is then on training
            frames.
        train_sequences: The sequences to train on; by default all others.
        workers: Threads that read, crop and encode.
        faulty_share: Largest share of the pictures that may be left out because they, their frame
            or their camera cannot be used.

    Returns:
        The info of the folder.

    Raises:
        BadInputError: The capture, a pattern or the folder cannot be used, the folder is, or has in
            it, what the records are made of, or more than `faulty_share` of the pictures cannot be
            used.
    """
    capture, out = existing(capture), existing(out)
    template = template and existing(template)
    refuse_removing("--out", out, [capture, *([template] if template else [])])
    require_folder("--out", out)
    frames = read_dataset(
        dataset, capture, template, subject=subject, every=every, foreground=foreground
    )
    names = frames.template.joint_names
    if missing := [name for name in REQUIRED_JOINTS if name not in names]:
        file = template or capture / "hand_model" / "skeleton.txt"
        raise BadInputError(file, f"no joint {missing[0]!r}", f"all of {REQUIRED_JOINTS}")
    test_sequences, train_sequences = official_split(dataset, test_sequences, train_sequences)
    options = PrepareOptions(
        subject, image_size, test_sequences, train_sequences, workers, faulty_share
    )
    return prepare_views(frames, capture, out, options)


def prepare_views(frames: Capture, root: Path, out: Path, options: PrepareOptions) -> PreparedInfo:
    """Prepares the views of a capture of any layout; see `prepare`.

    Args:
        frames: The capture.
        root: Its folder.
        out: The folder to write.
        options: See `prepare`.

    Returns:
        The info of the folder.

    Raises:
        BadInputError: An option or the folder cannot be used, or too many views cannot.
    """
    _check_options(options)
    require_unit(root, frames)
    for note in (*frames.notes, *doubts(frames)):
        log.warning("%s", note)
    left_out = LeftOut(counts=frames.skipped, examples=frames.faults)
    left_out.require_share(root, len(frames.views) + left_out.num_faults, options.faulty_share)
    digest = fingerprint(frames, root, dataclasses.asdict(options) | {"workers": None})
    with hold(out.parent / f".{out.name}.lock"):
        if info := up_to_date(out, digest):
            log.info("%s is up to date", out)
            return info
        splits, left_out.counts = plan_splits(
            frames, options.image_size, options.test_sequences, options.train_sequences
        )
        _say_unseen(root, left_out.counts, sum(map(len, splits.values())))
        with replaced_when_done(out) as building:
            splits, written = _write_records(building, root, splits, options, left_out)
            write_index(building, build_index(splits, written))
            write_template(building / TEMPLATE_FILE, frames.template)
            evaluation_split = TEST if TEST in splits else TRAIN
            scans = _copy_scans(building, root, splits[evaluation_split], options.faulty_share)
            info = PreparedInfo(
                version=SCHEMA_VERSION,
                fingerprint=digest,
                subject=options.subject,
                image_size=options.image_size,
                evaluation_split=evaluation_split,
                skipped=left_out.counts | scans.counts,
                files=file_sizes(building),
                **_count(written),
            )
            write_info(building, info)
    for line in left_out.faults() + scans.faults():
        log.warning("%s", line)
    if left_out.examples:
        log.warning(
            "%d of %d pictures cannot be used; up to %.0f %% may be left out (faulty_share)",
            left_out.num_faults,
            left_out.num_faults + sum(info.num_records.values()),
            100 * options.faulty_share,
        )
    log.info("%s", format_table(info))
    return info


def _say_unseen(root: Path, counts: dict[str, int], planned: int) -> None:
    """Warns where most cameras would not show the hand that their pictures show."""
    unseen = sum(counts.get(reason.value, 0) for reason in NOT_SHOWN)
    if unseen > planned:
        log.warning(
            "%s: %d of %d pictures cannot show the hand where joints and cameras have it; %s",
            root, unseen, unseen + planned, CAMERA_CONVENTION,
        )  # fmt: skip


def format_table(info: PreparedInfo) -> str:
    """Formats the counts of a preparation, one a line."""
    rows = []
    for split, count in info.num_records.items():
        rows += [
            (f"{split}: records", count),
            (f"{split}: of these without depth", info.num_without_depth[split]),
            (f"{split}: depth pixels dropped, out of range", info.dropped_depth_pixels[split]),
        ]
    rows += [(f"skipped: {reason}", count) for reason, count in info.skipped.items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {count:>8}" for name, count in rows]
    if info.evaluation_split == TRAIN:
        lines.append("no sequence is held out: the evaluation is on training frames")
    return "\n".join(lines)


def _check_options(options: PrepareOptions) -> None:
    if not MIN_IMAGE_SIZE <= options.image_size <= MAX_IMAGE_SIZE:
        raise BadInputError(
            "image_size", f"{options.image_size}", f"{MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE} pixels"
        )
    if options.workers < 1:
        raise BadInputError("workers", f"{options.workers}", "1 or more threads")
    if not 0 <= options.faulty_share < 1:
        raise BadInputError("faulty_share", f"{options.faulty_share}", "a share from 0 to below 1")


def _write_records(
    building: Path,
    root: Path,
    splits: dict[str, list[PlannedView]],
    options: PrepareOptions,
    left_out: LeftOut,
) -> WrittenDataset:
    """Writes the records of the views that can be used, and counts the others."""
    total = sum(map(len, splits.values()))
    items = total + left_out.num_faults

    def on_fault(error: FaultyItemError) -> None:
        left_out.add_fault(error.reason, error)
        left_out.require_share(root, items, options.faulty_share)

    with tqdm(total=total, desc="prepare", unit="view", disable=None) as bar:
        done = write_dataset(
            building, splits, options.subject, options.workers, bar.update, on_fault
        )
    for split, views in done.planned.items():
        if not views:
            found = f"no view of it that can be used ({left_out.describe()})"
            raise BadInputError(f"{split}_sequences", found, "views that can be used")
    return done


def _count(written: dict[str, list[WrittenView]]) -> dict[str, dict[str, int]]:
    return {
        "num_records": {split: len(views) for split, views in written.items()},
        "num_without_depth": {
            split: sum(not view.has_depth for view in views) for split, views in written.items()
        },
        "dropped_depth_pixels": {
            split: sum(view.dropped_pixels for view in views) for split, views in written.items()
        },
    }


def _copy_scans(
    building: Path, root: Path, planned: list[PlannedView], faulty_share: float
) -> LeftOut:
    """Copies the frames' scans; returns the count of those that cannot be used."""
    scans = {(v.sequence, v.frame): v for v, _ in planned if v.scan_path is not None}
    left_out = LeftOut()
    for (sequence, frame), view in tqdm(scans.items(), desc="scans", unit="scan", disable=None):
        try:
            vertices, faces = read_scan(view.scan_path)
            _require_joints_inside(view, vertices)
            write_scan(building, sequence, frame, (vertices, faces))
        except BadInputError as error:
            left_out.add_fault(BAD_SCAN, error)
            left_out.require_share(root, len(scans), faulty_share)
    return left_out


def _require_joints_inside(view: CaptureView, vertices: np.ndarray) -> None:
    """Refuses a scan that is elsewhere than the frame's joints."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    joints = view.joints[view.joint_valid]
    margin = _SCAN_MARGIN_MM
    inside = ((joints > low - margin) & (joints < high + margin)).all(axis=1)
    if inside.mean() < _MIN_JOINTS_IN_SCAN:
        centre, size = (low + high) / 2, high - low
        found = (
            f"a mesh of {size.max():.3g} mm about {np.round(centre, 3).tolist()}, which surrounds "
            f"{inside.sum()} of {len(joints)} joints about {joints.mean(axis=0).round(3).tolist()}"
        )
        raise BadInputError(view.scan_path, found, "the hand in the joints' world, mm")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit code, see `data_prep.command`.
    """
    parser = argparse.ArgumentParser(prog="data_prep.prepare", description=__doc__)
    parser.add_argument("--capture", type=Path, required=True, help="folder with images, ...")
    parser.add_argument("--dataset", choices=DATASETS, default=RELEASE, help="what the folder is")
    parser.add_argument("--subject", type=int, help="number; 0 by default but of a capture")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--image-size", type=int, default=256, help="side of the crops, pixels")
    parser.add_argument("--test-sequences", default="", help="regular expression; by default none,"
                        " or a data set's official split")  # fmt: skip
    parser.add_argument("--train-sequences", help="regular expression; all others by default")
    parser.add_argument("--template", type=Path, help="template.npz of an exported model: a hand"
                        " model to take instead of the capture's, or the studio's")  # fmt: skip
    parser.add_argument("--every", type=int, default=1, help="every n-th picture of a data set")
    parser.add_argument("--foreground", choices=(PERSON, HAND), default=PERSON,
                        help="what RHD's masks keep")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--faulty-share", type=float, default=MAX_FAULTY_SHARE,
                        help="share of the pictures that may be left out because they, their frame"
                        " or their camera cannot be used (default: %(default)s)")  # fmt: skip
    options = vars(parser.parse_args(arguments))
    if options["subject"] is None:
        if options["dataset"] == RELEASE:
            parser.error("--subject is needed with a capture; --dataset names a data set")
        options["subject"] = 0
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    return run(lambda: prepare(**options))


if __name__ == "__main__":
    sys.exit(main())
