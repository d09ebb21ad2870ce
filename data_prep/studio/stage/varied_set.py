"""Several people of the studio as one capture, as a set of general images would have them."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.captures.frames import Capture, CaptureView
from data_prep.captures.release_capture import read_release_capture
from data_prep.studio.stage.capture import held_out_sequences, write_capture
from data_prep.studio.stage.settings import StudioSettings
from dhm.errors import BadInputError

log = logging.getLogger(__name__)


def film_people(
    settings: StudioSettings, subjects: Sequence[int], root: Path, workers: int = 2
) -> Capture:
    """Films each subject, one after the other, and merges the captures.

    Each has a seed of its own, so that they show other poses, under other lamps, to other cameras.
    What is there of them already stays, as `write_capture` says.

    Args:
        settings: What to film of each; its subject does not matter, its seed is the one before the
            first subject's.
        subjects: Numbers of different subjects.
        root: Gets a capture in the released layout for each subject.
        workers: Processes.

    Returns:
        All views, in sequences named as `people_sequence` does.

    Raises:
        BadInputError: A subject comes twice, the settings are impossible, or a folder holds
            something else.
    """
    if not subjects or len(set(subjects)) < len(subjects):
        raise BadInputError("studio.subjects", f"{tuple(subjects)}", "one or more different ones")
    captures = {}
    for number in subjects:
        log.info("subject %d of %s", number, tuple(subjects))
        folder = Path(root) / f"subject_{number}"
        own = dataclasses.replace(settings, subject=number, seed=settings.seed + number)
        write_capture(own, folder, workers)
        captures[number] = read_release_capture(folder, number)
    return merge_people(captures)


def merge_people(captures: Mapping[int, Capture]) -> Capture:
    """One capture of several people's, with the first one's hand model.

    Args:
        captures: By number of the subject. Their hand models have to have the same joints.

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
            dataclasses.replace(view, sequence=people_sequence(number, view.sequence))
            for view in capture.views
        ]
        skipped.update(capture.skipped)
    views.sort(key=lambda view: (view.sequence, view.frame, view.camera))
    return Capture(template, tuple(views), dict(skipped))


def people_sequence(subject: int, sequence: str) -> str:
    """Name of a subject's sequence among those of several people: s2_0001_RT_range_of_thumb."""
    return f"s{subject}_{sequence}"


def held_out_people(subjects: Sequence[int]) -> tuple[str, ...]:
    """Names of all subjects' sequences that are meant for testing."""
    return tuple(
        people_sequence(number, name) for number in subjects for name in held_out_sequences()
    )
