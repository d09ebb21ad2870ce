"""An encoder for pictures of several people, before the decoder of `configs/demo.py`."""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
    """Four people from all sides; another room, other lamps and another skin in every frame."""
    config = demo.get_config()
    config.decoder.trained = "runs/demo/export"
    config.decoder.trained_by = "configs/demo.py"
    config.studio.subjects = (1, 2, 3, 4)
    config.studio.varied = True
    config.studio.frames = 540
    config.studio.test_frames = 30
    # Three of them take a picture of a frame: hardly any two pictures are from the same side.
    config.studio.cameras = 200
    config.studio.pictures = 3
    config.studio.depth_maps = "none"
    config.studio.resolution_mm = 3.5
    config.train.epochs = 20
    # About twice the demo's; four times is too much for so small an encoder.
    config.augment.rotation_deg = 20.0
    config.augment.scale = 0.1
    config.augment.shift = 0.03
    config.augment.brightness = 0.15
    config.augment.channel_gain = 0.03
    return config
