"""A trained hand, ready to use: the object that `dhm.load` returns."""

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from dhm.arguments import concrete, require_last_row, require_shapes
from dhm.errors import BadInputError
from dhm.export.package import CONFIG_FILE, MODEL_FILE, load_model, read_description, save_model
from dhm.fitting import FittedPose
from dhm.formats.json_file import read_json
from dhm.formats.paths import existing, home_expanded, refuse_overwriting, require_folder
from dhm.geometry.hand_rig import MANO_JOINTS, dof_names, joint_limits
from dhm.networks.build import ModelSettings
from dhm.networks.hand_model import HandModel
from dhm.networks.linear_hand_model import LinearHandModel
from dhm.types import HandOutput, HandTemplate

EXPORT_FOLDER = "export"
"""Of a run's folder: what a run exports."""

_FAR_FROM_JOINTS = 12.0  # mean distance that is doubtful, mm
_MIN_JOINTS = 3
_HALF_TURN = np.pi + 1e-3  # the encoder reaches pi in float32, which is larger
# Values beyond those of pixels that a cubic filter leaves, and below which a picture is black.
_OVERSHOOT, _BLACK = 32.0, 8.0


@dataclass(frozen=True, eq=False)  # Compared and hashed by identity: it is static under jit.
class HandSpec:
    """The part of a hand that is no array.

    Attributes:
        model: The Flax module.
        settings: Sizes of its networks.
        config: The config of the run that trained it, as plain values.
        folder: The folder that it was loaded from.
    """

    model: HandModel | LinearHandModel
    settings: ModelSettings
    config: dict[str, Any]
    folder: Path | None = None


