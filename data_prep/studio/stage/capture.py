"""Synthetic captures in the released layout: filmed in parallel, resumed after an interruption."""

import contextlib
import dataclasses
import functools
import json
import logging
import multiprocessing
import operator
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import jax
import numpy as np
from tqdm import tqdm

from data_prep.captures.frames import Capture, CaptureView
from data_prep.captures.release_capture import read_release_capture
from data_prep.studio.anatomy.proportions import subject
from data_prep.studio.motion.motions import (
    Motion,
    gesture_lengths,
    held_out_gesture,
    named_pose,
    sequence_names,
    training_lengths,
    training_motion,
)
from data_prep.studio.motion.poses import POSES
from data_prep.studio.stage.cameras import CENTRE, studio_cameras
from data_prep.studio.stage.film import Frame, film_frame, pictured_cameras, truth_path, write_npz
from data_prep.studio.stage.settings import StudioSettings, check_settings
from data_prep.studio.template.hand_template import hand_template
from dhm.data.lock import hold
from dhm.errors import BadInputError
from dhm.files import data_paths, keep_no_data
from dhm.formats.hand_template import write_hand_model
from dhm.formats.json_file import read_json
from dhm.formats.npz import Arrays
from dhm.formats.paths import existing, require_folder
from dhm.formats.release_annotations import read_krt, write_krt

log = logging.getLogger(__name__)

SETTINGS_FILE, SPLITS_FILE, SHEET_FILE = "studio.json", "splits.json", "contact_sheet.png"
_MOTIONS_FILE = "motions.npz"
_SHEET_COLUMNS, _SHEET_ROWS, _SHEET_TILE = 8, 4, 160


def held_out_sequences() -> tuple[str, ...]:
    """Returns the names of the sequences to test on."""
    return sequence_names()[1]


def write_capture(settings: StudioSettings, root: Path, workers: int = 2) -> Path:
    """Films a capture; the same settings give the same files, byte for byte.

    The capture is built in a sibling of `root` that is renamed to `root` when it is complete. After
    an interruption the same call films the missing frames. A complete capture is left as it is.

    Args:
        settings: Settings of the capture.
        root: Folder of the capture.
        workers: Number of processes.

    Returns:
        The folder.

    Raises:
        BadInputError: A setting is out of range, or the folder contains something else.
    """
    check_settings(settings)
    if workers < 1:
        raise BadInputError("workers", str(workers), "at least 1 process")
    root = existing(root)
    require_folder("out", root)
    with hold(root.parent / f".{root.name}.lock"):
        if _is_complete(settings, root):
            log.info("%s is complete", root)
            return root
        building = root.with_name(root.name + ".partial")
        _begin(settings, building)
        _film_all(settings, building, _frames(settings, building, workers), workers)
        _write_sheet(settings, building)
        if root.exists():
            keep_no_data(root, building)
            root.rmdir()
        building.rename(root)
    return root


def _is_complete(settings: StudioSettings, root: Path) -> bool:
    if not root.exists() or (root.is_dir() and not data_paths(root)):
        return False
    _check_same(settings, root)
    return True


def _check_same(settings: StudioSettings, folder: Path) -> None:
    """Refuses a folder that contains anything but (part of) this capture."""
    path = folder / SETTINGS_FILE
    found = read_json(path, "a capture of the studio, or no folder yet")
    for name, value in dataclasses.asdict(settings).items():
        if found.get(name) != value:
            expected = f"{value!r} as requested (or another folder)"
            raise BadInputError(path, f"{name} = {found.get(name)!r}", expected)


