"""The tasks of a run: train, evaluate, export and report. Each can be called from Python."""

import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dhm.data.lock import hold
from dhm.data.prepared_data import PreparedData
from dhm.data.schema import TRAIN
from dhm.evaluation.details import evaluate_details, summarise_details
from dhm.evaluation.encoders import (
    FORMER,
    NEW,
    comparison,
    evaluate_encoder,
    summarise_encoder,
)
from dhm.evaluation.evaluate import (
    evaluate,
    evaluate_fitted,
    evaluate_template,
    format_table,
    summarise,
    worst_images,
)
from dhm.evaluation.metrics_file import METRICS_FILE, OVERALL, MissingData, write_metrics
from dhm.export.meshes import write_mesh
from dhm.export.package import save_model
from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.report.pictures import write_preview
from dhm.runs import config as configuration
from dhm.runs.config_file import config_from_plain, noted_config
from dhm.runs.folder import EXPORT_FOLDER, LOCK_FILE, REPORT_FILE, TENSORBOARD_FOLDER
from dhm.runs.model import make_model
from dhm.runs.records import DataSource, measured_records, open_records, require_measured_records
from dhm.runs.train_task import long_training_notice, train_task
from dhm.runs.trained_decoder import make_missing_decoder, network_settings, trained_model
from dhm.runs.workdir import (
    claim_workdir,
    common_settings,
    newest_step,
    require_checkpoint,
    require_run_folder,
    require_same_model,
    trained_variables,
    was_trained_on,
)
from dhm.training.processes import is_first, leave, require_equal, wait_for_all

log = logging.getLogger(__name__)


def run(tasks: Sequence[str], config: ConfigDict, workdir: Path, source: DataSource) -> None:
    """Checks the config, prepares the data once and runs tasks on them.

    If several processes train together, the first alone evaluates, exports and reports.

    Args:
        tasks: Among "train", "evaluate", "export" and "report".
        config: From a file in configs/.
        workdir: Folder of the run.
        source: Prepares the data.

    Raises:
        DhmError: If the config, the data or the workdir cannot be used, or another process trains
            in the workdir.
    """
    require_run_folder(config, workdir)
    with ExitStack() as stack:
        if "train" in tasks:
            configuration.check_config(config, jax.device_count())
            require_equal("the settings", common_settings(config))
            make_missing_decoder(config, lambda *of: run(("train", "export"), *of, source))
            if is_first():
                _announce(config)
                stack.enter_context(hold(workdir / LOCK_FILE, wait=False))
                claim_workdir(config, workdir)
            before = newest_step(workdir)
        else:
            configuration.check_config(config)
            step = require_checkpoint(workdir)
            require_same_model(config, workdir)
        data = _data_of_all(config, source)
        if "train" in tasks:
            train_task(config, workdir, data, source)
        first = is_first()
        leave()
        if "train" not in tasks:
            _note_training(workdir, step, data)
        elif first:
            _note_older_results(tasks, workdir, before)
        if "evaluate" in tasks and first:
            evaluate_task(config, workdir, data, source)
        if "export" in tasks and first:
            export_task(config, workdir, data, source)
        if "report" in tasks and first:
            report_task(workdir, data)


def _data_of_all(config: ConfigDict, source: DataSource) -> PreparedData:
    """Opens the records; the first process makes them, the others find them or make their own."""
    data = open_records(config, source) if is_first() else None
    wait_for_all("the first process has its data")
    data = data or open_records(config, source)
    wait_for_all("all processes have their data")
    index = data.split_index(TRAIN)
    names = repr((data.image_size, data.index.sequences, data.index.cameras))
    require_equal("the records", b"".join([names.encode(), *(ids.tobytes() for ids in index)]))
    return data


def _note_older_results(tasks: Sequence[str], workdir: Path, before: int | None) -> None:
    """Warns of results that a training has left behind, as no task writes them again.

    Args:
        tasks: Those of this run.
        workdir: Folder of the run.
        before: Step at which the training went on.
    """
    after = newest_step(workdir)
    if before is None or before == after:
        return
    results = {"evaluate": METRICS_FILE, "export": EXPORT_FOLDER, "report": REPORT_FILE}
    for task, name in results.items():
        if task not in tasks and (workdir / name).exists():
            log.warning(
                "%s is of step %d or earlier, the training is at %d: `%s` writes it again",
                workdir / name, before, after, task,
            )  # fmt: skip


