"""How much of L_penet is overlap at rest, and which part of it tells of real penetration.

python -m tests.losses.rest_overlap --workdir runs/demo
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from data_prep import sources
from dhm.evaluation.aligned_hands import eval_step, make_batch
from dhm.evaluation.penetration import hand_parts, penetration_depths
from dhm.geometry.spheres import penetration_parts, sphere_centers, sphere_radii
from dhm.losses.penetration import rigid_penetration_loss
from dhm.runs.model import load_run


def main() -> None:
    """Looks at the first view of every held-out frame, in the encoder's pose."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workdir", type=Path, required=True, help="a run that was evaluated")
    model, variables, data = load_run(parser.parse_args().workdir, sources)
    split = data.info.evaluation_split
    records = np.unique(data.split_index(split).frame_id, return_index=True)[1].tolist()
    fields = [data.record(split, record) for record in records]
    images = [
        data.decode_image(split, record, field)
        for record, field in zip(records, fields, strict=True)
    ]
    batch = make_batch(records, fields, images)
    output, _ = jax.jit(lambda v, b: eval_step(model, v, b))(variables, batch)

    parts = penetration_parts(model.template)
    zero = sphere_centers(output.joints_zero, parts)
    radii = sphere_radii(zero, output.v_zero)
    posed = rigid_penetration_loss(sphere_centers(output.joints, parts), radii, parts)
    beyond = jnp.maximum(posed - rigid_penetration_loss(zero, radii, parts), 0)
    cut = hand_parts(model.template)
    depths = [penetration_depths(np.asarray(hand), cut).max() for hand in output.vertices]
    print(f"{len(records)} frames; mean overlap of two spheres, and correlation with the depth of")
    print("the deepest vertex inside another part")
    for name, overlap in (("eq. 2", posed), ("beyond rest", beyond)):
        by_frame = np.asarray(overlap.mean(axis=(1, 2, 3)))
        correlation = np.corrcoef(by_frame, depths)[0, 1]
        print(f"{name:12} {by_frame.mean():.5f} mm {correlation:6.2f}")


if __name__ == "__main__":
    main()