def _begin(settings: StudioSettings, building: Path) -> None:
    """Writes the files that all frames share."""
    if building.exists():
        _check_same(settings, building)
        log.info("resuming %s", building)
        return
    fresh = building.with_name(building.name + ".new")
    (fresh / "annotations").mkdir(parents=True, exist_ok=True)
    write_hand_model(hand_template(settings.template), fresh / "hand_model")
    cameras = studio_cameras(settings.cameras, settings.seed)
    write_krt(fresh / "annotations" / "KRT_512", cameras)
    training, held_out = sequence_names()
    splits = {"train": training, "test": held_out}
    (fresh / SPLITS_FILE).write_text(json.dumps(splits, indent=1) + "\n")
    (fresh / SETTINGS_FILE).write_text(json.dumps(dataclasses.asdict(settings), indent=1) + "\n")
    fresh.rename(building)


def _frames(settings: StudioSettings, building: Path, workers: int = 1) -> list[Frame]:
    """All frames, numbered from 1. The motions are computed once and stored in a file."""
    path = building / _MOTIONS_FILE
    if not path.is_file():
        log.info("planning %d motions", sum(map(len, sequence_names())))
        _save_motions(path, _motions(settings, workers))
    training, held_out = sequence_names()
    arrays, frames = Arrays(path), []
    for name in (*training, *held_out):
        theta, T = arrays[f"{name}/theta"], arrays[f"{name}/T_world_hand"]
        for angles, place in zip(theta, T, strict=True):
            frames.append(Frame(len(frames) + 1, name, name in held_out, angles, place))
    return frames


def _motions(settings: StudioSettings, workers: int) -> list[Motion]:
    person, seed, step = subject(settings.subject), settings.seed, settings.frame_step
    with _pool(workers) as run:
        calls = [functools.partial(named_pose, person, name) for name in POSES]
        poses = dict(zip(POSES, run(calls), strict=True))
        lengths = gesture_lengths(settings.test_frames)
        calls = [
            functools.partial(held_out_gesture, index, person, seed, length, step, poses)
            for index, length in enumerate(lengths)
        ]
        gestures = list(run(calls))
        lengths = training_lengths(settings.frames)
        calls = [
            functools.partial(training_motion, index, person, seed, length, step, gestures, poses)
            for index, length in enumerate(lengths)
        ]
        bar = tqdm(run(calls), total=len(calls), desc="plan", unit="motion", disable=None)
        return [*bar, *gestures]


def _save_motions(path: Path, motions: list[Motion]) -> None:
    arrays = {}
    for motion in motions:
        T = motion.T_world_hand.copy()
        T[:, :3, 3] += CENTRE
        arrays |= {f"{motion.name}/theta": motion.theta, f"{motion.name}/T_world_hand": T}
    write_npz(path, **arrays)


