"""Checkpoints that are damaged, cut short or cannot be written."""

import errno
import shutil
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dhm.files import is_data
from dhm.training import checkpoint
from dhm.training.checkpoint import CheckpointError, Checkpoints
from dhm.training.state import TrainState


def _state(step: int) -> TrainState:
    params = {"encoder": {"kernel": jnp.full((3, 4), float(step))}, "skin": jnp.arange(5.0)}
    state = TrainState.create(
        apply_fn=None, params=params, tx=optax.adam(0.1), batch_stats={"mean": jnp.ones(2)},
        identity={"code": jnp.arange(4.0)},
    )  # fmt: skip
    gradients = jax.tree.map(lambda x: x + 1, params)
    return jax.device_get(state.apply_gradients(grads=gradients).replace(step=step))


def _save(folder: Path, *steps: int, keep: int = 3) -> None:
    with closing(Checkpoints(folder, keep)) as checkpoints:
        for step in steps:
            checkpoints.save(_state(step))


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    _save(folder, 10, 20)
    return folder


@pytest.fixture
def folder(two_steps, tmp_path) -> Path:
    """Checkpoints of the steps 10 and 20, to be damaged."""
    return Path(shutil.copytree(two_steps, tmp_path / "checkpoints"))


def _files(folder: Path, step: int) -> list[Path]:
    return sorted(path for path in (folder / str(step)).rglob("*") if path.is_file())


def _restored(folder: Path) -> TrainState:
    with closing(Checkpoints(folder)) as checkpoints:
        return checkpoints.restore(_state(0))


