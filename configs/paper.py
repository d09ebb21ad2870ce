"""The paper to the letter, for subject 1: sections 4 to 7, without this project's additions."""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    """The defaults where the paper says nothing else; docs/architecture.md has the differences."""
    config = default.get_config()
    # The rest pose is free.
    config.loss.skeleton = 0.0
    # Eq. 2 to 4 sum over pairs and spheres.
    config.loss.penetration_reduction = "sum"
    return config