def _film_all(settings: StudioSettings, building: Path, frames: list[Frame], workers: int) -> None:
    missing = [f for f in frames if not truth_path(building, settings.subject, f.number).is_file()]
    calls = [functools.partial(_film_frame, settings, building, frame) for frame in missing]
    done = len(frames) - len(missing)
    with (
        _pool(min(workers, max(len(calls), 1))) as run,
        tqdm(total=len(frames), initial=done, desc="film", unit="frame", disable=None) as bar,
    ):
        for _ in run(calls):
            bar.update()


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[Callable[[list[Callable]], Iterator]]:
    """Yields a function that runs calls in processes, and yields their results in order."""
    if workers == 1:
        yield lambda calls: (call() for call in calls)
        return
    # JAX does not survive a fork, hence spawn.
    context = multiprocessing.get_context("spawn")
    kept = (jax.config.jax_compilation_cache_dir,)
    with ProcessPoolExecutor(workers, context, _begin_worker, kept) as pool:
        try:
            yield lambda calls: pool.map(operator.call, calls)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _begin_worker(compiled_programs: str | None) -> None:
    """Limits a worker to one thread and shares this process's cache of compiled programs.

    One worker per core is enough; XLA and OpenCV would start a thread per core in each worker.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false"
    cv2.setNumThreads(1)
    jax.config.update("jax_compilation_cache_dir", compiled_programs)


@functools.lru_cache(maxsize=1)
def _calibration(path: Path):
    return read_krt(path)


def _film_frame(settings: StudioSettings, building: Path, frame: Frame) -> None:
    # Read from the file, rounding included: a reader of the capture gets these cameras.
    cameras = _calibration(building / "annotations" / "KRT_512")
    film_frame(settings, building, cameras, frame)


def _write_sheet(settings: StudioSettings, building: Path) -> None:
    """Writes a sheet of pictures spread evenly over the capture."""
    frames = _frames(settings, building)
    names = list(studio_cameras(settings.cameras, settings.seed))
    count = _SHEET_COLUMNS * _SHEET_ROWS
    tiles = []
    for index, at in enumerate(np.linspace(0, len(frames) - 1, count).round().astype(int)):
        frame = frames[at]
        pictured = pictured_cameras(settings, names, frame.number)
        camera = pictured[index % len(pictured)]
        folder = building / "images" / f"subject_{settings.subject}" / frame.sequence
        picture = cv2.imread(str(folder / f"cam{camera}" / f"image{frame.number:04d}.jpg"))
        square = picture[(picture.shape[0] - picture.shape[1]) // 2 :][: picture.shape[1]]
        tiles.append(cv2.resize(square, (_SHEET_TILE,) * 2, interpolation=cv2.INTER_AREA))
    rows = np.array(tiles).reshape(_SHEET_ROWS, _SHEET_COLUMNS, _SHEET_TILE, _SHEET_TILE, 3)
    sheet = np.concatenate(np.concatenate(rows, axis=1), axis=1)
    cv2.imwrite(str(building / SHEET_FILE), sheet)


def film_subjects(
    settings: StudioSettings, subjects: Sequence[int], root: Path, workers: int = 2
) -> Capture:
    """Films several subjects with `write_capture`, one after the other, and merges the captures.

    Each has a seed of its own: their poses, lamps and cameras differ.

    Args:
        settings: Settings of each capture, except that the subject is replaced and the subject's
            number is added to the seed.
        subjects: Numbers of different subjects.
        root: Folder that gets a capture in the released layout for each subject.
        workers: Number of processes.

    Returns:
        All views, in sequences named by `subject_sequence`.

    Raises:
        BadInputError: There is no subject or one comes twice, a setting is out of range, or a
            folder contains something else.
    """
    if not subjects or len(set(subjects)) < len(subjects):
        raise BadInputError("studio.subjects", f"{tuple(subjects)}", "at least one, all different")
    captures = {}
    for number in subjects:
        log.info("subject %d of %s", number, tuple(subjects))
        folder = Path(root) / f"subject_{number}"
        own = dataclasses.replace(settings, subject=number, seed=settings.seed + number)
        write_capture(own, folder, workers)
        captures[number] = read_release_capture(folder, number)
    return merge_subjects(captures)


def merge_subjects(captures: Mapping[int, Capture]) -> Capture:
    """Merges the captures of several subjects into one, with the first one's hand model.

    Args:
        captures: Captures by number of the subject; their hand models have the same joints.

    Raises:
        BadInputError: If the joints differ.
    """
    template = next(iter(captures.values())).template
    views: list[CaptureView] = []
    skipped: Counter[str] = Counter()
    for number, capture in captures.items():
        if capture.template.joint_names != template.joint_names:
            found = f"{capture.template.joint_names}"
            raise BadInputError(f"joints of subject {number}", found, f"{template.joint_names}")
        views += [
            dataclasses.replace(view, sequence=subject_sequence(number, view.sequence))
            for view in capture.views
        ]
        skipped.update(capture.skipped)
    views.sort(key=lambda view: (view.sequence, view.frame, view.camera))
    return Capture(template, tuple(views), dict(skipped))


def subject_sequence(subject: int, sequence: str) -> str:
    """Returns the name of a subject's sequence in a merged capture: s2_0001_RT_range_of_thumb."""
    return f"s{subject}_{sequence}"


def held_out_subject_sequences(subjects: Sequence[int]) -> tuple[str, ...]:
    """Returns the names of the sequences to test on in a merged capture."""
    return tuple(
        subject_sequence(number, name) for number in subjects for name in held_out_sequences()
    )
