"""One of several processes that train a toy together:

python -m tests.training.process_worker HOME WORKDIR COORDINATOR INDEX COUNT SIGNAL AT
"""

import operator
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from data_prep.toy.hand import make_toy_template
from dhm.networks.hand_model import HandModel
from dhm.training import loop, processes
from dhm.training.interrupt import TrainingInterrupted
from dhm.training.replay import read_replay
from dhm.training.state import create_train_state, initial_variables
from dhm.training.step import AXIS, make_step_spec
from dhm.types import Batch
from tests.training.toy_step import SETTINGS, SmallEncoder

NUM_STEPS, SAVES_EVERY = 20, 5
BATCH_FILE = "batch.msgpack"


def main(
    home: Path, workdir: Path, coordinator: str, index: int, count: int, signum: int, at: int
) -> None:
    """Trains to the end, or until the signal that this process sends itself before a step."""
    jax.config.update("jax_compilation_cache_dir", str(home / "cache"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    processes.join(coordinator, index, count)
    model = HandModel(make_toy_template(800), SmallEncoder(name="encoder"))
    variables = initial_variables(model, seed=0, subject=1, image_size=32)
    state = create_train_state(model, variables, optax.adam(1e-3))
    whole = read_replay(home / BATCH_FILE).batch
    size = len(whole.image) // count

    def batches_from(start: int) -> Iterator[Batch]:
        for step in range(start, NUM_STEPS):
            if step == at:
                os.kill(os.getpid(), signum)
            mine = (3 * step + index * size + np.arange(size)) % len(whole.image)
            yield jax.tree.map(operator.itemgetter(mine), whole)

    settings = loop.LoopSettings(
        num_steps=NUM_STEPS, steps_per_epoch=SAVES_EVERY, batch_size=len(whole.image),
        checkpoint_every_epochs=1, keep_checkpoints=9, log_every=1, profile_steps=(),
    )  # fmt: skip
    spec = make_step_spec(model, SETTINGS, AXIS)
    if processes.is_first():
        workdir.mkdir(exist_ok=True)
    processes.wait_for_all("the workdir is there")
    try:
        names = ("checkpoints", "tensorboard", "replay", "profile")
        folders = loop.TrainFolders(*(workdir / name for name in names))
        loop.train(state, spec, batches_from, optax.constant_schedule(1e-3), settings, folders)
    except TrainingInterrupted as interruption:
        print(interruption, flush=True)
        sys.exit(interruption.exit_code)
    except processes.ProcessLostError as error:
        print(error, flush=True)
        processes.end(1)
    processes.leave()
    # What is calculated now is this process's own.
    assert jax.jit(jnp.sum)(jnp.arange(index + 3)) == (index + 3) * (index + 2) // 2


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:]))
