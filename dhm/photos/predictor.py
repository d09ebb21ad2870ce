"""An exported model at batch 1: a picture's crop to angles, angles to the hand."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from dhm.data.crop import crop_matrix, warp_image
from dhm.errors import BadInputError
from dhm.export.package import CONFIG_FILE, load_model
from dhm.formats.json_file import read_json
from dhm.networks.compiled import compiled
from dhm.types import HandTemplate


class Predictor:
    """The model of a run's `export/`, compiled once.

    Args:
        folder: The export's folder.

    Raises:
        BadInputError: If a file is missing or damaged.
    """

    def __init__(self, folder: Path):
        model, variables = load_model(folder)
        self.model, self.variables = model, variables
        self.template: HandTemplate = model.template
        self.known_joints = np.asarray(model.known_joints)
        self.image_size = _image_size(folder / CONFIG_FILE)
        self._encode, self._decode = compiled(model, variables)
        self.decode(self.encode(np.zeros((self.image_size, self.image_size, 3), np.uint8)))

    def encode(self, crop: UInt8[np.ndarray, "s s 3"]) -> Float[np.ndarray, " d"]:
        """Angles of the right hand in a crop, radians."""
        return np.asarray(self._encode(jnp.asarray(crop[None])))[0]

    def decode(
        self, theta: Float[np.ndarray, " d"]
    ) -> tuple[Float[np.ndarray, "v 3"], Float[np.ndarray, "j 3"]]:
        """Vertices and joints in the model's frame, mm."""
        vertices, joints = self._decode(jnp.asarray(theta, jnp.float32)[None])
        return np.asarray(vertices)[0], np.asarray(joints)[0]

    def crop(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        low: Float[np.ndarray, " 2"],
        high: Float[np.ndarray, " 2"],
    ) -> UInt8[np.ndarray, "s s 3"]:
        """Cuts a rectangle out of a picture as the preparation of the training data does."""
        M_source_target = np.linalg.inv(crop_matrix(low, high, self.image_size))
        return warp_image(image, M_source_target, self.image_size)


def _image_size(path: Path) -> int:
    expected = "the config of the run, with data.image_size"
    data = read_json(path, expected).get("data")
    size = data.get("image_size") if isinstance(data, dict) else None
    if type(size) is not int or not 32 <= size <= 4096:
        raise BadInputError(path, f"data.image_size = {size!r}", expected)
    return size