def _note_training(workdir: Path, step: int, data: PreparedData) -> None:
    """Warns if a model was trained on other records than these, or not to the end."""
    if not was_trained_on(workdir, data.info.fingerprint):
        log.warning(
            "%s was trained on other records than those of %s, some of which it may have seen",
            workdir, data.root,
        )  # fmt: skip
        return
    config = config_from_plain(noted_config(workdir))
    num_steps = config.train.epochs * configuration.steps_per_epoch(config, data.num_train)
    if step < num_steps:
        log.warning(
            "%s is not trained to the end: its newest checkpoint is of step %d of %d",
            workdir, step, num_steps,
        )  # fmt: skip


def _announce(config: ConfigDict) -> None:
    """Logs what is learned, if not the whole hand, and how long a studio's data will take."""
    learned = configuration.mode(config)
    if learned is not configuration.Mode.HAND:
        log.info("this run learns %s", learned.value)
    if config.capture or config.prepared:
        return
    people = len(config.studio.subjects) or 1
    num_train = people * config.studio.frames * config.studio.pictures
    if notice := long_training_notice(config, num_train):
        log.info("%s", notice)


def evaluate_task(
    config: ConfigDict, workdir: Path, data: PreparedData, source: DataSource
) -> dict[str, Any]:
    """Measures the workdir's newest checkpoint; prints tables, writes metrics.json.

    Returns:
        The content of metrics.json: the step, the split, the errors by sequence and overall, mm,
        with the encoder's angles, with angles fitted to the true joints, and of the untrained
        template; the images with the largest P_err, and which records were measured.

    Raises:
        DhmError: If the workdir has no checkpoint.
    """
    model = make_model(config, data, source)
    step, variables = trained_variables(workdir, model)
    errors = evaluate(
        model,
        variables,
        data,
        batch_size=config.eval.batch_size,
        mesh_stride=config.eval.mesh_stride,
        num_threads=config.input.num_threads,
    )
    fitted = evaluate_fitted(model, variables, data, batch_size=config.eval.batch_size)
    untrained = evaluate_template(data, batch_size=config.eval.batch_size)
    result = {
        "step": step,
        "split": data.info.evaluation_split,
        "unit": "mm",
        "errors": summarise(errors),
        "errors_fitted": summarise(fitted),
        "errors_template": summarise(untrained),
        "worst": worst_images(errors, data),
        "data": {"folder": str(data.root.resolve()), "fingerprint": data.info.fingerprint},
    }
    if config.eval.details_stride:
        details = evaluate_details(
            model, variables, data, batch_size=config.eval.batch_size,
            stride=config.eval.details_stride,
        )  # fmt: skip
        result["details"] = {name: summarise_details(rows) for name, rows in details.items()}
    if configuration.mode(config) is configuration.Mode.ENCODER:
        result["encoders"] = _compare_encoders(config, model, variables, data)
    _print_errors(result)
    write_metrics(workdir / METRICS_FILE, result)
    return result


def _print_errors(result: dict[str, Any]) -> None:
    print("The untrained template at zero pose, one image a frame: errors in mm")
    print(format_table({OVERALL: result["errors_template"][OVERALL]}))
    print(
        f"\nErrors in mm on the {result['split']} split after the alignment, step {result['step']}"
    )
    print(format_table(result["errors"]))
    print("\nThe decoder alone, with angles fitted to the true joints, one image a frame")
    print(format_table(result["errors_fitted"]))
    if "encoders" in result:
        print("\nP_err in mm of the new encoder and of the one that the decoder was trained with")
        print("(adj: the output's bones have the lengths of the true ones)")
        print(format_table(comparison(result["encoders"])))
    if result["split"] == "train":
        print("No sequence is held out: these are errors on training frames.")


