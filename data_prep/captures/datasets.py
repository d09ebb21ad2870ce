"""Other people's data sets of hands, by name, as captures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data_prep.captures import freihand, interhand, rhd
from data_prep.captures.frames import Capture
from data_prep.records.splits import Pattern
from dhm.errors import BadInputError
from dhm.formats.hand_template import read_template
from dhm.types import HandTemplate

RELEASE = "release"


class _Dataset(NamedTuple):
    """A reader, and the sequences of its official split."""

    read: Callable[..., Capture]
    test: Pattern
    train: Pattern | None = None


_DATASETS = {
    "rhd": _Dataset(rhd.read_rhd, rhd.TEST_SEQUENCES),
    "freihand": _Dataset(freihand.read_freihand, freihand.TEST_SEQUENCES),
    "interhand": _Dataset(
        interhand.read_interhand, interhand.TEST_SEQUENCES, interhand.TRAIN_SEQUENCES
    ),
}
DATASETS = (RELEASE, *_DATASETS)


def read_dataset(
    name: str, root: Path, template: Path | None, *, every: int = 1, foreground: str = rhd.PERSON
) -> Capture:
    """Lists the hands of a data set.

    Args:
        name: Among DATASETS, but not the released capture.
        root: Its folder.
        template: File of the hand model that its joints are brought to, such as template.npz of
            an exported model; the studio's by default.
        every: Takes every n-th picture (FreiHAND: frame) only.
        foreground: What RHD's masks keep; see `rhd.read_rhd`.

    Raises:
        BadInputError: There is no such data set, or a file cannot be used.
    """
    if name not in _DATASETS:
        raise BadInputError("dataset", repr(name), f"one of {', '.join(DATASETS)}")
    if every < 1:
        raise BadInputError("every", f"{every}", "1 or more")
    read = _DATASETS[name].read
    if name == "rhd":
        read = partial(read, foreground=foreground)
    return read(root, read_template(template) if template else _studio_template(), every=every)


def official_split(
    name: str, test: Pattern, train: Pattern | None
) -> tuple[Pattern, Pattern | None]:
    """The sequences to test and to train on: those asked for, else those of the data set."""
    if name == RELEASE:
        return test, train
    return test or _DATASETS[name].test, train or _DATASETS[name].train


def _studio_template() -> HandTemplate:
    from data_prep.studio.template.hand_template import (
        hand_template,  # needs more than the readers do
    )

    return hand_template("full")