def test_the_whole_state_is_restored(folder):
    for found, expected in zip(
        jax.tree.leaves(_restored(folder)), jax.tree.leaves(_state(20)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    with closing(Checkpoints(folder)) as checkpoints:
        variables = checkpoints.restore_variables()
    np.testing.assert_array_equal(variables["params"]["skin"], _state(20).params["skin"])


def test_every_flipped_bit_is_detected(folder, caplog):
    """In every file, at its ends and in between, the list of digests included."""
    rng = np.random.default_rng(0)
    count = 0
    for path in _files(folder, 20):
        whole = path.read_bytes()
        for place in {0, len(whole) - 1, *rng.integers(0, max(len(whole), 1), 6).tolist()}:
            if not whole:
                continue
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            caplog.clear()
            with closing(Checkpoints(folder)) as checkpoints:
                assert checkpoints.latest_step() == 10, (path, place)
            assert str(folder / "20") in caplog.text and "skipped" in caplog.text
            count += 1
        path.write_bytes(whole)
    assert count > 50
    assert _restored(folder).step == 20


@pytest.mark.mistake(
    "checkpoints",
    "copied in part, with files of one's own, or changed",
    "warning: skipped, the newest good one is read",
)
def test_truncated_missing_and_added_files_are_detected(folder, caplog):
    for path in _files(folder, 20):
        whole = path.read_bytes()
        for length in {0, len(whole) // 2, len(whole) - 1} - {len(whole), -1}:
            path.write_bytes(whole[:length])
            assert _restored(folder).step == 10, (path, length)
        path.unlink()
        caplog.clear()
        assert _restored(folder).step == 10, path
        assert f"{path.name} is missing" in caplog.text
        path.write_bytes(whole)
    (folder / "20" / "state" / "more").write_bytes(b"x")
    assert _restored(folder).step == 10
    assert "state/more does not belong" in caplog.text


LEFT_BY_SYSTEMS = (".DS_Store", "._digests.json", "state/.nfs000000000001", "state/Thumbs.db",
                   "__MACOSX/._state")  # fmt: skip


def _leave(folder: Path) -> None:
    for name in LEFT_BY_SYSTEMS:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")


@pytest.mark.mistake(
    "checkpoints", "files of the system, such as .DS_Store", "understood: they are passed over"
)
def test_files_that_systems_leave_are_no_part_of_a_checkpoint(folder, caplog):
    for path in (folder, folder / "20"):
        _leave(path)
    (folder / "._30.unfinished").touch()
    with closing(Checkpoints(folder)) as checkpoints:
        checkpoints.clear_damaged()
        assert checkpoints.latest_step() == 20
    assert not caplog.records and (folder / "._30.unfinished").exists()
    _files(folder, 20)[-1].write_bytes(b"")
    assert _restored(folder).step == 10


def test_files_that_systems_leave_while_a_checkpoint_is_sealed_may_vanish(folder):
    _leave(folder / "20")
    checkpoint.seal(folder / "20")
    for name in LEFT_BY_SYSTEMS:
        (folder / "20" / name).unlink()
    assert checkpoint.find_damage(folder / "20") is None
    # As versions that sealed them did.
    files = {p.relative_to(folder / "20").as_posix(): checkpoint._digest(p)
             for p in _files(folder, 20) if p.name != checkpoint.SEAL_FILE}  # fmt: skip
    sealed = checkpoint._content(files | {".DS_Store": "0" * 64})
    (folder / "20" / checkpoint.SEAL_FILE).write_bytes(sealed)
    assert checkpoint.find_damage(folder / "20") is None


def test_orbax_has_no_file_that_the_seal_leaves_out(folder):
    parts = [path.relative_to(folder).parts for path in _files(folder, 20)]
    assert parts and all(is_data(part) for path in parts for part in path)


def test_an_old_checkpoint_that_somebody_reads_does_not_stop_the_training(folder, monkeypatch):
    """On NFS a folder with an open file cannot be removed."""
    rmtree = shutil.rmtree

    def busy(path, ignore_errors=False):
        if Path(path).name == "10.unfinished" and not ignore_errors:
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(checkpoint.shutil, "rmtree", busy)
    _save(folder, 30, keep=2)
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30"]


def test_a_damaged_checkpoint_is_renamed_and_its_step_saved_again(folder):
    _files(folder, 20)[0].write_bytes(b"")
    (folder / "30.unfinished" / "state").mkdir(parents=True)
    with closing(Checkpoints(folder)) as checkpoints:
        checkpoints.clear_damaged()
        assert sorted(p.name for p in folder.iterdir()) == ["10", "20.damaged"]
        checkpoints.save(_state(20))
        assert checkpoints.latest_step() == 20
    assert _restored(folder).step == 20


@pytest.mark.mistake("checkpoints", "all of them damaged", "refused: the run does not start again")
def test_restoring_is_refused_when_all_checkpoints_are_damaged(folder):
    for step in (10, 20):
        _files(folder, step)[-1].unlink()
    with (
        closing(Checkpoints(folder)) as checkpoints,
        pytest.raises(CheckpointError, match=r"all checkpoints \(10, 20\) are damaged; give"),
    ):
        checkpoints.restore(_state(0))
    assert sorted(p.name for p in folder.iterdir()) == ["10", "20"]


def test_without_a_checkpoint(tmp_path):
    with closing(Checkpoints(tmp_path / "checkpoints")) as checkpoints:
        assert checkpoints.latest_step() is None
        checkpoints.clear_damaged()
        with pytest.raises(FileNotFoundError, match="no checkpoint under"):
            checkpoints.restore(_state(0))
    assert not list(tmp_path.iterdir())


def test_the_newest_few_are_kept_and_a_step_is_saved_once(tmp_path):
    folder = tmp_path / "checkpoints"
    _save(folder, 1, 2, 3, keep=2)
    written = {path: path.stat().st_mtime_ns for path in _files(folder, 3)}
    _save(folder, 3, keep=2)
    assert sorted(p.name for p in folder.iterdir()) == ["2", "3"]
    assert {path: path.stat().st_mtime_ns for path in _files(folder, 3)} == written


def test_a_failed_save_is_reported_and_keeps_the_other_checkpoints(folder, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "seal", full)
    with closing(Checkpoints(folder)) as checkpoints:
        checkpoints.save(_state(30))
        with pytest.raises(CheckpointError, match=r"30: cannot be written .*No space left.*untou"):
            while True:
                checkpoints.check()
        assert checkpoints.latest_step() == 20
    assert sorted(p.name for p in folder.iterdir()) == ["10", "20"]


def test_a_workdir_that_disappeared_is_not_created_again(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    checkpoints.save(_state(1))
    with pytest.raises(CheckpointError, match=r"run/checkpoints/1: cannot be written .*No such"):
        checkpoints.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.mistake(
    "train", "no space for a checkpoint", "refused with the sizes; the last checkpoint is intact"
)
def test_a_full_disk_is_refused_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    checkpoints = Checkpoints(folder)
    checkpoints.save(_state(30))
    with pytest.raises(CheckpointError, match=r"No space left.*1\.0 MB needed, 0\.0 MB free"):
        checkpoints.close()
    assert sorted(p.name for p in folder.iterdir()) == ["10", "20"]


@pytest.mark.mistake(
    "checkpoints", "of another version, with other parameters or another optimiser",
    "refused; the checkpoint stays",
)  # fmt: skip
@pytest.mark.parametrize("change", ["shape", "name", "optimiser"])
def test_a_checkpoint_of_another_state_is_refused(folder, change):
    other = _state(0)
    if change == "optimiser":
        other = other.replace(opt_state=optax.sgd(0.1).init(other.params))
    else:
        kernel = other.params["encoder"]["kernel"]
        name, kernel = ("kernel", kernel[:2]) if change == "shape" else ("weight", kernel)
        other = other.replace(params={**other.params, "encoder": {name: kernel}})
    with (
        closing(Checkpoints(folder)) as checkpoints,
        pytest.raises(CheckpointError, match=r"checkpoints/20: does not fit this model"),
    ):
        checkpoints.restore(other)
    assert _restored(folder).step == 20
