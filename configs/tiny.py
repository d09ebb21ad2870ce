"""The whole job in about a minute on two cores: small network, 64x64 crops, two views."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """A run from the capture to the report; its errors are those of a very small network."""
    config = default.get_config()
    config.studio.frames = 0
    config.data.image_size = 64
    config.encoder.depth = 18
    config.encoder.width = 16
    # The squared Laplacian grows with the fourth power of the edges: a hand of a thousand vertices
    # instead of 12,500 feels a hundred times the pull, and its fingers shrink to needles.
    config.loss.laplacian = 0.1
    config.train.batch_size = 4
    config.train.num_views = 2
    config.train.epochs = 60
    config.train.learning_rate = 1e-3
    config.train.lr_drop_epochs = (48, 55)
    config.train.checkpoint_every_epochs = 10
    config.input.num_threads = 2
    config.eval.batch_size = 8
    config.eval.mesh_stride = 2
    return config
