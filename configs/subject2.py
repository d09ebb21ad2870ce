"""Subject 2 at the paper's sizes: ResNet-50, 256x256, batch 32, 35 epochs, 6 views."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The paper's settings for subject 2."""
    config = default.get_config()
    config.subject = 2
    return config
