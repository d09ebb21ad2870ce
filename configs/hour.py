"""Subject 1 in about an hour on two cores: the demo with twice the frames and more steps."""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
    """What a laptop can reach while one has lunch; docs/results.md says what it reached."""
    config = demo.get_config()
    config.studio.frames = 2000
    config.studio.test_frames = 150
    config.studio.pictures = 4
    config.studio.resolution_mm = 2.2
    config.encoder.width = 32
    config.train.mesh_samples = 2
    config.train.num_views = 2
    config.train.epochs = 20
    config.train.warmup_steps = 200
    config.augment.rotation_deg = 25.0
    config.augment.scale = 0.1
    config.augment.shift = 0.04
    config.augment.brightness = 0.2
    return config
