"""The captures and data sets that can be prepared, by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data_prep.captures import freihand, interhand, rhd
from data_prep.captures.frames import Capture
from data_prep.captures.release_capture import read_release_capture
from data_prep.records.splits import Pattern
from dhm.errors import BadInputError
from dhm.formats.hand_template import read_template
from dhm.types import HandTemplate

RELEASE = "release"


class _Dataset(NamedTuple):
    """A reader of a data set without a hand model, and the sequences of its official split."""

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
    name: str,
    root: Path,
    template: Path | None,
    *,
    subject: int = 0,
    every: int = 1,
    foreground: str = rhd.PERSON,
) -> Capture:
    """Lists the views of a capture in the released layout or of another data set.

    Args:
        name: One of DATASETS.
        root: Its folder.
        template: template.npz of an exported model: the hand model that joints are sorted for. By
            default the capture's own, or the studio's for a data set without one.
        subject: Number of the subject of a capture.
        every: Takes every n-th picture (FreiHAND: frame) of a data set only.
        foreground: What RHD's masks keep; see `rhd.read_rhd`.

    Raises:
        BadInputError: There is no such data set, or a file or option cannot be used.
    """
    if name not in DATASETS:
        raise BadInputError("dataset", repr(name), f"one of {', '.join(DATASETS)}")
    if every < 1:
        raise BadInputError("every", f"{every}", "1 or more")
    if foreground != rhd.PERSON and name != "rhd":
        found = f"{foreground!r} with {name}"
        raise BadInputError(
            "foreground", found, "the data set rhd, whose masks tell hand and person"
        )
    if name == RELEASE:
        if every != 1:
            raise BadInputError("every", "a value with the released layout", "another data set")
        return read_release_capture(root, subject, template)
    read = _DATASETS[name].read
    if name == "rhd":
        read = partial(read, foreground=foreground)
    return read(root, read_template(template) if template else _studio_template(), every=every)


def official_split(
    name: str, test: Pattern, train: Pattern | None
) -> tuple[Pattern, Pattern | None]:
    """Returns the sequences to test and to train on: the given ones, else the official ones."""
    if name == RELEASE:
        return test, train
    return test or _DATASETS[name].test, train or _DATASETS[name].train


def _studio_template() -> HandTemplate:
    # Needs more packages than the readers do.
    from data_prep.studio.template.hand_template import hand_template

    return hand_template("full")
