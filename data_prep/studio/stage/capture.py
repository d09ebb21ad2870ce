"""A synthetic capture in the released layout: filmed in parallel, resumed where it stopped."""

import contextlib
import functools
import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import jax
import numpy as np
from tqdm import tqdm

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
from data_prep.studio.stage.film import Take, film, pictured_cameras, truth_path
from data_prep.studio.stage.settings import StudioSettings, as_dict, check_settings
from data_prep.studio.template.hand_template import hand_template
from dhm.data.lock import hold
from dhm.errors import BadInputError
from dhm.formats.hand_template import write_hand_model
from dhm.formats.json_file import read_json
from dhm.formats.npz import Arrays
from dhm.formats.release_annotations import read_krt, write_krt

log = logging.getLogger(__name__)

SETTINGS_FILE, SPLITS_FILE, SHEET_FILE = "studio.json", "splits.json", "contact_sheet.png"
_MOTIONS_FILE = "motions.npz"
_SHEET_COLUMNS, _SHEET_ROWS, _SHEET_TILE = 8, 4, 160


def held_out_sequences() -> tuple[str, ...]:
    """Returns the names of the sequences that are meant for testing."""
    return sequence_names()[1]


def write_capture(settings: StudioSettings, root: Path, workers: int = 2) -> Path:
    """Films a capture; the same settings give the same files, byte for byte.

    It is built beside `root` and takes its place when it is complete; after an interruption the
    same call goes on with the frames that are missing. Does nothing where the capture is complete.

    Args:
        settings: What to film.
        root: The capture's folder.
        workers: Processes.

    Returns:
        The folder.

    Raises:
        BadInputError: The settings are impossible, or the folder holds something else.
    """
    check_settings(settings)
    if workers < 1:
        raise BadInputError("workers", str(workers), "1 or more processes")
    root = Path(root)
    with hold(root.parent / f".{root.name}.lock"):
        if _is_complete(settings, root):
            log.info("%s is complete", root)
            return root
        building = root.with_name(root.name + ".partial")
        _begin(settings, building)
        _film_all(settings, building, _takes(settings, building, workers), workers)
        _write_sheet(settings, building)
        if root.exists():
            root.rmdir()
        building.rename(root)
    return root


def _is_complete(settings: StudioSettings, root: Path) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    _check_same(settings, root)
    return True


def _check_same(settings: StudioSettings, folder: Path) -> None:
    """Refuses a folder that holds something else than (part of) this capture."""
    path = folder / SETTINGS_FILE
    found = read_json(path, "a capture of the studio, or no folder yet")
    for name, value in as_dict(settings).items():
        if found.get(name) != value:
            expected = f"{value!r} as asked (or another folder)"
            raise BadInputError(path, f"{name} = {found.get(name)!r}", expected)


def _begin(settings: StudioSettings, building: Path) -> None:
    """Writes what all frames share."""
    if building.exists():
        _check_same(settings, building)
        log.info("going on with %s", building)
        return
    fresh = building.with_name(building.name + ".new")
    (fresh / "annotations").mkdir(parents=True, exist_ok=True)
    write_hand_model(hand_template(settings.template), fresh / "hand_model")
    cameras = studio_cameras(settings.cameras, settings.seed)
    write_krt(fresh / "annotations" / "KRT_512", cameras)
    training, held_out = sequence_names()
    splits = {"train": training, "test": held_out}
    (fresh / SPLITS_FILE).write_text(json.dumps(splits, indent=1) + "\n")
    (fresh / SETTINGS_FILE).write_text(json.dumps(as_dict(settings), indent=1) + "\n")
    fresh.rename(building)


def _takes(settings: StudioSettings, building: Path, workers: int = 1) -> list[Take]:
    """Every frame, numbered from 1; the motions are computed once and kept in a file."""
    path = building / _MOTIONS_FILE
    if not path.is_file():
        log.info("planning %d motions", sum(map(len, sequence_names())))
        _save_motions(path, _motions(settings, workers))
    training, held_out = sequence_names()
    arrays, takes = Arrays(path), []
    for name in (*training, *held_out):
        theta, T = arrays[f"{name}/theta"], arrays[f"{name}/T_world_hand"]
        for angles, place in zip(theta, T, strict=True):
            takes.append(Take(len(takes) + 1, name, name in held_out, angles, place))
    return takes


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
    unfinished = path.with_suffix(".partial.npz")
    np.savez(unfinished, **arrays)
    unfinished.rename(path)


def _film_all(settings: StudioSettings, building: Path, takes: list[Take], workers: int) -> None:
    missing = [t for t in takes if not truth_path(building, settings.subject, t.number).is_file()]
    calls = [functools.partial(_film_take, settings, building, take) for take in missing]
    done = len(takes) - len(missing)
    with (
        _pool(min(workers, max(len(calls), 1))) as run,
        tqdm(total=len(takes), initial=done, desc="film", unit="frame", disable=None) as bar,
    ):
        for _ in run(calls):
            bar.update()


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[Callable[[list[Callable]], Iterator]]:
    """Gives a function that runs calls, in processes if there are several, in their order."""
    if workers == 1:
        yield lambda calls: (call() for call in calls)
        return
    # JAX does not survive a fork, hence spawn.
    context = multiprocessing.get_context("spawn")
    kept = (jax.config.jax_compilation_cache_dir,)
    with ProcessPoolExecutor(workers, context, _begin_worker, kept) as pool:
        try:
            yield lambda calls: pool.map(_call, calls)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _call(call: Callable):
    return call()


def _begin_worker(compiled_programs: str | None) -> None:
    """Sets a worker up, who finds what others compiled where this process keeps it.

    A worker for each core is enough; XLA and OpenCV would start a thread for each in each.
    """
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    cv2.setNumThreads(1)
    jax.config.update("jax_compilation_cache_dir", compiled_programs)


@functools.lru_cache(maxsize=1)
def _calibration(path: Path):
    return read_krt(path)


def _film_take(settings: StudioSettings, building: Path, take: Take) -> None:
    # As the file holds them, which is what a reader of the capture will calculate with.
    cameras = _calibration(building / "annotations" / "KRT_512")
    film(settings, building, cameras, take)


def _write_sheet(settings: StudioSettings, building: Path) -> None:
    """Writes a sheet of pictures from all over the capture."""
    takes = _takes(settings, building)
    names = list(studio_cameras(settings.cameras, settings.seed))
    count = _SHEET_COLUMNS * _SHEET_ROWS
    tiles = []
    for index, at in enumerate(np.linspace(0, len(takes) - 1, count).round().astype(int)):
        take = takes[at]
        pictured = pictured_cameras(settings, names, take.number)
        camera = pictured[index % len(pictured)]
        folder = building / "images" / f"subject_{settings.subject}" / take.sequence
        picture = cv2.imread(str(folder / f"cam{camera}" / f"image{take.number:04d}.jpg"))
        square = picture[(picture.shape[0] - picture.shape[1]) // 2 :][: picture.shape[1]]
        tiles.append(cv2.resize(square, (_SHEET_TILE,) * 2, interpolation=cv2.INTER_AREA))
    rows = np.array(tiles).reshape(_SHEET_ROWS, _SHEET_COLUMNS, _SHEET_TILE, _SHEET_TILE, 3)
    sheet = np.concatenate(np.concatenate(rows, axis=1), axis=1)
    cv2.imwrite(str(building / SHEET_FILE), sheet)
