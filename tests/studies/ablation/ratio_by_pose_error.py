"""Prints the ratio of two decoders' M_err at poses between the fitted angles and the encoder's.

python -m tests.studies.ablation.ratio_by_pose_error --ours RUN --other RUN
"""

import argparse
from pathlib import Path

import jax
import numpy as np

from data_prep import sources
from dhm.evaluation.aligned_hands import make_batch
from dhm.evaluation.metrics import joint_errors, scan_distance
from dhm.networks.hand_model import decode_aligned, mask_joints
from dhm.runs.model import load_run

# Shares of the way from the fitted angles to the encoder's.
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)


def errors_by_share(workdir: Path) -> np.ndarray:
    """Returns mean P_err and M_err in mm for each share, over each held-out frame's first view."""
    model, variables, data = load_run(workdir, sources)
    split = data.info.evaluation_split
    records = np.unique(data.split_index(split).frame_id, return_index=True)[1].tolist()
    fields = [data.record(split, record) for record in records]
    images = [data.decode_image(split, *pair) for pair in zip(records, fields, strict=True)]
    batch = mask_joints(model, make_batch(records, fields, images))
    fit = jax.jit(lambda v, b: model.apply(v, b.joints, b.joint_valid, method="fit").theta)
    fitted = fit(variables, batch)
    read = jax.jit(lambda v, b: model.apply(v, b.image, method="encode"))(variables, batch)
    decode = jax.jit(lambda v, theta, b: decode_aligned(model, v, theta, b)[0])
    rows = []
    for share in SHARES:
        hand = jax.device_get(decode(variables, fitted + share * (read - fitted), batch))
        P_err = joint_errors(hand.joints, batch.joints, batch.joint_valid)
        M_err = [
            scan_distance(vertices, *data.scan(split, record)).mean()
            for vertices, record in zip(hand.vertices, records, strict=True)
        ]
        rows.append((P_err.mean(), np.mean(M_err)))
    return np.array(rows)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=Path, required=True, help="workdir of a run")
    parser.add_argument("--other", type=Path, required=True, help="workdir of another run")
    arguments = parser.parse_args()
    ours, other = (errors_by_share(path) for path in (arguments.ours, arguments.other))
    print("| of the encoder's error | ours: P_err, M_err | other: P_err, M_err | M_err's ratio |")
    print("|---:|---:|---:|---:|")
    for share, one, two in zip(SHARES, ours, other, strict=True):
        shown = " | ".join(f"{P_err:.2f}, {M_err:.2f}" for P_err, M_err in (one, two))
        print(f"| {share:.0%} | {shown} | {two[1] / one[1]:.2f} |")


if __name__ == "__main__":
    main()
