"""The baseline of section 8.3 beside the demo: the same data and budget, a linear decoder."""

from ml_collections import ConfigDict

from configs import demo


def get_config() -> ConfigDict:
    """The demo with the project's MANO-style linear model, or with MANO by `mano.path`."""
    config = demo.get_config()
    config.decoder.kind = "linear"
    # It grows with the edges, four times as long as those of the demo's template: a linear hand,
    # which cannot wrinkle, would only become small.
    config.loss.laplacian = 0.0
    return config
