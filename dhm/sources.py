"""Where a config's training data come from: prepared records, a capture, or the built-in hand."""

import logging
from pathlib import Path

from ml_collections import ConfigDict

from dhm.data.prepared_data import PreparedData

log = logging.getLogger(__name__)

DATA_FOLDER = Path("data")


def prepared_data(config: ConfigDict) -> PreparedData:
    """Opens a config's records, and makes them first where need be.

    `config.prepared` alone names records that exist; otherwise the capture is prepared, which
    does nothing if it was before. Without a capture the built-in one is written once.

    Raises:
        BadInputError: If the capture, the records or a setting cannot be used.
    """
    if config.prepared and not config.capture:
        return PreparedData(config.prepared)
    # Needs more than training does, and only here.
    from data_prep.prepare import prepare

    capture, test_sequences = Path(config.capture), config.data.test_sequences
    if not config.capture:
        capture, held_out = _built_in_capture(config.subject)
        test_sequences = test_sequences or held_out
    name = f"{capture.resolve().name}_subject{config.subject}_{config.data.image_size}"
    out = Path(config.prepared or DATA_FOLDER / "prepared" / name)
    prepare(
        capture,
        config.subject,
        out,
        image_size=config.data.image_size,
        test_sequences=test_sequences,
        train_sequences=config.data.train_sequences or None,
    )
    return PreparedData(out)


def _built_in_capture(subject: int) -> tuple[Path, tuple[str, ...]]:
    """Folder of the built-in capture and the sequences it holds out."""
    from data_prep.toy_capture import TOY_HELD_OUT, write_toy_capture

    folder = DATA_FOLDER / f"toy_subject{subject}"
    if not folder.is_dir():
        log.info("config.capture is empty: writing the built-in capture to %s", folder)
        write_toy_capture(folder, subject=subject, num_cameras=4, seed=subject)
    return folder, TOY_HELD_OUT