@partial(jax.tree_util.register_dataclass, data_fields=["variables"], meta_fields=["spec"])
@dataclass(frozen=True, eq=False, repr=False)
class Hand:
    """A trained hand model with its variables: images to angles, angles to meshes.

    Millimetres and radians, in the frame of the model. The methods take any leading batch axes,
    also none, and work under `jit`, `vmap` and `grad`. A hand is a pytree whose leaves are its
    variables: a jitted function may close over it or take it as an argument, and the gradient with
    respect to a hand is a hand.

    Values that look wrong, such as degrees or images of 0..1, give a warning where they are there
    to look at: under `jit`, `vmap` and `grad` only shapes are checked.

    The model is a right hand. For a left one, flip the images before `encode`; negate x of the
    vertices and joints after `decode`, and reverse the corners of each face.

    Attributes:
        variables: "params", "batch_stats" and "identity" of the Flax module, `model`.
        spec: All that is static.
    """

    variables: dict[str, Any]
    spec: HandSpec

    def encode(
        self, images: UInt8[Array, "*b h w 3"] | Float[Array, "*b h w 3"]
    ) -> Float[Array, "*b d"]:
        """Returns the joint angles (radians) that the encoder reads off images of the hand.

        Channels in the order BGR, a left hand, and a crop that is too wide cannot be told.

        Args:
            images: RGB with values 0..255, cut out around the hand as the training images are, and
                at their size, `image_size`.

        Raises:
            BadInputError: If the shape is another.
        """
        images = _as_array("images", images, "... height width 3")
        require_shapes(images=(images, "... height width 3"))
        _warn_of_images(images, self.image_size)
        return _encode(self, images if images.dtype == jnp.uint8 else images.astype(jnp.float32))

    def decode(
        self,
        theta: Float[Array, "*#b d"],
        T_world_model: Float[Array, "*#b 4 4"] | None = None,
    ) -> HandOutput:
        """Returns the mesh and the joints of each pose, mm.

        Args:
            theta: Joint angles in the order of `dof_names`, radians. Another order cannot be told.
            T_world_model: Rigid root transform, mm; the identity if None. Its batch axes broadcast
                against those of `theta`.

        Raises:
            BadInputError: If a shape, or the transform's last row, is another.
        """
        num_dofs = len(self.dof_names)
        theta = _as_array("theta", theta, f"... {num_dofs}")
        T_world_model = _as_array(
            "T_world_model", jnp.eye(4) if T_world_model is None else T_world_model, "... 4 4"
        )
        require_shapes(theta=(theta, f"... {num_dofs}"), T_world_model=(T_world_model, "... 4 4"))
        hint = "a transform of column vectors, with the translation in the last column"
        require_last_row("T_world_model", T_world_model, (0, 0, 0, 1), hint)
        _warn_of_angles(theta)
        return _decode(self, theta.astype(jnp.float32), T_world_model.astype(jnp.float32))

    def fit(
        self, joints: Float[Array, "*#b j 3"], valid: Bool[Array, "*#b j"] | None = None
    ) -> FittedPose:
        """Fits angles and root transform to 3D joints, within the anatomical limits.

        Args:
            joints: Positions in the order of `joint_names`, mm; NaN where none was measured.
            valid: Which of them are known, at least three; all if None. Its batch axes broadcast
                against those of `joints`.

        Returns:
            Angles, root transform and mean distance of the valid joints in mm. A large distance
            tells joints in another unit or order, or of a left hand. With fewer than three joints
            the distance is small and the angles are no measurement.

        Raises:
            BadInputError: If a shape is another.
        """
        count = len(self.joint_names)
        joints = _as_array("joints", joints, f"... {count} 3")
        valid = _as_array(
            "valid", jnp.ones(count, bool) if valid is None else valid, f"... {count}"
        )
        require_shapes(joints=(joints, f"... {count} 3"), valid=(valid, f"... {count}"))
        fitted = _fit(self, joints.astype(jnp.float32), valid.astype(bool))
        _warn_of_fit(joints, valid, fitted.residual)
        return fitted

    def with_variables(self, variables: dict[str, Any]) -> "Hand":
        """Returns the hand with other values of its variables, such as those of a training."""
        return Hand(variables, self.spec)

    def save(self, folder: str | Path) -> None:
        """Writes the files that `dhm.load` reads into a folder, which is made if need be.

        Raises:
            BadInputError: If the hand was loaded from the folder, or the folder is that of a run
                or has other files of these names, which would be lost.
        """
        folder = home_expanded(folder)
        require_folder("folder", folder)
        if self.spec.folder is not None:
            refuse_overwriting("folder", [folder], [self.spec.folder])
        if (folder / CONFIG_FILE).exists() and not (folder / MODEL_FILE).exists():
            expected = "an exported model to replace, another folder or none yet"
            raise BadInputError(folder, f"{CONFIG_FILE} of something else", expected)
        linear = self.model.linear if isinstance(self.model, LinearHandModel) else None
        save_model(
            folder, self.variables, self.template, self.spec.settings,
            self.spec.config, linear,
        )  # fmt: skip

    @property
    def model(self) -> HandModel | LinearHandModel:
        """The Flax module; `model.apply(variables, ..., method="decode")` and so on."""
        return self.spec.model

    @property
    def template(self) -> HandTemplate:
        """Mesh, rig and skinning at zero pose, before the learned correctives."""
        return self.model.template

    @property
    def faces(self) -> Int[np.ndarray, "f 3"]:
        """Vertex indices of the triangles, counter-clockwise seen from outside."""
        return self.template.faces

    @property
    def uvs(self) -> Float[np.ndarray, "t 2"]:
        """Texture coordinates in [0, 1], v up."""
        return self.template.uvs

    @property
    def faces_uv(self) -> Int[np.ndarray, "f 3"]:
        """Indices into `uvs` for each corner of `faces`."""
        return self.template.faces_uv

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints, such as "index1" (the knuckle) and "index_null" (the tip)."""
        return self.template.joint_names

    @property
    def dof_names(self) -> tuple[str, ...]:
        """Names of the entries of `theta`: joint and axis, such as "index1_z".

        The 28 enabled Euler angles (paper section 4.1); of a linear model the 45 components of the
        joints' axis-angle vectors.
        """
        return angle_names(self.template, self.model.encoder.num_dofs)

    @property
    def dof_limits(self) -> Float[np.ndarray, "d 2"]:
        """Smallest and largest value of each entry of `theta`, radians.

        The anatomical limits that `fit` keeps; of a linear model, which has none, -pi and pi.
        """
        if isinstance(self.model, LinearHandModel):
            return np.tile(np.float32([-np.pi, np.pi]), (len(self.dof_names), 1))
        return np.stack(joint_limits(self.joint_names), axis=1).astype(np.float32)

    @property
    def image_size(self) -> int | None:
        """Side of the training images in pixels; None where the config does not say."""
        data = self.spec.config.get("data")
        return data.get("image_size") if isinstance(data, dict) else None

    def __repr__(self) -> str:
        sizes = f"{self.template.num_vertices} vertices, {self.template.num_joints} joints"
        return f"<Hand: {type(self.model).__name__}, {sizes}, {len(self.dof_names)} angles>"


def load(path: str | Path) -> Hand:
    """Loads a trained hand.

    Args:
        path: Folder of a run, such as "runs/demo", or of an exported model; `~` is expanded.

    Raises:
        BadInputError: If there is no exported model, or its files are damaged or do not belong
            together.
    """
    folder = find_export(path)
    model, variables = load_model(folder)
    settings, _ = read_description(folder / MODEL_FILE)
    config = read_json(folder / CONFIG_FILE, "the config of the run")
    return Hand(variables, HandSpec(model, settings, config, folder))


def find_export(path: str | Path) -> Path:
    """Returns the folder of an exported model, given it or the folder of its run.

    Raises:
        BadInputError: If it is neither.
    """
    folder = existing(path)
    if (folder / MODEL_FILE).is_file():
        return folder
    if (folder / EXPORT_FOLDER).is_dir():
        return folder / EXPORT_FOLDER
    found = f"a folder without {MODEL_FILE}" if folder.is_dir() else "no such folder"
    found = "a file" if folder.is_file() else found
    expected = f"an exported model, or a run's folder with {EXPORT_FOLDER}/"
    raise BadInputError(folder, found, expected)


def angle_names(template: HandTemplate, count: int) -> tuple[str, ...]:
    """Returns the names of a pose vector's Euler angles, or of a linear model's axis-angles."""
    names = dof_names(template.joint_names)
    if count == len(names):
        return names
    return tuple(f"{joint}_{axis}" for joint in MANO_JOINTS[1:] for axis in "xyz")


def _as_array(name: str, values: Any, axes: str) -> Array:
    try:
        return jnp.asarray(values)
    except (TypeError, ValueError) as error:  # such as a dictionary by name, or ragged lists
        expected = f"numbers of shape [{', '.join(axes.split())}]"
        raise BadInputError(name, f"a {type(values).__name__}", expected) from error


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)  # the line that calls the hand's method


def _warn_of_images(images: Array, size: int | None) -> None:
    """Warns of images of another size, and of values that are not those of pixels."""
    height, width = images.shape[-3:-1]
    if size is not None and (height, width) != (size, size):
        _warn(
            f"images of {width} x {height} pixels, expected crops around a hand of {size} x {size}"
        )
    if images.dtype == jnp.uint8 or images.size == 0 or (values := concrete(images)) is None:
        return
    low, high = float(values.min()), float(values.max())
    largest = max(-low, high)
    if low < -_OVERSHOOT or high > 255 + _OVERSHOOT or 0 < largest < _BLACK:
        _warn(f"images with values from {low:.3g} to {high:.3g}, expected 0 to 255")


def _warn_of_angles(theta: Array) -> None:
    """Warns of angles that no joint can have: degrees, most likely."""
    values = concrete(theta)
    if values is not None and (large := np.abs(values) > _HALF_TURN).any():
        _warn(
            f"theta with angles up to {np.abs(values[large]).max():.3g}, expected radians: no "
            "joint turns by more than pi"
        )


def _warn_of_fit(joints: Array, valid: Array, residual: Array) -> None:
    """Warns of joints that are too few, or that no pose of the hand comes near to."""
    points, known, distance = map(concrete, (joints, valid, residual))
    if points is None or known is None or distance is None or not distance.size:
        return
    counts = (~np.isnan(points).any(axis=-1) & known.astype(bool)).sum(axis=-1)
    if counts.min() < _MIN_JOINTS:
        _warn(f"joints of which {counts.min()} are known, expected at least {_MIN_JOINTS}")
    if distance.max() > _FAR_FROM_JOINTS:
        _warn(
            f"joints that are up to {distance.max():.0f} mm from the fitted hand: their unit (mm), "
            "their order (joint_names), the side (a right hand) or its size may be another"
        )


def _flat(array: Array, batch: tuple[int, ...], num_axes: int) -> Array:
    """The array with one batch axis, broadcast to a batch, before its last axes."""
    own = array.shape[array.ndim - num_axes :]
    return jnp.broadcast_to(array, (*batch, *own)).reshape(-1, *own)


def _unflat(tree: Any, batch: tuple[int, ...]) -> Any:
    return jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), tree)


@jax.jit
def _encode(hand: Hand, images: Array) -> Array:
    batch = images.shape[:-3]
    theta = hand.model.apply(hand.variables, _flat(images, batch, 3), method="encode")
    return _unflat(theta, batch)


@jax.jit
def _decode(hand: Hand, theta: Array, T_world_model: Array) -> HandOutput:
    batch = jnp.broadcast_shapes(theta.shape[:-1], T_world_model.shape[:-2])
    output = hand.model.apply(
        hand.variables, _flat(theta, batch, 1), _flat(T_world_model, batch, 2), method="decode"
    )
    return _unflat(output, batch)


@jax.jit
def _fit(hand: Hand, joints: Array, valid: Array) -> FittedPose:
    measured = ~jnp.isnan(joints).any(axis=-1)
    joints, valid = jnp.where(measured[..., None], joints, 0.0), valid & measured
    batch = jnp.broadcast_shapes(joints.shape[:-2], valid.shape[:-1])
    fitted = hand.model.apply(
        hand.variables, _flat(joints, batch, 2), _flat(valid, batch, 1), method="fit"
    )
    return _unflat(fitted, batch)
