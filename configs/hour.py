"""Subject 1 in about an hour on two cores: the demo with four times the frames and more steps."""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
    """The demo with more poses, a wider encoder and more steps; docs/results.md has its errors."""
    config = demo.get_config()
    config.studio.frames = 5000
    config.studio.test_frames = 150
    config.encoder.width = 32
    config.train.num_views = 2
    config.train.epochs = 10
    config.train.checkpoint_every_epochs = 1
    config.augment.rotation_deg = 15.0
    config.augment.scale = 0.08
    config.augment.shift = 0.03
    config.augment.brightness = 0.15
    return config
