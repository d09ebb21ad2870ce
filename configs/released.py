"""What the authors' released code does differently from the paper, for subject 1."""

from ml_collections import ConfigDict

from configs import paper


def get_config() -> ConfigDict:
    """The released networks and reductions; docs/architecture.md has what is in no setting."""
    config = paper.get_config()
    # A pose head of three layers: 2048 to 512, 512 to 512, 512 to 28.
    config.encoder.head_hidden = (512, 512)
    config.decoder.skeleton_hidden = 64
    # All 66 Euler angles.
    config.decoder.pose_corrective_input = "all"
    # Means over all pixels, and over spheres and pairs.
    config.loss.depth_reduction = "image"
    config.loss.penetration_reduction = "mean"
    return config
