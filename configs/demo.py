"""Subject 1 on a laptop: filmed, prepared, trained, measured and exported in under 15 minutes."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The whole road on two cores; a small network, 96x96 crops."""
    config = default.get_config()
    config.studio.frames = 520
    config.studio.test_frames = 75
    config.studio.pictures = 4
    config.studio.depth_shrink = 2
    config.studio.resolution_mm = 1.8
    config.data.image_size = 96
    config.encoder.depth = 18
    config.encoder.width = 32
    config.train.num_views = 2
    config.train.epochs = 12
    config.train.learning_rate = 1e-3
    config.train.lr_drop_epochs = (9, 11)
    config.train.checkpoint_every_epochs = 3
    config.input.num_threads = 2
    return config
