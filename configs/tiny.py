"""Everything in a minute on a laptop's processor: small network, 64x64 crops, two views."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """A run that shows the whole road; its errors are those of a very small network."""
    config = default.get_config()
    config.data.image_size = 64
    config.encoder.depth = 18
    config.encoder.width = 16
    config.train.batch_size = 8
    config.train.num_views = 2
    config.train.epochs = 20
    config.train.learning_rate = 1e-3
    config.train.lr_drop_epochs = (15, 18)
    config.input.num_threads = 2
    config.eval.batch_size = 8
    return config
