"""A trained hand, ready to use: the object that `dhm.load` returns."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

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

        Args:
            images: RGB with values 0..255, cut out around the hand as the training images are, and
                best at their size, `image_size`.

        Raises:
            BadInputError: If the shape is another.
        """
        images = _checked("images", images, "[..., height, width, 3]", {-1: 3}, num_axes=3)
        return _encode(self, images)

    def decode(
        self,
        theta: Float[Array, "*#b d"],
        T_world_model: Float[Array, "*#b 4 4"] | None = None,
    ) -> HandOutput:
        """Returns the mesh and the joints of each pose, mm.

        Args:
            theta: Joint angles in the order of `dof_names`, radians.
            T_world_model: Rigid root transform; the identity if None. Its batch axes broadcast
                against those of `theta`.

        Raises:
            BadInputError: If a shape is another.
        """
        num_dofs = len(self.dof_names)
        theta = _checked("theta", theta, f"[..., {num_dofs}]", {-1: num_dofs}, num_axes=1)
        if T_world_model is None:
            T_world_model = jnp.eye(4)
        T_world_model = _checked(
            "T_world_model", T_world_model, "[..., 4, 4]", {-1: 4, -2: 4}, num_axes=2
        )
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
            Angles, root transform and mean distance of the valid joints in mm.

        Raises:
            BadInputError: If a shape is another.
        """
        count = len(self.joint_names)
        joints = _checked("joints", joints, f"[..., {count}, 3]", {-1: 3, -2: count}, num_axes=2)
        if valid is None:
            valid = jnp.ones(count, bool)
        valid = _checked("valid", valid, f"[..., {count}]", {-1: count}, num_axes=1)
        return _fit(self, joints.astype(jnp.float32), valid.astype(bool))

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


def _checked(name: str, values: Any, expected: str, lengths: dict[int, int], num_axes: int) -> Any:
    """The values as an array; refused where the last axes have other lengths than these."""
    array = jnp.asarray(values)
    if array.ndim < num_axes or any(array.shape[axis] != n for axis, n in lengths.items()):
        raise BadInputError(name, f"shape {list(array.shape)}", expected)
    return array


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
