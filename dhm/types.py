"""The nouns that every part of dhm shares.

Millimetres, radians, column vectors, right hand. `T_a_b` maps coordinates in frame b to frame a.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8


@dataclass(frozen=True, eq=False)  # Compared and hashed by identity: it holds arrays.
class HandTemplate:
    """An artist's hand at zero pose: mesh, rig and skinning (paper section 3).

    Host-side NumPy; whatever depends on it alone is precomputed from it and closed over.

    Attributes:
        joint_names: One a joint, without the side prefix ("thumb_null", "index1", "wrist", ...).
        parents: Parent's index of each joint, -1 for the root; children may precede parents.
        T_parent_joint: Rest transform of each joint in its parent's frame (the root's: in the
            model's frame). The translation column is the paper's S, in mm.
        v_template: Zero-pose vertices in the model's frame, mm.
        faces: Vertex indices of the triangles, counter-clockwise seen from outside.
        lbs_weights: Skinning weights; rows sum to 1.
        uvs: Texture coordinates in [0, 1], v up.
        faces_uv: Indices into `uvs` for each corner of `faces`.
    """

    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    T_parent_joint: Float[np.ndarray, "j 4 4"]
    v_template: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    lbs_weights: Float[np.ndarray, "v j"]
    uvs: Float[np.ndarray, "t 2"]
    faces_uv: Int[np.ndarray, "f 3"]

    @property
    def num_joints(self) -> int:
        return len(self.joint_names)

    @property
    def num_vertices(self) -> int:
        return len(self.v_template)


@dataclass(frozen=True, eq=False)  # Compared and hashed by identity: it holds arrays.
class ManoModel:
    """MANO or another linear model of its form, one hand.

    Host-side NumPy. v vertices, s shape components, 16 joints: MANO's in its order (see
    `dhm.geometry.hand_rig.MANO_JOINTS`).

    Attributes:
        v_template: Mean hand at zero pose, mm.
        shapedirs: Change of the vertices with each shape coefficient, mm.
        posedirs: Change of the vertices with each entry of R - I of the 15 finger joints, row by
            row, mm.
        J_regressor: Joints from shaped vertices.
        lbs_weights: Skinning weights; rows sum to 1.
        parents: Parent's index of each joint, -1 for the root; parents precede children.
        faces: Vertex indices of the triangles, counter-clockwise seen from outside.
        hands_components: Principal components of the pose, one a row, radians.
        hands_mean: Mean pose: axis-angle vectors of the 15 finger joints, radians.
        tip_vertices: Fingertips' vertices: thumb, index, middle, ring, pinky.
        side: Which hand it is, "left" or "right"; None where nothing tells.
    """

    v_template: Float[np.ndarray, "v 3"]
    shapedirs: Float[np.ndarray, "v 3 s"]
    posedirs: Float[np.ndarray, "v 3 135"]
    J_regressor: Float[np.ndarray, "16 v"]
    lbs_weights: Float[np.ndarray, "v 16"]
    parents: tuple[int, ...]
    faces: Int[np.ndarray, "f 3"]
    hands_components: Float[np.ndarray, "45 45"]
    hands_mean: Float[np.ndarray, " 45"]
    tip_vertices: tuple[int, ...]
    side: str | None = None

    @property
    def num_vertices(self) -> int:
        return len(self.v_template)

    @property
    def num_shapes(self) -> int:
        return self.shapedirs.shape[-1]


class Camera(NamedTuple):
    """Pinhole cameras, any leading batch axes.

    `x_camera = T_camera_world x_world`, +z away from the camera, mm; K maps to pixels, and the
    centre of the pixel in column c, row r is (c, r).
    """

    K: Float[Array, "*b 3 3"]
    T_camera_world: Float[Array, "*b 4 4"]


class Batch(NamedTuple):
    """A batch of input views with C target views of the same frame (host or device arrays).

    Either every sample brings target views, or only every `target_stride`-th from the first on:
    m = b / target_stride.

    Attributes:
        image: Input view, RGB 0..255.
        joints: Target joints, world mm, in the template's joint order.
        joint_valid: False where a joint was not annotated (its coordinates are then 0).
        target_depth: Depth along each target camera's z in mm, 0 = background.
        target_camera: K (crop folded in) and extrinsics of the target views.
        frame: Frame number of each sample.
        record: Index of the input view's record in its split.
    """

    image: UInt8[Array, "b h w 3"]
    joints: Float[Array, "b j 3"]
    joint_valid: Bool[Array, "b j"]
    target_depth: Float[Array, "m c h w"]
    target_camera: Camera
    frame: Int[Array, " b"]
    record: Int[Array, " b"]

    @property
    def target_stride(self) -> int:
        """Every how many samples one brings target views."""
        return len(self.image) // len(self.target_depth)

    def with_targets(self) -> "Batch":
        """Returns the m samples that bring target views."""
        chosen = slice(None, None, self.target_stride)
        return self._replace(
            image=self.image[chosen],
            joints=self.joints[chosen],
            joint_valid=self.joint_valid[chosen],
            frame=self.frame[chosen],
            record=self.record[chosen],
        )


class HandOutput(NamedTuple):
    """What the decoder returns (paper sections 5.1 and 5.2), mm.

    Attributes:
        vertices: Deformed mesh M after the root transform.
        joints: Joints P after the root transform.
        v_zero: Refined zero-pose mesh, LBS(0, S*, M*), in the model's frame.
        joints_zero: Joints at zero pose with the refined skeleton S*, in the model's frame.
    """

    vertices: Float[Array, "*b v 3"]
    joints: Float[Array, "*b j 3"]
    v_zero: Float[Array, "*b v 3"]
    joints_zero: Float[Array, "*b j 3"]
