"""RHD: a new encoder for pictures of many people before a trained decoder (section 8.4).

`python launch.py --config configs/rhd.py --config.capture=/path/to/RHD_published_v2`
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """Section 8.4's data set, with pictures that vary as photographs do."""
    config = default.get_config()
    config.dataset = "rhd"
    # Made by `python launch.py --config configs/subject1.py`; any other exported model will do.
    config.decoder.trained = "runs/subject1/export"
    config.augment.rotation_deg = 90.0
    config.augment.scale = 0.15
    config.augment.shift = 0.06
    config.augment.brightness = 0.25
    config.augment.contrast = 0.25
    config.augment.gamma = 0.25
    config.augment.channel_gain = 0.08
    config.augment.saturation = 0.25
    config.augment.hue_deg = 10.0
    # Renderings are sharp.
    config.augment.blur_px = 1.5
    config.augment.motion_px = 6.0
    config.augment.jpeg = 0.3
    config.augment.occlusion = 0.35
    # Its rooms are few: half of the pictures get another background than the rendered one.
    config.augment.background = 0.5
    return config
