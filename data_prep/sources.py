"""Prepares the data of a config: a capture, a data set, or what the studio films.

This module is the `DataSource` (`dhm.runs.records`) that the command line hands to a run.
"""

import dataclasses
import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dhm.data.lock import hold
from dhm.data.prepared_data import PreparedData
from dhm.data.schema import TEMPLATE_FILE
from dhm.errors import BadInputError

log = logging.getLogger(__name__)

DATA_FOLDER = Path("data")
_FILMED_TEMPLATE = "full"


def records(config: ConfigDict) -> PreparedData:
    """Prepares the capture of a config, unless that is done already.

    Without a capture the studio films one first, once.

    Raises:
        BadInputError: If the capture or a setting cannot be used.
    """
    if config.dataset != "release" and not config.capture:
        raise BadInputError("config.capture", "''", f"the folder of {config.dataset}")
    if config.studio.subjects and not config.capture:
        return _studio_subjects(config)
    # Needs more than training does, and only here.
    from data_prep.prepare import prepare

    capture, test_sequences = Path(config.capture), config.data.test_sequences
    dataset = _dataset(config)
    if not config.capture:
        with hold(DATA_FOLDER / ".lock"):  # runs of a sweep may want the same
            capture, held_out = _built_in_capture(config)
        test_sequences = test_sequences or held_out
        dataset |= _other_template(config)
    train_sequences = config.data.train_sequences or None
    name = _name(capture, config, (test_sequences, train_sequences, *dataset.values()))
    out = Path(config.prepared or DATA_FOLDER / "prepared" / name)
    with hold(out.parent / ".lock"):
        prepare(
            capture,
            config.subject,
            out,
            **dataset,
            image_size=config.data.image_size,
            test_sequences=test_sequences,
            train_sequences=train_sequences,
        )
    return PreparedData(out)


def _dataset(config: ConfigDict) -> dict[str, Any]:
    """Arguments of `prepare` for a data set, which has no hand model of its own."""
    if config.dataset == "release":
        return {}
    trained = config.decoder.trained
    return {
        "dataset": config.dataset,
        "template": Path(trained) / TEMPLATE_FILE if trained else None,
    }


def _other_template(config: ConfigDict) -> dict[str, Any]:
    """Another template than the filmed capture's; the capture is the same, and filmed once."""
    if not config.studio.frames or config.studio.template == _FILMED_TEMPLATE:
        return {}
    from data_prep.studio.template.hand_template import template_file

    return {"template": template_file(config.studio.template)}


def linear_model() -> Path:
    """Learns a linear model from the studio's hands, unless that is done already."""
    from data_prep.studio.linear_hand import linear_hand

    with hold(DATA_FOLDER / ".lock"):
        return linear_hand(DATA_FOLDER / "linear_hand.pkl")


def _name(capture: Path, config: ConfigDict, splits: tuple) -> str:
    """Name of a folder for the records of a capture and its split, different from all others."""
    digest = _digest(repr((str(capture.resolve()), splits)))
    return f"{capture.resolve().name}_subject{config.subject}_{config.data.image_size}_{digest}"


def _built_in_capture(config: ConfigDict) -> tuple[Path, tuple[str, ...]]:
    """Folder of the built-in capture and the sequences it holds out."""
    if not config.studio.frames:
        return _toy_capture(config.subject)
    from data_prep.studio.stage.capture import held_out_sequences, write_capture

    settings = dataclasses.replace(_studio_settings(config), template=_FILMED_TEMPLATE)
    folder = DATA_FOLDER / f"studio_subject{config.subject}_{_digest(repr(settings))}"
    log.info(
        "config.capture is empty: the data are synthetic, subject %d of the built-in studio, in %s",
        config.subject,
        folder,
    )
    return write_capture(settings, folder, os.cpu_count() or 1), held_out_sequences()


def _studio_subjects(config: ConfigDict) -> PreparedData:
    """Records of several subjects of the built-in studio."""
    from data_prep.prepare import PrepareOptions, prepare_views
    from data_prep.studio.stage.capture import film_subjects, held_out_subject_sequences

    subjects = tuple(config.studio.subjects)
    settings = _studio_settings(config)
    root = DATA_FOLDER / f"studio_people_{_digest(repr((settings, subjects)))}"
    log.info(
        "config.capture is empty: the data are synthetic, subjects %s of the studio, in %s",
        ", ".join(map(str, subjects)),
        root,
    )
    with hold(DATA_FOLDER / ".lock"):
        captures = film_subjects(settings, subjects, root, os.cpu_count() or 1)
    test_sequences = config.data.test_sequences or held_out_subject_sequences(subjects)
    train_sequences = config.data.train_sequences or None
    name = _name(root, config, (test_sequences, train_sequences))
    out = Path(config.prepared or DATA_FOLDER / "prepared" / name)
    options = PrepareOptions(
        config.subject, config.data.image_size, test_sequences, train_sequences
    )
    with hold(out.parent / ".lock"):
        prepare_views(captures, root, out, options)
    return PreparedData(out)


def _studio_settings(config: ConfigDict):
    """Settings of the studio for one subject."""
    from data_prep.studio.stage.settings import StudioSettings

    fields = {name: config.studio[name] for name in config.studio if name != "subjects"}
    return StudioSettings(subject=config.subject, **fields)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _toy_capture(subject: int) -> tuple[Path, tuple[str, ...]]:
    from data_prep.toy.capture import TOY_HELD_OUT, write_toy_capture

    folder = DATA_FOLDER / f"toy_subject{subject}"
    log.info("config.capture is empty: the data are the built-in toy capture, %s", folder)
    if not folder.is_dir():
        write_toy_capture(folder, subject=subject, num_cameras=4, seed=subject)
    return folder, TOY_HELD_OUT
