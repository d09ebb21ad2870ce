"""Assigns views to splits; no sequence lies in two."""

import re
from collections import Counter
from collections.abc import Sequence

from data_prep.captures.frames import Capture
from data_prep.records.crop import CAMERA_CONVENTION, CropPlan, Unusable, plan_crop
from data_prep.records.hand_dataset import PlannedView
from dhm.data.schema import TEST, TRAIN
from dhm.errors import BadInputError
from dhm.formats.paths import composed

NO_SPLIT = "sequence in neither split"

Pattern = str | Sequence[str]
"""A regular expression that is searched for in names, or a list of names."""


def assign_sequences(
    names: Sequence[str], test: Pattern, train: Pattern | None = None
) -> dict[str, tuple[str, ...]]:
    """Assigns sequences to splits.

    Args:
        names: All sequences.
        test: Those to hold out. An empty pattern holds out none: there is then no test split, and
            the evaluation is on training frames.
        train: Those to train on; by default all that are not held out.

    Returns:
        The names by split; no "test" where none is held out.

    Raises:
        BadInputError: A pattern is no regular expression or matches nothing, a listed name does
            not exist, both patterns match a sequence, or nothing is left to train on.
    """
    held_out = _select(names, test, "test_sequences") if test else ()
    if train is None:
        chosen = tuple(name for name in names if name not in held_out)
    else:
        chosen = _select(names, train, "train_sequences")
    if both := [name for name in chosen if name in held_out]:
        raise BadInputError("train_sequences", f"{both}, held out for testing", "other sequences")
    if not chosen:
        raise BadInputError(
            "test_sequences", f"every sequence ({list(names)})", "some left to train on"
        )
    return {TRAIN: chosen, TEST: held_out} if held_out else {TRAIN: chosen}


def plan_splits(
    frames: Capture, image_size: int, test: Pattern, train: Pattern | None
) -> tuple[dict[str, list[PlannedView]], dict[str, int]]:
    """Plans every view before any picture is read.

    Returns:
        The planned views by split, in the capture's order, and the number of skipped views by
        reason.

    Raises:
        BadInputError: A pattern cannot be used, or a split has no usable view.
    """
    names = sorted({view.sequence for view in frames.views})
    sequences = assign_sequences(names, test, train)
    split_of = {name: split for split, chosen in sequences.items() for name in chosen}
    splits: dict[str, list[PlannedView]] = {split: [] for split in sequences}
    counts: Counter[str] = Counter()
    for view in frames.views:
        if view.sequence not in split_of:
            counts[NO_SPLIT] += 1
            continue
        plan = plan_crop(view, image_size)
        if isinstance(plan, CropPlan):
            splits[split_of[view.sequence]].append(PlannedView(view, plan))
        else:
            counts[plan.value] += 1
    reasons = NO_SPLIT, *(reason.value for reason in Unusable)
    skipped = frames.skipped | {reason: counts[reason] for reason in reasons}
    for split, views in splits.items():
        if not views:
            found = f"no usable view in {list(sequences[split])} ({dict(counts)})"
            expected = f"views in which the hand can be cropped; {CAMERA_CONVENTION}"
            raise BadInputError(f"{split}_sequences", found, expected)
    return splits, skipped


def _select(names: Sequence[str], pattern: Pattern, where: str) -> tuple[str, ...]:
    shown = {name: composed(name) for name in names}  # whichever Unicode form the disk gives
    if not isinstance(pattern, str):
        wanted = {composed(name) for name in pattern}
        if unknown := sorted(wanted - set(shown.values())):
            raise BadInputError(where, f"unknown sequences {unknown}", f"some of {list(names)}")
        return tuple(name for name in names if shown[name] in wanted)
    try:
        chosen = tuple(name for name in names if re.search(composed(pattern), shown[name]))
    except re.error as error:
        raise BadInputError(where, f"{pattern!r} ({error})", "a regular expression") from error
    if not chosen:
        raise BadInputError(where, f"{pattern!r}, which matches none", f"one of {list(names)}")
    return chosen