def _compare_encoders(
    config: ConfigDict, model: HandModel, variables: dict[str, Any], data: PreparedData
) -> dict[str, Any]:
    """Errors of the run's encoder and of the one that its decoder was trained with."""
    encoders = {NEW: (model, variables), FORMER: trained_model(config)}
    size, threads = config.eval.batch_size, config.input.num_threads
    return {
        name: summarise_encoder(evaluate_encoder(*one, data, batch_size=size, num_threads=threads))
        for name, one in encoders.items()
    }


def export(workdir: Path, source: DataSource) -> Path:
    """Exports a run with the config that it notes, on the records that it was measured on.

    Returns:
        The folder.

    Raises:
        DhmError: If the workdir is no run, has no checkpoint, or its data cannot be used.
    """
    config = config_from_plain(noted_config(workdir))
    step, data = require_checkpoint(workdir), require_measured_records(workdir)
    _note_training(workdir, step, data)
    return export_task(config, workdir, data, source)


def export_task(config: ConfigDict, workdir: Path, data: PreparedData, source: DataSource) -> Path:
    """Writes the newest checkpoint as msgpack, and meshes of it, into <workdir>/export.

    Returns:
        The folder.

    Raises:
        DhmError: If the workdir has no checkpoint.
    """
    model = make_model(config, data, source)
    _, variables = trained_variables(workdir, model)
    folder = workdir / EXPORT_FOLDER
    linear = model.linear if isinstance(model, LinearHandModel) else None
    # A kept decoder has a hand of its own; a linear one gets the data's joints when it is loaded.
    template = model.template if linear is None else data.template
    settings = network_settings(config)
    save_model(folder, variables, template, settings, noted_config(workdir), linear)
    zero = model.apply(variables, jnp.zeros((1, model.encoder.num_dofs)), method="decode")
    write_mesh(folder / "zero_pose", np.asarray(zero.v_zero[0]), model.template)
    records = _spread(len(data.split_index(data.info.evaluation_split).frame), config)
    shutil.rmtree(folder / "posed", ignore_errors=True)  # of an earlier export
    for record in records:
        _write_posed_mesh(folder, model, variables, data, record)
    write_preview(folder / "preview.png", model, variables, data, records)
    print(f"Exported to {folder}")
    return folder


def report(config: ConfigDict | None, workdir: Path) -> Path:
    """Writes the report of a run that has ended; parts whose files are missing are left out.

    Args:
        config: Names records with `config.prepared` where they moved; None: the config that the
            workdir notes, and the records that metrics.json names.
        workdir: Folder of the run.

    Returns:
        The page's path.

    Raises:
        DhmError: If the workdir is no run, the config does not fit it, or a file is damaged.
    """
    noted_config(workdir)
    if config is not None:
        configuration.check_config(config)
        require_same_model(config, workdir)
    return report_task(workdir, measured_records(workdir, config.prepared if config else ""))


def report_task(workdir: Path, data: PreparedData | MissingData) -> Path:
    """Writes <workdir>/report.html, one page of a run's errors, pictures, meshes and curves.

    Args:
        workdir: Folder of the run.
        data: The records that its errors were measured on, or why they cannot be used.

    Returns:
        The page's path.

    Raises:
        BadInputError: If the workdir is no run, or a file of it is damaged.
    """
    # Needs packages that no other task does.
    from dhm.report.page import RunFiles, write_report

    files = RunFiles(
        workdir,
        noted_config(workdir),
        workdir / METRICS_FILE,
        workdir / TENSORBOARD_FOLDER,
        workdir / EXPORT_FOLDER,
    )
    path = workdir / REPORT_FILE
    write_report(path, files, data)
    print(f"Report in {path}")
    return path


def _write_posed_mesh(
    folder: Path, model: HandModel, variables: dict, data: PreparedData, record: int
) -> None:
    split = data.info.evaluation_split
    fields = data.record(split, record)
    image = jnp.asarray(data.decode_image(split, record, fields)[None])
    _, output = model.apply(variables, image)
    name = f"{fields.sequence}_{fields.frame:06d}_{fields.camera}"
    write_mesh(folder / "posed" / name, np.asarray(output.vertices[0]), model.template)


def _spread(num_records: int, config: ConfigDict) -> list[int]:
    """Records spread evenly over the evaluation split."""
    count = min(config.export.num_poses, num_records)
    return np.linspace(0, num_records - 1, count).round().astype(int).tolist()
