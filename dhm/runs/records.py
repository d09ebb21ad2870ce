"""The records of a run: those that its config asks for, and those that it was measured on."""

from pathlib import Path
from typing import Protocol

from ml_collections import ConfigDict

from dhm.data.prepared_data import PreparedData
from dhm.errors import BadInputError
from dhm.evaluation.metrics_file import METRICS_FILE, MissingData, read_metrics


class DataSource(Protocol):
    """Prepares data for configs; `data_prep.sources` is one, which the command line hands over."""

    def records(self, config: ConfigDict) -> PreparedData:
        """Prepares the capture of a config, or films one, unless that is done already."""

    def linear_model(self) -> Path:
        """Makes a file of a linear hand model, unless that is done already."""


def open_records(config: ConfigDict, source: DataSource) -> PreparedData:
    """Opens the records of a config; they are made first where they have to be.

    Args:
        config: `prepared` alone names records that exist.
        source: Makes those of any other config.

    Raises:
        BadInputError: If the records, the capture or a setting cannot be used.
    """
    if config.capture or not config.prepared:
        return source.records(config)
    data = PreparedData(config.prepared)
    for key, asked, found in (
        ("subject", config.subject, data.info.subject),
        ("data.image_size", config.data.image_size, data.info.image_size),
    ):
        if asked != found:
            raise BadInputError(f"config.{key}", f"{asked}", f"{found}, as in {config.prepared}")
    for key in ("test_sequences", "train_sequences"):
        if config.data[key]:
            raise BadInputError(
                f"config.data.{key}",
                f"{config.data[key]!r}",
                f"nothing: the records of {config.prepared} were split when they were made",
            )
    return data


def measured_records(workdir: Path, prepared: str = "") -> PreparedData | MissingData:
    """Opens the records that the errors of a run were measured on.

    Args:
        workdir: Of the run.
        prepared: Folder where they are now, "" where metrics.json says.

    Returns:
        The records, or why they cannot be used.

    Raises:
        BadInputError: If metrics.json is damaged.
    """
    path = workdir / METRICS_FILE
    if not path.is_file():
        return MissingData(f"There is no {METRICS_FILE}, which names the data: evaluate the run.")
    noted = read_metrics(path).get("data")
    if not isinstance(noted, dict) or not isinstance(noted.get("folder"), str):
        return MissingData(f"{METRICS_FILE} does not name the data: evaluate the run again.")
    folder = Path(prepared or noted["folder"])
    if not folder.is_dir():
        return MissingData(f"The data that the errors were measured on are gone: {folder}.")
    try:
        data = PreparedData(folder)
    except BadInputError as error:
        return MissingData(f"The data that the errors were measured on are damaged: {error}.")
    if data.info.fingerprint != noted.get("fingerprint"):
        return MissingData(f"The errors were measured on other data than those in {folder}.")
    return data


def require_measured_records(workdir: Path) -> PreparedData:
    """Opens the records that the errors of a run were measured on.

    Raises:
        BadInputError: If they cannot be used.
    """
    data = measured_records(workdir)
    if isinstance(data, MissingData):
        raise BadInputError(workdir, "no data", f"those of the evaluation. {data.reason}")
    return data
